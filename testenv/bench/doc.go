// Command bench compares the gateway with other LDAP relays on one machine.
//
// It starts a back end in the place of a domain controller (OpenLDAP slapd,
// back_mdb, 10,000 entries, an RSA-2048 certificate, 8 threads) and, one after
// the other, the programs to compare, each with TLS on both sides and the back
// end's certificate verified:
//
//   - direct: no relay, the back end itself, for reference;
//   - haproxy: HAProxy in mode tcp, which understands no LDAP;
//   - back-ldap: OpenLDAP slapd with back_ldap and rebind-as-user;
//   - dirgate: the gateway as cmd/dirgate wires it, except that passwords are
//     not captured, since slapd is no Active Directory;
//   - copy (on request): io.Copy over crypto/tls both ways, what a Go program
//     costs that does nothing but relay.
//
// # Method
//
// The main figure is the CPU time of the relay's process per operation, from
// /proc/PID/stat: on a machine shared by client, relay and back end it is the
// one that other load disturbs least. Rounds are interleaved: each round runs
// every program on a workload before the next workload, in an order that
// turns from round to round, so that a ratio compares what ran side by side.
// Each cell has a fresh process and begins when the back end has come to rest.
//
// The load generator runs in this process, which is never the measured one. It
// sends requests encoded in advance, with the message ID patched in place, and
// checks every answer: message ID, kind, result code and number of entries. An
// answer that is wrong fails the cell, and the run.
//
// # Bounds
//
// Everything listens on 127.0.0.1 only and lives in a temporary folder. Counts
// and times are bounded. Only processes that were started here are ended, and
// they end with this one.
package main
