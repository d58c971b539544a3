# Lets an account list and read the container of deleted objects. samba-tool's
# dsacl cannot: it does not ask for deleted objects, and that container is one.
# Arguments: smb.conf, the account's SID.
import sys

import ldb
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

conf, sid = sys.argv[1:]
lp = LoadParm()
lp.load(conf)
db = SamDB(session_info=system_session(), lp=lp)
controls = ["show_deleted:1", "sd_flags:1:%d" % security.SECINFO_DACL]
dn = ldb.Dn(db, "CN=Deleted Objects," + db.domain_dn())
found = db.search(dn, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=controls)
descriptor = ndr_unpack(security.descriptor, found[0]["nTSecurityDescriptor"][0])

ace = security.ace()
ace.type = security.SEC_ACE_TYPE_ACCESS_ALLOWED
ace.flags = security.SEC_ACE_FLAG_CONTAINER_INHERIT
ace.access_mask = security.SEC_ADS_LIST | security.SEC_ADS_READ_PROP | security.SEC_STD_READ_CONTROL
ace.trustee = security.dom_sid(sid)
descriptor.dacl_add(ace)

change = ldb.Message(dn)
change["sd"] = ldb.MessageElement(ndr_pack(descriptor), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
db.modify(change, controls)
