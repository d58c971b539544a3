// Package certs makes, serves and checks X.509 certificates.
//
// Three things live here. A [CA] is a private certificate authority for an
// installation that has none: it signs the certificate of the listener and is
// what clients are told to trust. A [Reloader] is a listener's TLS
// configuration over a certificate and key file, which follows those files
// when they change. [Client] is the TLS configuration towards a peer, and
// [Explain] turns a failed verification into a sentence that says what to do.
//
// # Key exchange
//
// crypto/tls ignores the order of Config.CurvePreferences; only the set
// counts. A listener offers the library's whole set, hybrid post-quantum
// exchanges included: what crosses it are passwords, which stay worth
// decrypting years after they were recorded, and a client that offers no
// hybrid pays nothing for it. Towards a peer the set is classical (X25519 and
// the NIST curves): a client pays for generating a hybrid key share in every
// handshake, even when the peer chooses another exchange, and domain
// controllers commonly choose another. BenchmarkHandshake measures both.
//
// # Guarantees
//
//   - Peers are always verified; there is no switch to turn that off.
//   - TLS 1.2 is the oldest version on either side.
//   - A listener always has a working pair: a new one that cannot be used is
//     refused and the old one stays. Established connections are not touched.
//   - Private keys are written with mode 0600, whole or not at all, and never
//     over an existing file.
//
// # Non-guarantees
//
// Revocation (CRL, OCSP) is not checked. A CA made here has its key in a file
// in clear: keep it offline once the certificates are issued.
//
// Specifications: RFC 5280 (certificates), RFC 8446 (TLS 1.3), RFC 5246 (TLS
// 1.2), RFC 9525 (names in certificates), RFC 7468 (PEM).
package certs
