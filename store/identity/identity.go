// Package identity holds the nouns that the other packages exchange: sides,
// account keys, changes and their states. They are values: no I/O, no clock,
// no secrets. Every package may import it; it imports none of ours.
//
// An Active Directory account is known by its objectGUID (MS-ADTS 3.1.1.1.4),
// never by a name: names and DNs move, the GUID survives rename and move. A
// JumpCloud user is known by its 24 hex digit id. Names travel beside the keys
// only so that people can read what happened.
package identity

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Side is one of the two directories that are kept the same.
type Side string

const (
	AD        Side = "ad"
	JumpCloud Side = "jumpcloud"
)

// Direction is the way a change travels.
type Direction string

const (
	Import Direction = "import" // AD -> JumpCloud
	Sync   Direction = "sync"   // JumpCloud -> AD
)

// From is the side where a change of direction d was made.
func (d Direction) From() Side {
	if d == Sync {
		return JumpCloud
	}
	return AD
}

// Seq numbers the records of the change log: strictly increasing, no gaps,
// starting at 1. Zero means "none".
type Seq uint64

func (s Seq) String() string { return strconv.FormatUint(uint64(s), 10) }

// ParseSeq reads a decimal sequence number; zero is refused.
func ParseSeq(text string) (Seq, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("sequence number %q: want a whole number from 1", text)
	}
	return Seq(n), nil
}

// GUID is an objectGUID as it travels in LDAP: 16 bytes, the first three
// fields little-endian (MS-DTYP 2.3.4.2).
type GUID [16]byte

var errGUID = errors.New("want 16 bytes or the form 00000000-0000-0000-0000-000000000000")

// GUIDFromBytes takes the 16 octets of an objectGUID value.
func GUIDFromBytes(b []byte) (GUID, error) {
	var g GUID
	if len(b) != len(g) {
		return g, fmt.Errorf("objectGUID of %d bytes: %w", len(b), errGUID)
	}
	copy(g[:], b)
	return g, nil
}

// ParseGUID reads the dashed text form, as String prints it.
func ParseGUID(text string) (GUID, error) {
	var g GUID
	flat := strings.ReplaceAll(text, "-", "")
	dashed := len(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-'
	if !dashed || len(flat) != 32 {
		return g, fmt.Errorf("objectGUID %q: %w", text, errGUID)
	}
	raw, err := hex.DecodeString(flat)
	if err != nil {
		return g, fmt.Errorf("objectGUID %q: %w", text, errGUID)
	}
	copy(g[:], raw)
	g.swap()
	return g, nil
}

func (g *GUID) swap() {
	g[0], g[1], g[2], g[3] = g[3], g[2], g[1], g[0]
	g[4], g[5] = g[5], g[4]
	g[6], g[7] = g[7], g[6]
}

// IsZero reports whether no GUID is known.
func (g GUID) IsZero() bool { return g == GUID{} }

// String is the dashed form that Windows tools print and that a
// `<GUID=...>` DN accepts.
func (g GUID) String() string {
	g.swap()
	h := hex.EncodeToString(g[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// MarshalText and UnmarshalText use the dashed form.
func (g GUID) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads the dashed form.
func (g *GUID) UnmarshalText(text []byte) error {
	parsed, err := ParseGUID(string(text))
	if err != nil {
		return err
	}
	*g = parsed
	return nil
}

// Account says which AD account a change is about. GUID is the key; the rest
// is what its entry said when the change was made, for people to read. A zero
// GUID means that the entry could not be read then and DN is the only handle.
type Account struct {
	Domain string `json:"domain"` // DNS name of the registered domain, lower case
	GUID   GUID   `json:"guid"`
	DN     string `json:"dn"`
	SAM    string `json:"sam,omitempty"` // sAMAccountName
}

// ChangeKind is what was changed, and by which form of request.
type ChangeKind string

const (
	PasswordChange ChangeKind = "password-change" // delete old + add new: the old password was proved
	PasswordReset  ChangeKind = "password-reset"  // replace: by someone with the right to reset
	PasswordAdd    ChangeKind = "password-add"    // set while the account was created

	// UserChange and GroupChange say that a user or a group, or what it depends
	// on, is not what it was. They carry no more than that: what it is now is
	// read when the change is applied.
	UserChange  ChangeKind = "user-change"
	GroupChange ChangeKind = "group-change"
)

// IsState reports whether a change is about the state of a user or a group,
// and so has no password.
func (k ChangeKind) IsState() bool { return k == UserChange || k == GroupChange }

// Change is one recorded intent of the change log. Its secret, if it has one,
// is kept apart and sealed; it is never a field here.
type Change struct {
	Seq       Seq        `json:"seq"`
	At        time.Time  `json:"at"`
	Kind      ChangeKind `json:"kind"`
	Direction Direction  `json:"direction"`
	Account   Account    `json:"account"`
	// CloudID is JumpCloud's id of the user or group that a change of direction
	// sync is about; it is the key of such a change, since the AD account may
	// not exist yet.
	CloudID string `json:"cloudId,omitempty"`
	// PasswordDate is JumpCloud's password_date: of a password that a bind to
	// JumpCloud's LDAP proved that password's own, and of one that is being
	// changed there the last that was read before, the evidence that settles an
	// unknown outcome. It is what PwdLastSet is on the other side.
	PasswordDate time.Time `json:"passwordDate,omitzero"`
	Actor        string    `json:"actor,omitempty"` // bind name of the session that asked, as it gave it
	// DC is the domain controller that the request went to, as it is named in
	// the configuration: another may not have the change yet.
	DC string `json:"dc,omitempty"`
	// PwdLastSet is the account's pwdLastSet (100 ns since 1601 UTC) read just
	// before the request was sent: the evidence that settles an unknown outcome.
	PwdLastSet int64 `json:"pwdLastSet,omitempty"`
	// MustChange marks a password that AD was told to expire at once
	// (pwdLastSet 0 in the same request): a temporary one.
	MustChange bool `json:"mustChange,omitempty"`
}

// Proven is JumpCloud's password_date of the password itself; zero: not known.
func (c Change) Proven() time.Time {
	if c.Kind != PasswordBind {
		return time.Time{}
	}
	return c.PasswordDate
}

// Status is where a change stands.
type Status string

const (
	StatusUnsettled  Status = "unsettled"  // intent recorded; the DC's answer is not known (yet)
	StatusPending    Status = "pending"    // accepted by its side, to be applied to the other
	StatusApplied    Status = "applied"    // written to the other side
	StatusRefused    Status = "refused"    // refused by its own side: there is nothing to apply
	StatusSuperseded Status = "superseded" // a newer accepted change of the same account made it pointless
	StatusDead       Status = "dead"       // dead letter: the other side refused it for good; a person must act
	StatusDiscarded  Status = "discarded"  // a person decided not to apply it
	StatusHeld       Status = "held"       // a safety threshold holds it until a person approves or rejects it
)

// Final reports whether no further work is done for a change by itself.
func (s Status) Final() bool {
	return s != StatusUnsettled && s != StatusPending
}

// Outcome is how a side answered an intent.
type Outcome string

const (
	OutcomeAccepted Outcome = "accepted"
	OutcomeRefused  Outcome = "refused"
	// OutcomeUnknown: sent, and no answer was seen. It must be settled by
	// evidence, never by sending the request again.
	OutcomeUnknown Outcome = "unknown"
)

// Entry is a change with its present state.
type Entry struct {
	Change
	Status   Status    `json:"status"`
	Attempts int       `json:"attempts,omitempty"`
	NextTry  time.Time `json:"nextTry,omitzero"` // not before this
	Reason   string    `json:"reason,omitempty"` // last error or refusal, in the peer's words; never a secret
	Since    time.Time `json:"since,omitzero"`   // when Status last changed
	// Evidence is what was read from the other side just before a write was
	// sent; present while a sent write has no recorded result.
	Evidence string `json:"evidence,omitempty"`
	// Landed is when the other side was known to have a password that was
	// superseded or discarded while it was being written; zero: it was not.
	Landed time.Time `json:"landed,omitzero"`
	// Probes counts the binds made to learn whether an unsettled change took
	// place. Each may cost the account one try of its lockout budget.
	Probes int `json:"probes,omitempty"`
	// Class is what the guard that holds the change, or held it, counts.
	Class string `json:"class,omitempty"`
	// Approved: a person let the change pass, so that no guard holds it again.
	Approved bool `json:"approved,omitempty"`
}

// Link pairs an AD account with a JumpCloud user, for good: after the first
// join neither names nor mail addresses are looked at again.
type Link struct {
	Domain      string    `json:"domain"`
	GUID        GUID      `json:"guid"`
	JumpCloudID string    `json:"jumpcloudId"`
	Username    string    `json:"username"` // JumpCloud username at the join, for people
	At          time.Time `json:"at"`
	// PasswordSeq is the change whose password both sides last had: the one
	// that was written to JumpCloud or, of direction sync, to AD.
	PasswordSeq Seq       `json:"passwordSeq,omitempty"`
	PasswordAt  time.Time `json:"passwordAt,omitzero"`
	// PasswordSet is the pwdLastSet that AD gave that password, and so tells
	// whether a password of AD is newer; zero: not known.
	PasswordSet int64 `json:"passwordSet,omitempty"`
	// PasswordDate is the password_date that JumpCloud gave it; zero: not known.
	PasswordDate time.Time `json:"passwordDate,omitzero"`

	// How the two were paired, for people; empty: it was not recorded.
	How string `json:"how,omitempty"`

	// What a person ordered for this user, over what the use case asks for.

	// PasswordAuthority says who may set the password: AD, JumpCloud, or
	// empty: whom the use case says.
	PasswordAuthority Side `json:"passwordAuthority,omitempty"`
	// Delegation says who checks it when the user signs in at JumpCloud: AD,
	// JumpCloud, or empty: whom the use case says.
	Delegation Side `json:"delegation,omitempty"`

	// What the import did and may undo, and what it must not do twice.

	// SuspendedByUs: the import suspended the user, so it may lift that.
	SuspendedByUs bool `json:"suspendedByUs,omitempty"`
	// SudoGiven: the import made the user an administrator of its devices.
	SudoGiven bool `json:"sudoGiven,omitempty"`
	// ExpiredFor is the accountExpires for which the password was expired.
	ExpiredFor time.Time `json:"expiredFor,omitzero"`

	// What sync did in AD and may undo.

	// DisabledByUs: sync disabled the AD account, so it may enable it.
	DisabledByUs bool `json:"disabledByUs,omitempty"`
	// MadeInAD: sync created the AD account.
	MadeInAD bool `json:"madeInAD,omitempty"`
	// BySync: sync made the pair, so the account is replicated without being in
	// the scope group, and only leaves by being unbound, deleted or moved out.
	BySync bool `json:"bySync,omitempty"`
	// WasBound: the JumpCloud user was seen bound to the AD object, so that one
	// who is not bound now was unbound by somebody.
	WasBound bool `json:"wasBound,omitempty"`
	// Agreed is what both sides had when they were last the same, by the names
	// of JumpCloud's fields (rule S5): of two values that differ, the one that
	// is not this one is the edit. Nil: they were never compared.
	Agreed map[string]string `json:"agreed,omitempty"`
}
