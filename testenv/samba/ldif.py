# Adds objects in one transaction: over LDAP each takes some milliseconds.
# Arguments: smb.conf, a file with LDIF.
import sys

from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

conf, ldif = sys.argv[1:]
lp = LoadParm()
lp.load(conf)
db = SamDB(session_info=system_session(), lp=lp,
           options=["batch_mode:1", "transaction_index_cache_size:200000"])
db.transaction_start()
with open(ldif) as f:
    db.add_ldif(f.read())
db.transaction_commit()
