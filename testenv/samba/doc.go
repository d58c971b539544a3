// Package samba runs a real Active Directory domain controller, Samba's, for
// the length of a test.
//
// [Start] gives a test a domain of its own, on a loopback address of its own,
// within a second or two:
//
//	dc := samba.Start(t)
//	dn := dc.AddUser(t, "alice", []byte("Start.Pass1"))
//	conn := dc.Conn(t) // a go-ldap connection, bound as the administrator
//
// The domain is CORP.EXAMPLE.TEST, with OU=People, OU=Service and OU=Groups,
// no minimum password age, no lockout (see [Lockout]), and passwords that stop
// to work the moment they are replaced.
//
// # How it works
//
// Provisioning takes 5 to 15 s, so it is done once per machine, for each version
// of Samba and of the recipe in this package, into the user's cache folder.
// Samba's state holds no absolute path and no address: a start copies it and
// writes a configuration and a certificate around it. LDAP's ports cannot be
// configured in Samba, so each DC takes an address in 127.50.0.0/16, under a
// file lock that processes testing at the same time respect.
//
// # Guarantees
//
// The DC ends with the test, and also when the test process dies: it watches
// the pipe on its standard input. It listens on its own address alone and never
// touches the system's own Samba configuration. Only the process group that was
// started here is ever signalled.
//
// # Not guaranteed
//
// Samba is not Windows. Where it is kinder or poorer, testenv/adtest says so.
//
// Needs Debian's samba, samba-ad-dc (from Debian 12 on), samba-ad-provision and
// samba-dsdb-modules, and the right to listen on ports 389 and 636: root, or a
// user and network namespace (unshare -Urn). Elsewhere [Start] skips the test
// and says why, unless DIRGATE_REQUIRE_SAMBA=1, which makes that a failure.
package samba
