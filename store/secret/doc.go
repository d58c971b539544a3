// Package secret holds password bytes and seals them.
//
// [Bytes] is the only type in which a password travels from the decoder to the
// point where it is sent or sealed.
//
// # Sealing
//
// A secret at rest is sealed to a public key, so the process that captures
// passwords cannot read one back. Key pairs come in epochs, numbered from 1.
// [EnsureKeys] makes the first; each has two files in the key directory:
//
//	epoch-000001.pub   the public key, plain
//	epoch-000001.key   the private key, wrapped under the master key
//
// A [Sealer] needs only the public files and seals to the newest epoch. An
// [Opener] needs the master key too and opens every epoch whose private key is
// still there. [CreateEpoch] begins another; [DestroyEpoch] makes everything
// sealed to one unreadable for good, whoever holds copies of the database or
// the master key.
//
// The master key is 32 random bytes in a file of its own ([CreateMasterKey],
// [ReadMasterKey]). It should lie outside the data directory: whoever has both
// reads the secrets that are not yet applied.
//
// # Format of a sealed secret
//
//	offset  size  content
//	0       1     format version, 1
//	1       4     epoch, big-endian
//	5       32    HPKE encapsulated key
//	37      n     HPKE ciphertext with its 16-byte tag
//
// The suite is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM in base
// mode (RFC 9180 sections 5.1.1, 7). The first 5 bytes and the caller's own
// additional data are authenticated, so a sealed secret opens only in the
// place it was made for. The plaintext is the secret, one byte 0x80, and
// zeroes up to a multiple of 64 bytes (ISO/IEC 7816-4 padding): the size of
// what is stored tells only in which 64-byte step the length lies.
//
// # Not guaranteed
//
// Base mode does not authenticate the sender: who can write to the database
// and read the public key can seal a secret of their own. Go may copy memory
// (stacks that grow, buffers inside crypto packages), so Wipe shortens a
// secret's life in memory, it does not prove its end.
package secret
