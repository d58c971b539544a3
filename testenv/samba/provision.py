# Provisions the domain that the fixture's tests start from.
#
#   python3 provision.py SMB_CONF REALM NETBIOS_DOMAIN HOST ADDRESS < administrator's password
import sys

import ldb
import samba.provision
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
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

# The administrators may change who reads deleted objects, as after dsacls
# /takeownership on Windows.
controls = ["show_deleted:1", "sd_flags:1:%d" % security.SECINFO_DACL]
dn = ldb.Dn(db, "CN=Deleted Objects," + base)
found = db.search(dn, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=controls)
descriptor = ndr_unpack(security.descriptor, found[0]["nTSecurityDescriptor"][0])
ace = security.ace()
ace.type = security.SEC_ACE_TYPE_ACCESS_ALLOWED
ace.access_mask = security.SEC_STD_WRITE_DAC | security.SEC_STD_READ_CONTROL
ace.trustee = security.dom_sid(security.SID_BUILTIN_ADMINISTRATORS)
descriptor.dacl_add(ace)
m = ldb.Message(dn)
m["sd"] = ldb.MessageElement(ndr_pack(descriptor), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
db.modify(m, controls)
