// Package e2e holds whole-program tests: the built binary as a process of its
// own, between a real domain controller (Samba) and the JumpCloud simulator,
// used with real LDAP clients.
package e2e
