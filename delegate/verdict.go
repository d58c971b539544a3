package delegate

import (
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// Outcome is the first word of a verdict.
type Outcome string

const (
	Accepted  Outcome = "accepted"
	Refused   Outcome = "refused"
	Undecided Outcome = "undecided" // neither is known
)

// Reason says why a password was not accepted.
type Reason string

const (
	BadCredentials    Reason = "bad_credentials"    // wrong, or, to the outside, no such user
	NoSuchUser        Reason = "no_such_user"       // told only with Config.TellUnknown
	Disabled          Reason = "disabled"           // in AD, or suspended in JumpCloud
	LockedOut         Reason = "locked_out"         // after too many wrong passwords
	Expired           Reason = "expired"            // the password is; it was right
	MustChange        Reason = "must_change"        // the password is temporary; it was right
	AccountExpired    Reason = "account_expired"    // accountExpires has passed
	NotPermittedNow   Reason = "not_permitted_now"  // outside the hours, or not from here
	DelegationPending Reason = "delegation_pending" // JumpCloud waits for an import agent; nobody may sign in meanwhile
	NotDelegated      Reason = "not_delegated"      // the password is AD's, and neither delegated to AD nor copied to JumpCloud
	PasswordPending   Reason = "password_pending"   // AD took it, and JumpCloud, whose answer counts, does not have it yet
	NoCloudLDAP       Reason = "no_jumpcloud_ldap"  // JumpCloud's answer would count, and the registration names no LDAP of JumpCloud, so nobody's does; see Verdict.Hint. Told to who knows AD's password, and with Config.TellUnknown
	Throttled         Reason = "throttled"          // too many tries; see Verdict.RetryAfter
	Unavailable       Reason = "dc_unavailable"     // the authority does not answer
)

// Authority is who decided.
type Authority string

const (
	ByAD        Authority = "ad"
	ByJumpCloud Authority = "jumpcloud"
)

// Verdict is the answer to one validation.
type Verdict struct {
	Verdict   Outcome   `json:"verdict"`
	Reason    Reason    `json:"reason,omitempty"` // empty when accepted
	Authority Authority `json:"authority,omitempty"`
	// PasswordCorrect: the authority took the password for right, whether or
	// not the account may sign in with it. With Expired and MustChange the
	// user can change it.
	PasswordCorrect bool `json:"passwordCorrect"`
	// User is given only when PasswordCorrect.
	User *User `json:"user,omitempty"`
	// PasswordExpiresAt is when the password expires; zero: never, or unknown.
	PasswordExpiresAt time.Time `json:"passwordExpiresAt,omitzero"`
	// Hint is what an administrator should do about it.
	Hint string `json:"hint,omitempty"`
	// RetryAfter is how long to wait when throttled, or when the password is
	// pending.
	RetryAfter time.Duration `json:"-"`

	counted bool // the throttle counts it, although nothing was refused
}

// User is who signed in.
type User struct {
	Username    string `json:"username"` // sAMAccountName, or JumpCloud's username
	UPN         string `json:"upn,omitempty"`
	Mail        string `json:"mail,omitempty"`
	DisplayName string `json:"displayName,omitempty"`
	Domain      string `json:"domain,omitempty"`
	DN          string `json:"dn,omitempty"`
	// GUID is AD's objectGUID; zero for a user of JumpCloud alone.
	GUID        identity.GUID `json:"guid,omitzero"`
	JumpCloudID string        `json:"jumpcloudId,omitempty"`
}

// ChangeOutcome is the first word of the answer to a change of password.
type ChangeOutcome string

const (
	Changed       ChangeOutcome = "changed"
	ChangeRefused ChangeOutcome = "refused"   // nothing was changed
	ChangeUnknown ChangeOutcome = "undecided" // see ChangeResult.Sent
)

// Reasons of a change that was refused, beside those of a validation.
const (
	PolicyRefused Reason = "policy"        // see ChangeResult.Violations
	NotSupported  Reason = "not_supported" // there is no way to change this user's password here
	NotRecorded   Reason = "not_recorded"  // the change could not be recorded, so it was not made
)

// ChangeResult is the answer to a change of password.
type ChangeResult struct {
	Outcome ChangeOutcome `json:"outcome"`
	Reason  Reason        `json:"reason,omitempty"` // empty when changed
	// Sent: the controller, or JumpCloud, may have got the change, and its answer is missing.
	// The old or the new password is right; the change log will find out.
	Sent bool `json:"sent,omitempty"`
	// Violations are the rules that the new password breaks.
	Violations []Violation `json:"violations,omitempty"`
	// Warnings are those of the other side, with policy preflight "warn": the
	// password was changed, and the other side will refuse it.
	Warnings   []Violation   `json:"warnings,omitempty"`
	Hint       string        `json:"hint,omitempty"` // as Verdict.Hint
	RetryAfter time.Duration `json:"-"`
}

// Rule names one rule of a password policy.
type Rule string

const (
	RuleMinLength  Rule = "min_length"  // Limit characters
	RuleComplexity Rule = "complexity"  // AD: three of five kinds of characters
	RuleNameInside Rule = "name_inside" // part of the user's name is in it
	RuleLowercase  Rule = "lowercase"   // JumpCloud
	RuleUppercase  Rule = "uppercase"   // JumpCloud
	RuleNumeric    Rule = "numeric"     // JumpCloud
	RuleSymbolic   Rule = "symbolic"    // JumpCloud
	RuleSequential Rule = "sequential"  // JumpCloud: sequences or repetitions
	RuleMinAge     Rule = "min_age"     // the present one was set less than Limit seconds ago
	RuleSame       Rule = "same"        // it is the old one
	RuleHistory    Rule = "history"     // one of the last Limit passwords, or another of the side's own rules
	RuleCharacters Rule = "characters"  // not UTF-8, or a NUL is in it
	RuleMaxLength  Rule = "max_length"  // Limit characters
)

// Violation is one rule that a password breaks.
type Violation struct {
	Side  identity.Side `json:"side"` // whose rule it is: ad or jumpcloud
	Rule  Rule          `json:"rule"`
	Limit int           `json:"limit,omitempty"` // see Rule
	Text  string        `json:"text"`            // for the user, in English
}

// PasswordStatus is how a user's password stands (rule P5).
type PasswordStatus string

const (
	StatusPending   PasswordStatus = "Pending"   // JumpCloud has none yet
	StatusActive    PasswordStatus = "Active"    //
	StatusExpired   PasswordStatus = "Expired"   //
	StatusLocked    PasswordStatus = "Locked"    //
	StatusDelegated PasswordStatus = "Delegated" // AD decides, see Decide
)

// PasswordInfo is what is known about a user's password.
type PasswordInfo struct {
	User      User           `json:"user"`
	Status    PasswordStatus `json:"status"`
	Authority Authority      `json:"authority,omitempty"` // who checks a sign-in; empty: nobody, see Reason
	Reason    Reason         `json:"reason,omitempty"`
	ChangedAt Authority      `json:"changedAt"` // where it is changed, see ChangedAt
	// Locked, Expired and MustChange are those of the authority, and may hold
	// together.
	Locked     bool `json:"locked"`
	Expired    bool `json:"expired"`
	MustChange bool `json:"mustChange"`
	Disabled   bool `json:"disabled"`
	// InSync: JumpCloud is known to have the password that AD has.
	InSync    bool      `json:"inSync"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	SetAt     time.Time `json:"setAt,omitzero"`
}
