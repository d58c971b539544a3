package secret

import (
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

const (
	sealVersion = 1
	headerSize  = 1 + epochSize
	// padStep is the step to which plaintexts are padded, in bytes.
	padStep = 64
	padMark = 0x80
)

// MaxSize is the longest secret that Seal takes, in bytes.
const MaxSize = 64 << 10

// sealInfo separates these seals from any other use of the same keys
// (RFC 9180 section 8.1).
const sealInfo = "dirgate sealed secret 1"

// Sealer seals secrets to the newest epoch. It holds no private key. It is
// safe for concurrent use.
type Sealer struct {
	epoch  uint32
	public hpke.PublicKey
}

// OpenSealer reads the public keys in dir. It needs no master key.
func OpenSealer(dir string) (*Sealer, error) {
	keys, err := publicKeys(dir)
	if err != nil {
		return nil, fmt.Errorf("open sealer: %w", err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("open sealer: %s holds no public key; run `dirgate init`, or restore the directory from its backup: %w", dir, ErrNoEpoch)
	}
	newest := keys[len(keys)-1]
	public, err := kem().NewPublicKey(newest.public)
	if err != nil {
		return nil, fmt.Errorf("open sealer: public key of epoch %d: %w: %w", newest.epoch, err, ErrCorrupt)
	}
	return &Sealer{epoch: newest.epoch, public: public}, nil
}

// Epoch is the epoch that Seal seals to.
func (s *Sealer) Epoch() uint32 { return s.epoch }

// Seal encrypts plain, which the caller keeps, so that it opens only together
// with the same aad. The result has 53 bytes more than the padded plaintext.
func (s *Sealer) Seal(plain Bytes, aad []byte) ([]byte, error) {
	if len(plain.Expose()) > MaxSize {
		return nil, fmt.Errorf("seal secret: longer than %d bytes", MaxSize)
	}
	padded := Take(pad(plain.Expose()))
	defer padded.Wipe()
	enc, sender, err := hpke.NewSender(s.public, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(sealInfo))
	if err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	out := make([]byte, 0, headerSize+len(enc)+len(padded.Expose())+gcmTagSize)
	out = append(out, sealVersion)
	out = binary.BigEndian.AppendUint32(out, s.epoch)
	ciphertext, err := sender.Seal(sealAAD(out, aad), padded.Expose())
	if err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	out = append(out, enc...)
	return append(out, ciphertext...), nil
}

// Opener opens sealed secrets of every epoch whose private key is there. It is
// safe for concurrent use.
type Opener struct {
	mu      sync.RWMutex
	private map[uint32]hpke.PrivateKey // guarded by mu
}

// OpenOpener reads the key pairs in dir. An error wraps [ErrWrongKey] when
// master is not the master key they were made with, [ErrCorrupt] when a file
// is damaged, [ErrNoEpoch] when there is no public key at all. The caller may
// wipe master afterwards.
func OpenOpener(dir string, master Bytes) (*Opener, error) {
	keys, err := publicKeys(dir)
	if err != nil {
		return nil, fmt.Errorf("open opener: %w", err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("open opener: %s holds no key; run `dirgate init`, or restore the directory from its backup: %w", dir, ErrNoEpoch)
	}
	o := &Opener{private: make(map[uint32]hpke.PrivateKey)}
	for _, k := range keys {
		private, err := readPrivate(dir, k, master)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a destroyed epoch
		}
		if err != nil {
			return nil, fmt.Errorf("open opener: private key of epoch %d: %w", k.epoch, err)
		}
		o.private[k.epoch] = private
	}
	return o, nil
}

// Open decrypts what Seal made. An error wraps [ErrNoEpoch] when the private
// key is not there (any more), and [ErrCorrupt] when sealed or aad is not
// what was sealed.
func (o *Opener) Open(sealed, aad []byte) (Bytes, error) {
	if len(sealed) < headerSize+x25519Size+padStep+gcmTagSize {
		return Bytes{}, fmt.Errorf("open secret: %d bytes are too few: %w", len(sealed), ErrCorrupt)
	}
	if sealed[0] != sealVersion {
		return Bytes{}, fmt.Errorf("open secret: format version %d, want %d: %w", sealed[0], sealVersion, ErrCorrupt)
	}
	epoch := binary.BigEndian.Uint32(sealed[1:])
	o.mu.RLock()
	private, ok := o.private[epoch]
	o.mu.RUnlock()
	if !ok {
		return Bytes{}, fmt.Errorf("open secret of epoch %d: %w", epoch, ErrNoEpoch)
	}
	enc, ciphertext := sealed[headerSize:headerSize+x25519Size], sealed[headerSize+x25519Size:]
	recipient, err := hpke.NewRecipient(enc, private, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(sealInfo))
	if err != nil {
		return Bytes{}, fmt.Errorf("open secret of epoch %d: %w", epoch, ErrCorrupt)
	}
	padded, err := recipient.Open(sealAAD(sealed[:headerSize], aad), ciphertext)
	if err != nil {
		return Bytes{}, fmt.Errorf("open secret of epoch %d: %w", epoch, ErrCorrupt)
	}
	defer clear(padded)
	plain, ok := unpad(padded)
	if !ok {
		return Bytes{}, fmt.Errorf("open secret of epoch %d: padding: %w", epoch, ErrCorrupt)
	}
	return New(plain), nil
}

func sealAAD(header, aad []byte) []byte {
	joined := make([]byte, 0, headerSize+len(aad))
	joined = append(joined, header[:headerSize]...)
	return append(joined, aad...)
}

// pad copies plain into a buffer of its final size, so that append leaves no
// second copy behind.
func pad(plain []byte) []byte {
	size := (len(plain)/padStep + 1) * padStep
	padded := make([]byte, size)
	copy(padded, plain)
	padded[len(plain)] = padMark
	return padded
}

func unpad(padded []byte) ([]byte, bool) {
	i := len(padded) - 1
	for i >= 0 && padded[i] == 0 {
		i--
	}
	if i < 0 || padded[i] != padMark || len(padded)-i > padStep {
		return nil, false
	}
	return padded[:i], true
}
