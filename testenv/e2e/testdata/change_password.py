# Changes one's own password as an application with the ldap3 library does.
import ssl
import sys

import ldap3

url, ca, dn, old, new = sys.argv[1:]
tls = ldap3.Tls(ca_certs_file=ca, validate=ssl.CERT_REQUIRED)
server = ldap3.Server(url, tls=tls, get_info=ldap3.ALL)
with ldap3.Connection(server, dn, old, auto_bind=True, raise_exceptions=True) as conn:
    conn.search(dn, "(objectClass=user)", ldap3.BASE, attributes=["sAMAccountName"])
    if conn.entries[0].sAMAccountName.value != "alice":
        sys.exit("found another entry")
    conn.extend.microsoft.modify_password(dn, new, old)
