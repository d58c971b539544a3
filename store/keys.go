package store

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// Keys of the database. Numbers are big-endian, so keys sort as numbers do.
//
//	key                              value
//	meta/schema                      schema version, decimal
//	meta/head                        head: what the last transaction left, authenticated (chain.go)
//	log/ seq8                        frame with a Record: append-only, gapless, authenticated (chain.go)
//	state/ seq8                      identity.Entry of the change that the intent seq began
//	secret/ seq8                     sealed password of that change; deleted when it has no more use
//	open/ status1 seq8               direction1, time8: changes that are unsettled, pending, dead or held
//	account/ account17 seq8          nothing: the changes of an account, oldest first
//	newest/ direction1 account17 domain   seq8 of the newest accepted password change
//	newest/ direction1 account17 domain 00 class1   seq8 of the newest change of state
//	link/ domain 00 guid16           identity.Link
//	linkid/ jumpcloudID              domain 00 guid16 of the link of that JumpCloud user
//	cursor/ name                     the caller's bytes
//	mirror/ domain 00 u guid16       identity.User: an account as AD was last seen to have it
//	mirror/ domain 00 g guid16       identity.Group, likewise
//	grouplink/ domain 00 guid16      identity.GroupLink
//	grouplinkid/ groupID             domain 00 guid16 of the link of that JumpCloud group
//	verdict/ domain 00 direction1 g guid16   Verdict about an AD object
//	verdict/ domain 00 direction1 c id       Verdict about a JumpCloud object without one
//	token/ id                        Token, with its SHA-256
//	domain/ domain                   Domain
//	credential/ domain 00 name       sealed credential
//
// status1 is u, p, d or h; direction1 is i or s. account17 is 01 and the
// objectGUID, or, when that is not known, 02 and the first 16 bytes of the
// SHA-256 of the DN as plainDN writes it. Of a change of direction sync it is
// 03 and the first 16 bytes of the SHA-256 of JumpCloud's id; below account/
// it is found by the objectGUID too, once that is known. class1 is s, or g of
// a group in direction sync, since nothing says that JumpCloud never gives a
// user and a group one id. Domains are DNS names in lower case.
//
// Everything but meta/ and log/ is counted and summed in the head. Values that
// are ours begin with a version byte; the rest is JSON. Records
// are a few hundred bytes and written once per sync, which costs a hundred
// times more than the encoding; in return anyone can read them, and a field
// can be added without a migration. Sealed values have their own version byte
// (package secret).
const (
	keySchema        = "meta/schema"
	keyHead          = "meta/head"
	prefixLog        = "log/"
	prefixState      = "state/"
	prefixSecret     = "secret/"
	prefixOpen       = "open/"
	prefixAccount    = "account/"
	prefixNewest     = "newest/"
	prefixLink       = "link/"
	prefixLinkID     = "linkid/"
	prefixCursor     = "cursor/"
	prefixDomain     = "domain/"
	prefixCredential = "credential/"

	prefixMirror      = "mirror/"
	prefixGroupLink   = "grouplink/"
	prefixGroupLinkID = "grouplinkid/"
	prefixToken       = "token/"
	prefixVerdict     = "verdict/"
)

const seqSize = 8

func keySeq(prefix string, seq identity.Seq) []byte {
	key := make([]byte, 0, len(prefix)+seqSize)
	return binary.BigEndian.AppendUint64(append(key, prefix...), uint64(seq))
}

// seqOf reads the sequence number that ends a key.
func seqOf(key []byte) identity.Seq {
	return identity.Seq(binary.BigEndian.Uint64(key[len(key)-seqSize:]))
}

func keyOpen(status identity.Status, seq identity.Seq) []byte {
	return keySeq(prefixOpen+string(status[0]), seq)
}

// statusOfOpen undoes keyOpen.
func statusOfOpen(key []byte) identity.Status {
	switch key[len(prefixOpen)] {
	case 'u':
		return identity.StatusUnsettled
	case 'p':
		return identity.StatusPending
	case 'h':
		return identity.StatusHeld
	}
	return identity.StatusDead
}

// isOpen reports whether a change of that status is kept under prefixOpen.
func isOpen(s identity.Status) bool {
	return hasSecret(s) || s == identity.StatusHeld
}

func directionByte(d identity.Direction) byte {
	if d == identity.Sync {
		return 's'
	}
	return 'i'
}

func directionOf(b byte) identity.Direction {
	if b == 's' {
		return identity.Sync
	}
	return identity.Import
}

func accountKey(guid identity.GUID, dn string) []byte {
	if !guid.IsZero() {
		return append([]byte{1}, guid[:]...)
	}
	sum := sha256.Sum256([]byte(plainDN(dn)))
	return append([]byte{2}, sum[:16]...)
}

// plainDN writes two spellings of a DN that differ in case, or in spaces around
// the separators (RFC 4514 section 2.4 lets a reader accept them), the same
// way. It is no parser: other spellings, such as hexadecimal escapes, stay
// apart, and what is no DN stays what it is.
func plainDN(dn string) string {
	var parts []string
	for rdn := range strings.SplitSeq(escapedComma.Replace(dn), ",") {
		name, value, isPair := strings.Cut(rdn, "=")
		if name = trimSpaces(name); isPair {
			name += "=" + trimSpaces(value)
		}
		parts = append(parts, strings.ToLower(name))
	}
	return strings.Join(parts, ",")
}

// escapedComma hides a comma that separates nothing.
var escapedComma = strings.NewReplacer(`\\`, `\5c`, `\,`, `\2c`)

// trimSpaces leaves a space that ends in an escape.
func trimSpaces(s string) string {
	trimmed := strings.Trim(s, " ")
	if strings.HasSuffix(trimmed, `\`) {
		trimmed += " "
	}
	return trimmed
}

func keyAccount(account []byte, seq identity.Seq) []byte {
	return keySeq(prefixAccount+string(account), seq)
}

// cloudKey stands for an object of JumpCloud where accountKey does for one of
// AD.
func cloudKey(id string) []byte {
	sum := sha256.Sum256([]byte(id))
	return append([]byte{3}, sum[:16]...)
}

// subjectKey is what a change is known by.
func subjectKey(c identity.Change) []byte {
	if c.CloudID != "" {
		return cloudKey(c.CloudID)
	}
	return accountKey(c.Account.GUID, c.Account.DN)
}

// accountKeys are the keys below prefixAccount of a change.
func accountKeys(c identity.Change) [][]byte {
	keys := [][]byte{keyAccount(subjectKey(c), c.Seq)}
	if c.CloudID != "" && !c.Account.GUID.IsZero() {
		keys = append(keys, keyAccount(accountKey(c.Account.GUID, ""), c.Seq))
	}
	return keys
}

func keyNewest(c identity.Change) []byte {
	key := append([]byte(prefixNewest), directionByte(c.Direction))
	key = append(key, subjectKey(c)...)
	key = append(key, c.Account.Domain...)
	switch {
	case c.Kind == identity.GroupChange && c.CloudID != "":
		key = append(key, 0, 'g')
	case c.Kind.IsState():
		key = append(key, 0, 's')
	}
	return key
}

func linkName(domain string, guid identity.GUID) []byte {
	return append(append([]byte(domain), 0), guid[:]...)
}

func keyCredential(domain, name string) []byte {
	return []byte(prefixCredential + domain + "\x00" + name)
}

// field appends a value with its length, so that two lists of fields are
// never the same bytes.
func field(b []byte, value string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// secretAAD binds a sealed password to the change it belongs to.
func secretAAD(c identity.Change) []byte {
	b := field(nil, "password of a change")
	b = binary.BigEndian.AppendUint64(b, uint64(c.Seq))
	b = field(b, string(c.Direction))
	b = field(b, c.Account.Domain)
	if c.CloudID != "" { // the AD account may become known later
		return field(field(b, "JumpCloud user"), c.CloudID)
	}
	b = field(b, c.Account.GUID.String())
	if c.Account.GUID.IsZero() {
		b = field(b, c.Account.DN)
	}
	return b
}

// credentialAAD binds a sealed credential to its domain and use.
func credentialAAD(domain, name string) []byte {
	return field(field(field(nil, "credential of a domain"), domain), name)
}
