package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// sealedVersion is the first byte of a value that carries a tag: a record of
// the log and the head.
const sealedVersion = 2

// tag authenticates a value, and a record its place in the chain.
type tag [secret.TagSize]byte

// frame is a record as it is stored:
//
//	offset  size  content
//	0       1     format version, 2
//	1       32    tag of the record before; of the first: tag of the store's id
//	33      32    tag of this record: over store id, number, the 32 bytes before, and the JSON
//	65      n     the Record in JSON
//
// As each record says what it follows, one whose neighbour was lost can still
// be told from a forgery.
type frame struct {
	prev, tag tag
	body      []byte
}

const frameHeader = 1 + 2*secret.TagSize

// chain makes and checks the tags of one store.
type chain struct {
	key *secret.LogKey
	id  []byte // of the store: records of another one do not fit
}

// start is what the first record follows.
func (c chain) start() tag { return c.key.Tag("dirgate store 1", c.id) }

func (c chain) tagOf(seq identity.Seq, prev tag, body []byte) tag {
	return c.key.Tag("dirgate log record 1", c.id, binary.BigEndian.AppendUint64(nil, uint64(seq)), prev[:], body)
}

// seal makes the stored form of a record that follows prev.
func (c chain) seal(r Record, prev tag) (value []byte, own tag, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, tag{}, err
	}
	own = c.tagOf(r.Seq, prev, body)
	value = make([]byte, 0, frameHeader+len(body))
	value = append(value, sealedVersion)
	value = append(value, prev[:]...)
	value = append(value, own[:]...)
	return append(value, body...), own, nil
}

// open checks that a value is the record of that number, as it was written.
func (c chain) open(seq identity.Seq, value []byte) (Record, frame, error) {
	r, f, err := readFrame(value)
	if err != nil {
		return r, f, err
	}
	if want := c.tagOf(seq, f.prev, f.body); want != f.tag {
		return r, f, fmt.Errorf("its tag does not match: %w", ErrCorrupt)
	}
	if r.Seq != seq {
		return r, f, fmt.Errorf("it says that it is record %d: %w", r.Seq, ErrCorrupt)
	}
	return r, f, nil
}

// readFrame reads a record without checking its tag.
func readFrame(value []byte) (r Record, f frame, err error) {
	if len(value) < frameHeader || value[0] != sealedVersion {
		return r, f, fmt.Errorf("no record of format %d: %w", sealedVersion, ErrCorrupt)
	}
	rest := value[1:]
	copy(f.prev[:], rest)
	copy(f.tag[:], rest[secret.TagSize:])
	f.body = value[frameHeader:]
	if err := json.Unmarshal(f.body, &r); err != nil {
		return r, f, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return r, f, nil
}

// sum is a keyed sum, modulo 2^256, over the items of one kind. Items can be
// added and taken away in any order, so it costs the same however many there
// are; who lacks the key cannot change the items and keep it.
type sum [4]uint64

func (s sum) plus(t tag) (out sum) {
	var carry uint64
	for i := range out {
		out[i], carry = bits.Add64(s[i], binary.LittleEndian.Uint64(t[8*i:]), carry)
	}
	return out
}

func (s sum) minus(t tag) (out sum) {
	var borrow uint64
	for i := range out {
		out[i], borrow = bits.Sub64(s[i], binary.LittleEndian.Uint64(t[8*i:]), borrow)
	}
	return out
}

// kinds are the keys, apart from the log's own, that are counted and summed.
var kinds = [...]string{
	prefixState, prefixSecret, prefixOpen, prefixAccount, prefixNewest,
	prefixLink, prefixLinkID, prefixCursor, prefixDomain, prefixCredential,
	prefixMirror, prefixGroupLink, prefixGroupLinkID, prefixVerdict, prefixToken, // a head from before these has no tallies of them
}

// nouns name kinds to people, in the same order.
var nouns = [len(kinds)]string{
	"states of changes", "sealed passwords", "index entries of open changes", "index entries of accounts", "index entries of newest passwords",
	"links", "index entries of links", "cursors", "registrations", "sealed credentials",
	"mirrored users and groups", "links of groups", "index entries of links of groups", "verdicts", "tokens",
}

// kindOf returns the kind of a key, or -1: a key of the log or of the store
// itself.
func kindOf(key []byte) int {
	for i, prefix := range kinds {
		if bytes.HasPrefix(key, []byte(prefix)) {
			return i
		}
	}
	return -1
}

// tally counts and sums the items of one kind.
type tally struct {
	N   int64 `json:"n"`
	Sum sum   `json:"sum"`
}

func (t *tally) add(item tag)  { t.N++; t.Sum = t.Sum.plus(item) }
func (t *tally) take(item tag) { t.N--; t.Sum = t.Sum.minus(item) }

func (c chain) item(key, value []byte) tag { return c.key.Tag("dirgate store item 1", key, value) }

// head says what the database holds after a transaction, and is written in
// it. A transaction that is lost or taken back, whole or in part, leaves a
// head that does not match, or one that is older than the mark.
type head struct {
	Schema  int    `json:"schema"`
	Store   []byte `json:"store"`
	Counter uint64 `json:"counter"` // of transactions

	Last identity.Seq `json:"last"` // number of the last record
	Tip  tag          `json:"tip"`  // its tag
	// Base is the last record that retention removed, BaseTip its tag: the
	// first record that is left follows it.
	Base    identity.Seq `json:"base,omitempty"`
	BaseTip tag          `json:"baseTip"`
	// Hold: changes up to this number are not applied before a person has
	// looked at them, because newer ones may have been lost.
	Hold identity.Seq `json:"hold,omitempty"`

	Tallies [len(kinds)]tally `json:"tallies"`
}

// sealHead makes the stored form of a head: version, tag, JSON.
func (c chain) sealHead(h head) (value []byte, own tag, err error) {
	body, err := json.Marshal(h)
	if err != nil {
		return nil, tag{}, err
	}
	own = c.key.Tag("dirgate store head 1", c.id, body)
	value = append(make([]byte, 0, 1+len(own)+len(body)), sealedVersion)
	value = append(value, own[:]...)
	return append(value, body...), own, nil
}

func (c chain) openHead(value []byte) (h head, own tag, err error) {
	if len(value) < 1+secret.TagSize || value[0] != sealedVersion {
		return h, own, fmt.Errorf("no head of format %d: %w", sealedVersion, ErrCorrupt)
	}
	copy(own[:], value[1:])
	body := value[1+secret.TagSize:]
	if c.key.Tag("dirgate store head 1", c.id, body) != own {
		return h, own, fmt.Errorf("its tag does not match: %w", ErrCorrupt)
	}
	if err := json.Unmarshal(body, &h); err != nil {
		return h, own, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return h, own, nil
}

// MarshalText writes a tag in hexadecimal.
func (t tag) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", t[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *tag) UnmarshalText(text []byte) error {
	var raw []byte
	if n, err := fmt.Sscanf(string(text), "%x", &raw); n != 1 || err != nil || len(raw) != len(t) {
		return fmt.Errorf("want %d bytes in hexadecimal", len(t))
	}
	copy(t[:], raw)
	return nil
}
