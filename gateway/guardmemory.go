package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"time"

	"github.com/dirgate/dirgate/store/secret"
)

// mark stands for a password while its bind runs, so that the password itself
// need not be kept.
type mark [sha256.Size]byte

// fingerprint stands for a password of one subject. It proves nothing to whom
// does not have the process's key, and is compared in constant time.
type fingerprint [16]byte

func (f fingerprint) isZero() bool { return f == fingerprint{} }

func (f fingerprint) equal(other fingerprint) bool {
	return subtle.ConstantTimeCompare(f[:], other[:]) == 1
}

// marker makes marks.
type marker struct {
	key     [32]byte  // dies with the process
	hashers sync.Pool // of *hasher with that key
}

// hasher is an HMAC that has seen nothing, and what else a mark takes.
type hasher struct {
	mac   hash.Hash
	sum   mark
	blank [sha256.BlockSize - 1]byte
}

func newMarker() *marker {
	m := &marker{}
	_, _ = rand.Read(m.key[:]) // cannot fail since Go 1.24
	return m
}

// markOf is the HMAC of a password.
func (k *marker) markOf(password secret.Bytes) mark {
	h, _ := k.hashers.Get().(*hasher) // making one costs more than using it
	if h == nil {
		h = &hasher{mac: hmac.New(sha256.New, k.key[:])}
	}
	_, _ = h.mac.Write(password.Expose())
	h.mac.Sum(h.sum[:0])
	m := h.sum
	h.sum = mark{}
	h.mac.Reset()
	// The hash may still hold the end of the password, up to a byte less than
	// a block of it.
	_, _ = h.mac.Write(h.blank[:])
	h.mac.Reset()
	k.hashers.Put(h)
	return m
}

// fingerprint tells the marks of one subject from those of another. A hash
// does, for a mark cannot be guessed and all of its input has fixed lengths.
func (*guard) fingerprint(salt uint64, m mark) fingerprint {
	var input [len(m) + 8]byte
	binary.BigEndian.PutUint64(input[copy(input[:], m[:]):], salt)
	sum := sha256.Sum256(input[:])
	return fingerprint(sum[:len(fingerprint{})])
}

// prints are the fingerprints of one password. The one of a form stands for it
// under one form of the name only.
type prints struct{ plain, formed fingerprint }

func (g *guard) prints(salt uint64, m mark, form string) prints {
	p := prints{plain: g.fingerprint(salt, m)}
	p.formed = p.plain
	if form != "" {
		h := sha256.New()
		_, _ = h.Write(p.plain[:]) // of fixed length
		_, _ = h.Write([]byte(form))
		var sum [sha256.Size]byte
		p.formed = fingerprint(h.Sum(sum[:0])[:len(fingerprint{})])
	}
	return p
}

// are reports whether a fingerprint that was remembered is one of these.
func (p prints) are(remembered fingerprint) bool {
	return p.plain.equal(remembered) || p.formed.equal(remembered)
}

// lockoutPolicy is what locks the accounts of a domain.
type lockoutPolicy struct {
	threshold int           // refusals that lock an account; 0: none do
	window    time.Duration // without a refusal, after which the count starts anew
	read      time.Time     // zero: assumed
}

// assumedPolicy holds until a domain's own is known. Many domains allow more.
var assumedPolicy = lockoutPolicy{threshold: 5, window: 30 * time.Minute}

// policyAge is when a domain's policy is read anew.
const policyAge = time.Hour

// policy is what is known about a domain; the caller holds mu.
func (g *guard) policy(domain string) lockoutPolicy {
	if p, ok := g.policies[domain]; ok {
		return p
	}
	return assumedPolicy
}

// policyOf is what is known about a subject of a domain; the caller holds mu.
func (g *guard) policyOf(s *subject, domain string) lockoutPolicy {
	if s.own != nil {
		return *s.own
	}
	return g.policy(domain)
}

// addressLimits is a token bucket for each client address: a bind that the DC
// refuses takes a token. The caller synchronises.
type addressLimits struct {
	buckets map[netip.Prefix]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// A front end may bring the users of a whole company from one address, so the
// limit is generous; it is there to slow down who tries one password on all
// accounts.
const (
	failuresPerSecond = 10
	failuresAtOnce    = 300
	maxAddresses      = 65_536
)

func newAddressLimits() addressLimits {
	return addressLimits{buckets: make(map[netip.Prefix]bucket)}
}

// prefixOf is the client's network: one host usually has a whole IPv6 /64.
func prefixOf(address string) netip.Prefix {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits)
	return prefix
}

func (l addressLimits) level(prefix netip.Prefix, now time.Time) float64 {
	b, ok := l.buckets[prefix]
	if !ok {
		return failuresAtOnce
	}
	return min(failuresAtOnce, b.tokens+now.Sub(b.at).Seconds()*failuresPerSecond)
}

// allow reports whether the address may fail once more.
func (l addressLimits) allow(address string, now time.Time) bool {
	return l.level(prefixOf(address), now) >= 1
}

// take takes a token, below zero too: binds that ran at once are paid later.
func (l addressLimits) take(address string, now time.Time) {
	prefix := prefixOf(address)
	level := max(l.level(prefix, now)-1, -failuresAtOnce)
	if _, ok := l.buckets[prefix]; !ok && len(l.buckets) >= maxAddresses {
		l.sweep(now)
	}
	l.buckets[prefix] = bucket{tokens: level, at: now}
}

// sweep makes room: full buckets go, and if there are none, any half.
func (l addressLimits) sweep(now time.Time) {
	for prefix := range l.buckets {
		if l.level(prefix, now) >= failuresAtOnce {
			delete(l.buckets, prefix)
		}
	}
	for prefix := range l.buckets {
		if len(l.buckets) <= maxAddresses/2 {
			return
		}
		delete(l.buckets, prefix)
	}
}
