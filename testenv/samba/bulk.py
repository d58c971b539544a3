# Adds many users in one transaction: over LDAP each takes some milliseconds.
# Arguments: smb.conf, the container's DN, the domain, a prefix, how many.
import sys

from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

conf, container, domain, prefix, count = sys.argv[1:6]
lp = LoadParm()
lp.load(conf)
db = SamDB(session_info=system_session(), lp=lp,
           options=["batch_mode:1", "transaction_index_cache_size:200000"])
db.transaction_start()
for n in range(int(count)):
    name = "%s%05d" % (prefix, n)
    db.add({
        "dn": "CN=%s,%s" % (name, container),
        "objectClass": "user",
        "sAMAccountName": name,
        "userPrincipalName": "%s@%s" % (name, domain),
        "mail": "%s@%s" % (name, domain),
        "givenName": name,
        "sn": "Test",
        "userAccountControl": "514",
    })
db.transaction_commit()
