package secret

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// TagSize is the size of an authentication tag of a [LogKey], in bytes.
const TagSize = sha256.Size

// logKeyInfo names the use of the key and the version of its derivation.
const logKeyInfo = "dirgate change log key 1"

// LogKey authenticates what the change log holds. It is derived from the
// master key, and opens nothing. It is safe for concurrent use.
type LogKey struct {
	key Bytes // cannot be printed, wherever the LogKey lies
}

// NewLogKey derives the key of the change log from the master key by
// HKDF-SHA256 (RFC 5869). The caller may wipe master afterwards.
func NewLogKey(master Bytes) (*LogKey, error) {
	if len(master.Expose()) != masterKeySize {
		return nil, fmt.Errorf("derive log key: want a master key of %d bytes: %w", masterKeySize, ErrWrongKey)
	}
	key, err := hkdf.Key(sha256.New, master.Expose(), nil, logKeyInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("derive log key: %w", err)
	}
	return &LogKey{key: Take(key)}, nil
}

// Tag returns HMAC-SHA256 (RFC 2104) over use and the parts, each with its
// length before it, so that no two lists of parts are the same bytes.
func (k *LogKey) Tag(use string, parts ...[]byte) (tag [TagSize]byte) {
	h := hmac.New(sha256.New, k.key.Expose())
	var size [4]byte
	write := func(part []byte) {
		binary.BigEndian.PutUint32(size[:], uint32(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	write([]byte(use))
	for _, part := range parts {
		write(part)
	}
	h.Sum(tag[:0])
	return tag
}

// Random makes a new master key that is kept nowhere.
func Random() Bytes {
	key := make([]byte, masterKeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
	return Take(key)
}
