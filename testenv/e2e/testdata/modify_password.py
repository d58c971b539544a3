# Changes one's own password by RFC 3062, as an application with the ldap3
# library does for directories that are not Active Directory.
import ssl
import sys

import ldap3

url, ca, name, old, new = sys.argv[1:]
tls = ldap3.Tls(ca_certs_file=ca, validate=ssl.CERT_REQUIRED)
server = ldap3.Server(url, tls=tls, get_info=ldap3.DSA)
with ldap3.Connection(server, name, old, auto_bind=True, raise_exceptions=True) as conn:
    if "1.3.6.1.4.1.4203.1.11.1" not in [e[0] for e in server.info.supported_extensions]:
        sys.exit("the root DSE does not offer password modify")
    if server.info.supported_sasl_mechanisms:
        sys.exit("the root DSE offers SASL")
    if conn.extend.standard.modify_password(old_password=old, new_password=new) is not True:
        sys.exit(str(conn.result))
