package adsim

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A guid is an objectGUID as stored: its first three fields are little-endian
// (MS-DTYP 2.3.4.2).
type guid [16]byte

// String returns the form with dashes.
func (g guid) String() string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(g[:]), binary.LittleEndian.Uint16(g[4:]),
		binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:])
}

// parseGUID takes the form with dashes, and the stored bytes in hex.
func parseGUID(s string) (g guid, ok bool) {
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
		if err != nil || len(b) != 16 {
			return guid{}, false
		}
		slices.Reverse(b[:4])
		slices.Reverse(b[4:6])
		slices.Reverse(b[6:8])
		return guid(b), true
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return guid{}, false
	}
	return guid(b), true
}

// appendRID makes the SID of an account of a domain (MS-DTYP 2.4.2).
func appendRID(domain []byte, rid uint32) []byte {
	sid := slices.Clone(domain)
	sid[1]++
	return binary.LittleEndian.AppendUint32(sid, rid)
}

// sidString is S-1-5-21-...
func sidString(sid []byte) string {
	if len(sid) < 8 {
		return ""
	}
	s := fmt.Sprintf("S-%d-%d", sid[0], binary.BigEndian.Uint64(append([]byte{0, 0}, sid[2:8]...)))
	for i := 8; i+4 <= len(sid); i += 4 {
		s += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(sid[i:]))
	}
	return s
}

// An attribute has at least one value.
type attribute struct {
	name   string
	values []string
}

// An entry is an object of the directory.
type entry struct {
	guid    guid
	dn      string
	key     string
	deleted bool
	attrs   map[string]attribute // by name in lower case
	was     map[string][]string  // values when it was last touched
	stamps  map[string]int64     // the USN of each attribute's last change
	secret  passwords
	owner   guid // who created it; zero: the administrators
}

// clone copies what a modification may change.
func (e *entry) clone() *entry {
	c := *e
	c.attrs = make(map[string]attribute, len(e.attrs))
	for k, a := range e.attrs {
		c.attrs[k] = attribute{a.name, slices.Clone(a.values)}
	}
	c.was, c.stamps = maps.Clone(e.was), maps.Clone(e.stamps)
	c.secret.history = slices.Clone(e.secret.history)
	return &c
}

func (e *entry) get(name string) []string { return e.attrs[strings.ToLower(name)].values }

// first is the first value, or nothing.
func (e *entry) first(name string) string {
	if v := e.get(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (e *entry) num(name string) int64 {
	n, err := strconv.ParseInt(e.first(name), 10, 64)
	if err != nil {
		return 0 // absent; values are checked when they are written
	}
	return n
}

func (e *entry) set(name string, values ...string) {
	if len(values) == 0 {
		delete(e.attrs, strings.ToLower(name))
		return
	}
	e.attrs[strings.ToLower(name)] = attribute{name, values}
}

func (e *entry) setNum(name string, n int64) { e.set(name, strconv.FormatInt(n, 10)) }

func (e *entry) is(class string) bool {
	return slices.ContainsFunc(e.get("objectClass"), func(c string) bool { return strings.EqualFold(c, class) })
}

// rid is the last part of the entry's SID.
func (e *entry) rid() int64 {
	sid := e.first("objectSid")
	if len(sid) < 12 {
		return 0
	}
	return int64(binary.LittleEndian.Uint32([]byte(sid[len(sid)-4:])))
}

// AD counts time in 100 ns since 1601 (MS-DTYP 2.3.3).
const unixEpoch = 116444736000000000

const never = 0x7fffffffffffffff

func filetime(t time.Time) int64 { return t.UnixNano()/100 + unixEpoch }

func generalizedTime(t time.Time) string { return t.UTC().Format("20060102150405.0Z") }
