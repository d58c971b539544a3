package secret

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"
)

var (
	// ErrWrongKey: the key files are sound and were made with another master
	// key.
	ErrWrongKey = errors.New("wrong master key")
	// ErrNoEpoch: there is no key of the epoch: it was destroyed after its
	// secrets were applied, or the key directory is not the one that belongs
	// to the database.
	ErrNoEpoch = errors.New("no key of that epoch")
	// ErrCorrupt: a sealed secret or a key file was damaged or altered, or a
	// secret is not in the place it was sealed for.
	ErrCorrupt = errors.New("damaged or altered")
)

const (
	publicKeyPrefix  = "dirgate-epoch-public-key-1:"
	privateKeyPrefix = "dirgate-epoch-private-key-1:"
)

// Sizes of the parts of key files, in bytes.
const (
	x25519Size   = 32
	epochSize    = 4
	sumSize      = 8 // of SHA-256: tells damage from a wrong master key
	saltSize     = 16
	checkSize    = 16
	gcmNonceSize = 12
	gcmTagSize   = 16
)

// A public key file is the prefix and, in base64: epoch, public key, sum.
// A private key file is the prefix and, in base64: epoch, salt, key check,
// nonce, wrapped private key, sum. The wrapping key and the key check value
// are derived from the master key by HKDF-SHA256 (RFC 5869) with that salt;
// the master key has 256 random bits, so the check value does not help to
// find it. AES-256-GCM wraps, and binds prefix, epoch and public key.
type epochKey struct {
	epoch  uint32
	public []byte // 32 bytes
}

func epochFile(dir string, epoch uint32, ext string) string {
	return filepath.Join(dir, fmt.Sprintf("epoch-%06d.%s", epoch, ext))
}

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

// EnsureKeys makes dir (mode 0700) and the key pair of epoch 1 in it, unless
// there is a key pair already; then it only makes sure that master is the
// master key that they were made with. It belongs to a new installation: where
// a database exists already, missing keys must be restored, not made anew.
func EnsureKeys(dir string, master Bytes) error {
	epochs, err := publicKeys(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make key directory: %w", err)
		}
	} else if err != nil {
		return err
	}
	if len(epochs) > 0 {
		_, err := OpenOpener(dir, master)
		return err
	}
	return createEpoch(dir, 1, master)
}

// createEpoch writes the key pair of a new epoch. The private file comes
// first: a public key whose private half was lost would swallow secrets.
func createEpoch(dir string, epoch uint32, master Bytes) error {
	private, err := kem().GenerateKey()
	if err != nil {
		return fmt.Errorf("generate key pair of epoch %d: %w", epoch, err)
	}
	key := epochKey{epoch: epoch, public: private.PublicKey().Bytes()}
	wrapped, err := wrapPrivate(key, private, master)
	if err != nil {
		return fmt.Errorf("wrap private key of epoch %d: %w", epoch, err)
	}
	if err := renameio.WriteFile(epochFile(dir, epoch, "key"), encodeKeyFile(privateKeyPrefix, wrapped), 0o600); err != nil {
		return fmt.Errorf("write private key of epoch %d: %w", epoch, err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("sync key directory: %w", err)
	}
	body := append(binary.BigEndian.AppendUint32(nil, epoch), key.public...)
	if err := renameio.WriteFile(epochFile(dir, epoch, "pub"), encodeKeyFile(publicKeyPrefix, body), 0o600); err != nil {
		return fmt.Errorf("write public key of epoch %d: %w", epoch, err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("sync key directory: %w", err)
	}
	return nil
}

// publicKeys reads the public keys in dir, oldest epoch first.
func publicKeys(dir string) ([]epochKey, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read key directory: %w", err)
	}
	var keys []epochKey
	for _, e := range entries {
		var epoch uint32
		if n, _ := fmt.Sscanf(e.Name(), "epoch-%d.pub", &epoch); n != 1 || e.Name() != filepath.Base(epochFile(dir, epoch, "pub")) {
			continue
		}
		key, err := readPublic(dir, epoch)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b epochKey) int { return cmp.Compare(a.epoch, b.epoch) })
	return keys, nil
}

func readPublic(dir string, epoch uint32) (epochKey, error) {
	path := epochFile(dir, epoch, "pub")
	body, err := decodeKeyFile(path, publicKeyPrefix, epochSize+x25519Size)
	if err != nil {
		return epochKey{}, fmt.Errorf("read public key of epoch %d: %w", epoch, err)
	}
	if binary.BigEndian.Uint32(body) != epoch {
		return epochKey{}, fmt.Errorf("read public key of epoch %d: %s is of another epoch: %w", epoch, path, ErrCorrupt)
	}
	return epochKey{epoch: epoch, public: body[epochSize:]}, nil
}

const wrappedSize = epochSize + saltSize + checkSize + gcmNonceSize + x25519Size + gcmTagSize

// derive returns the wrapping key and the key check value.
func derive(master Bytes, salt []byte) (wrap cipher.AEAD, check []byte, err error) {
	if len(master.Expose()) != masterKeySize {
		return nil, nil, fmt.Errorf("want a master key of %d bytes: %w", masterKeySize, ErrWrongKey)
	}
	check, err = hkdf.Key(sha256.New, master.Expose(), salt, "dirgate epoch key check 1", checkSize)
	if err != nil {
		return nil, nil, err
	}
	key, err := hkdf.Key(sha256.New, master.Expose(), salt, "dirgate epoch key wrap 1", 32)
	if err != nil {
		return nil, nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	wrap, err = cipher.NewGCM(block)
	return wrap, check, err
}

func (k epochKey) binding() []byte {
	aad := binary.BigEndian.AppendUint32([]byte(privateKeyPrefix), k.epoch)
	return append(aad, k.public...)
}

func wrapPrivate(k epochKey, private hpke.PrivateKey, master Bytes) ([]byte, error) {
	raw, err := private.Bytes()
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	random := make([]byte, saltSize+gcmNonceSize)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	salt, nonce := random[:saltSize], random[saltSize:]
	wrap, check, err := derive(master, salt)
	if err != nil {
		return nil, err
	}
	body := binary.BigEndian.AppendUint32(make([]byte, 0, wrappedSize), k.epoch)
	body = append(body, salt...)
	body = append(body, check...)
	body = append(body, nonce...)
	return wrap.Seal(body, nonce, raw, k.binding()), nil
}

// readPrivate unwraps the private key that belongs to k.
func readPrivate(dir string, k epochKey, master Bytes) (hpke.PrivateKey, error) {
	path := epochFile(dir, k.epoch, "key")
	body, err := decodeKeyFile(path, privateKeyPrefix, wrappedSize)
	if err != nil {
		return nil, err
	}
	epoch, rest := binary.BigEndian.Uint32(body), body[epochSize:]
	salt, rest := rest[:saltSize], rest[saltSize:]
	want, rest := rest[:checkSize], rest[checkSize:]
	nonce, wrapped := rest[:gcmNonceSize], rest[gcmNonceSize:]
	wrap, check, err := derive(master, salt)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(check, want) {
		return nil, fmt.Errorf("%s was made with another master key; check master_key_file: %w", path, ErrWrongKey)
	}
	raw, err := wrap.Open(nil, nonce, wrapped, k.binding())
	if err != nil || epoch != k.epoch {
		return nil, fmt.Errorf("%s does not belong to its public key: %w", path, ErrCorrupt)
	}
	defer clear(raw)
	private, err := kem().NewPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, err, ErrCorrupt)
	}
	if !bytes.Equal(private.PublicKey().Bytes(), k.public) {
		return nil, fmt.Errorf("%s does not belong to its public key: %w", path, ErrCorrupt)
	}
	return private, nil
}

func encodeKeyFile(prefix string, body []byte) []byte {
	text := base64.StdEncoding.AppendEncode([]byte(prefix), append(slices.Clip(body), keyFileSum(prefix, body)...))
	return append(text, '\n')
}

func decodeKeyFile(path, prefix string, size int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := readKeyFile(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, err, ErrCorrupt)
	}
	encoded, ok := cutPrefix(text, prefix)
	if !ok {
		return nil, fmt.Errorf("%s does not begin with %q: %w", path, prefix, ErrCorrupt)
	}
	body, err := base64.StdEncoding.Strict().AppendDecode(nil, encoded)
	if err != nil || len(body) != size+sumSize || !bytes.Equal(body[size:], keyFileSum(prefix, body[:size])) {
		return nil, fmt.Errorf("%s: its checksum does not match; restore it from a backup: %w", path, ErrCorrupt)
	}
	return body[:size:size], nil
}

func keyFileSum(prefix string, body []byte) []byte {
	h := sha256.New()
	h.Write([]byte(prefix))
	h.Write(body)
	return h.Sum(nil)[:sumSize]
}
