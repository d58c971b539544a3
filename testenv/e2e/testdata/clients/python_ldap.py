# What an application with the python-ldap library does: it signs in, searches
# by pages and changes its password in one of the ways the library offers.
import sys

import ldap
from ldap.controls import SimplePagedResultsControl

url, ca, base, name, old, new, way = sys.argv[1:]


def connect():
    conn = ldap.initialize(url)
    conn.set_option(ldap.OPT_REFERRALS, 0)
    conn.set_option(ldap.OPT_X_TLS_CACERTFILE, ca)
    conn.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
    conn.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    if url.startswith("ldap:"):
        conn.start_tls_s()
    return conn


def quoted(password):
    return f'"{password}"'.encode("utf-16-le")


conn = connect()
try:
    conn.simple_bind_s(name, "Not-The-Password1")
    sys.exit("a wrong password was accepted")
except ldap.INVALID_CREDENTIALS as e:
    if "data 52e" not in e.args[0]["info"]:
        sys.exit(f"no sub-code: {e}")
conn.simple_bind_s(name, old)

found = conn.search_s(base, ldap.SCOPE_SUBTREE, f"(userPrincipalName={name})", ["cn"])
[dn] = [dn for dn, _ in found if dn]

page = SimplePagedResultsControl(True, size=500, cookie="")
pages = entries = 0
while True:
    msgid = conn.search_ext("CN=Schema,CN=Configuration," + base, ldap.SCOPE_SUBTREE, "(objectClass=attributeSchema)", ["cn"], serverctrls=[page])
    _, rdata, _, controls = conn.result3(msgid)
    pages += 1
    entries += len(rdata)
    [page.cookie] = [c.cookie for c in controls if c.controlType == page.controlType]
    if not page.cookie:
        break

if way == "passwd_s":
    conn.passwd_s(dn, old, new)
elif way == "modify_s":
    conn.modify_s(dn, [(ldap.MOD_DELETE, "unicodePwd", quoted(old)), (ldap.MOD_ADD, "unicodePwd", quoted(new))])
else:
    sys.exit(f"no way {way}")

again = connect()
again.simple_bind_s(name, new)
print(f"entries={entries} pages={pages}")
