// Package adsim is a small look-alike of an Active Directory domain controller:
// for the first five minutes with dirgate, and for tests that cannot wait for a
// real one.
//
// [Start] serves a domain over LDAPS. A [Directory] is the domain itself: a
// tree of entries, accounts with passwords, a policy, and Windows' rules and
// error texts for binding, searching and changing passwords. [Server.Inject]
// makes the server misbehave on demand.
//
// # What it is like
//
// It must not be kinder than AD: the cases of testenv/adtest run against it and
// against a real Samba domain controller, and both must agree. Where Samba and
// Windows differ it plays Windows, and those cases are marked there. Among the
// traits it shares with AD:
//
//   - a failed bind leaves the earlier identity on the connection;
//   - a name with an empty password is a successful anonymous bind;
//   - the previous password may bind for an hour after it was replaced;
//   - a password in a simple bind ends at the first NUL;
//   - userPassword is an ordinary attribute, readable, and not the password;
//   - of several new passwords in one request the last one wins;
//   - unpaged searches end after 1000 entries, attributes after 1500 values.
//
// # Two faces, one directory
//
// Each client talks to a front made of gateway/ldapwire, which owns the
// listener and checks the size, nesting and structure of every message. What
// gldap can serve goes through to a gldap server on loopback that only the
// front can use: binds, adds, deletes, searches and modifications of one value
// each. What gldap v0.1.14 cannot express, gets wrong or dies of is answered by
// the front itself: values in extended responses, search references, Compare,
// ModifyDN, SASL, controls it has no type for, modifications with no or several
// values. Requests of a connection run one after the other, so a bind takes
// effect before what follows it. Both faces call the same Directory.
//
// # Not guaranteed
//
// It is no server for real passwords: they are hashed in memory, but pass
// through gldap as strings. It has no
// access control lists (rights follow from Domain Admins, Account Operators,
// [Directory.GrantReplication], [Directory.GrantDeletedObjects], [Directory.DSACLs]
// and, for a few attributes, being oneself), no fine-grained policies, no SASL
// and no StartTLS. DSIDs in error texts are invented, as they differ between
// builds of Windows.
//
// Specifications: RFC 4511, RFC 2696, RFC 4532, MS-ADTS 3.1.1.3 (LDAP), 3.1.1.3.1.5
// (passwords), 3.1.1.4.5 (constructed attributes), 5.1.1.1 (names that bind),
// MS-SAMR 3.1.1.7 (password policy).
package adsim
