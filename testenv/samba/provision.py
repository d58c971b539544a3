# Provisions the domain that the fixture's tests start from.
#
#   python3 provision.py SMB_CONF REALM NETBIOS_DOMAIN HOST ADDRESS < administrator's password
import sys

import ldb
import samba.provision
from samba.auth import system_session
from samba.netcmd.main import cmd_sambatool
from samba.param import LoadParm
from samba.samdb import SamDB

conf, realm, domain, host, address = sys.argv[1:]
password = sys.stdin.readline().rstrip("\n")

# No SMB is served, so the ACLs of its share are of no use; setting them needs
# more ids than a user namespace of one user has.
samba.provision.setsysvolacl = lambda *args, **kwargs: None

status = cmd_sambatool()._run(
    "samba-tool", "domain", "provision", "--quiet", "-s", conf,
    "--realm=" + realm, "--domain=" + domain, "--server-role=dc",
    "--host-name=" + host, "--host-ip=" + address,
    "--adminpass=" + password, "--dns-backend=NONE")
if status:
    sys.exit(status)

lp = LoadParm()
lp.load(conf)
db = SamDB(lp=lp, session_info=system_session(lp))
base = db.domain_dn()

db.setexpiry("(sAMAccountName=Administrator)", 0, no_expiry_req=True)
db.set_minPwdAge("0")
for ou in "People", "Service", "Groups":
    db.create_ou("OU=%s,%s" % (ou, base))

# Without the DNS update service nobody registers the names that Kerberos
# clients ask tickets for.
fqdn = "%s.%s" % (host, realm.lower())
m = ldb.Message(ldb.Dn(db, "CN=%s,OU=Domain Controllers,%s" % (host.upper(), base)))
m["spn"] = ldb.MessageElement(
    ["ldap/" + fqdn, "ldap/" + host.upper(), "ldap/%s/%s" % (fqdn, realm.lower())],
    ldb.FLAG_MOD_ADD, "servicePrincipalName")
db.modify(m, ["permissive_modify:1"])
