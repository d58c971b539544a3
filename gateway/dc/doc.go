// Package dc reaches the domain controllers of one domain.
//
// A [Set] is the controllers that may serve a domain: those of a list of
// ldaps URLs, in order of preference, and those that DNS names for the domain
// (SRV, in the order of RFC 2782, those of the site first). [Set.Dial] gives a
// verified TLS connection to the best of them. [Set.Run] watches them.
//
// # Rotation
//
// A controller is in rotation until something shows that it is not well: it
// cannot be dialled, it does not answer the health read, or it says that it is
// not synchronised. It then leaves at once. Dial tries those in rotation first,
// writable ones before read-only ones; then, if there is no other, those out of
// rotation, the one that was well last first. Attempts are staggered: when a controller has neither
// refused nor answered after 300 ms the next is tried beside it, and the first
// to complete its handshake wins (as RFC 8305 section 5 does for addresses).
//
// The health read is a read of the root DSE over a connection that is kept for
// it (MS-ADTS 3.1.1.3.2), not a mere connect: the kernel of a controller that
// hangs still accepts connections.
//
// # Guarantees
//
//   - A clear-text connection is never made, and a certificate is always
//     verified against the host of the URL, or the target of the SRV record
//     (RFC 4513 section 3.1.3: subjectAltName, never the common name). Since
//     DNS can be forged, a target must lie in the domain, or where
//     [Config.Within] allows.
//   - With Run, a controller that hangs leaves rotation within HealthInterval +
//     HealthTimeout, 1 s by default, and one whose connections break sooner.
//   - A controller that left comes back only after a health read that began
//     after the failure; the pauses between reads grow from 250 ms to 5 s, and
//     do not shrink for one that was well for less than 30 s in between.
//   - Dial refuses only after it tried all controllers, and returns within
//     twice [Config.DialTimeout], whatever their number.
//   - A failed or empty lookup changes nothing: the list of before stays.
//   - No goroutine outlives the call of Dial or Run that started it.
//   - Observe is told of each change of state once, in order.
//
// # Without Run
//
// Nothing is read from controllers, so what is known comes from dialling
// alone: one that failed is tried again, in its place, by one Dial
// after the same growing pauses; hanging ones are found out only by dialling;
// and none is known to be read-only. Names are looked up by Dial when due.
//
// # Not guaranteed
//
// A controller in rotation can fail between its last health read and the
// connection, or after; only the connection's owner can tell. That is
// no reason to leave rotation, since a client can make a controller hang up on
// it. The health read is anonymous: it shows that the directory answers, not
// that binds, the replication partners or the network beyond work. One slow
// answer is enough to leave rotation; since Dial still tries all, that costs
// order, never service. Connections that exist are not touched when their
// controller leaves rotation or the list. Controllers are not chosen by
// round-trip time, only avoided for 5 s after a faster one overtook them.
// Of the names in DNS at most 16 are used, so that a domain with hundreds of
// controllers is not watched whole: give the site.
//
// The port in the SRV records is not used: it is that of LDAP without TLS. 636
// on the same host is.
//
// Specifications: RFC 2782 (SRV), MS-ADTS 6.3.2.3 (names in DNS), 3.1.1.3.2
// (root DSE), RFC 4513 section 3.1.3 (names in certificates).
package dc
