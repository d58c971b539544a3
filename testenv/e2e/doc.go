// Package e2e holds whole-program tests: the built binary as a process of its
// own, between a real domain controller (Samba) and the JumpCloud simulator,
// used with real LDAP clients.
//
// Most tests run side by side, four at a time (sideBySide in harness_test.go).
// Two run alone, before the others: TestG8_HostileClients, which wants an honest
// client bound long before hostile ones are timed out, and TestG9_Failover, where
// a second controller that gets no processor time for a second would leave
// rotation too, and whose times are reported.
package e2e
