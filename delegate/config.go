package delegate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// Bounds of what is looked at, in bytes.
const (
	MaxName     = 320  // of a mail address
	MaxDN       = 2048 // of a distinguished name
	MaxPassword = 1024
)

// Dialer gives new connections to a directory; *dc.Set implements it. The
// string names the controller.
type Dialer interface {
	Dial(ctx context.Context) (*tls.Conn, string, error)
}

// WriteDialer is a Dialer that also knows which controllers can be written to;
// *dc.Set implements it.
type WriteDialer interface {
	Dialer
	DialWritable(ctx context.Context) (*tls.Conn, string, error)
}

// Domain is a registered domain as the Validator needs it. It keeps its pointer
// until its registration changes.
type Domain struct {
	Name, NetBIOS, BaseDN string
	UseCase               identity.UseCase
	Capture               bool // password-sync is capture
	DCs                   WriteDialer
	// Account is the bind name of the service account that looks entries up and
	// carries changes; Password opens its password, which is wiped after use.
	Account  string
	Password func() (secret.Bytes, error)
	// CloudLDAP is JumpCloud's LDAP, and CloudBase the DN of its users; nil:
	// nobody decides about users whose sign-ins JumpCloud checks (NoCloudLDAP).
	CloudLDAP Dialer
	CloudBase string
}

// CloudUser is a user as JumpCloud shows it.
type CloudUser struct {
	ID, Username, Mail, DisplayName string
	GUID                            identity.GUID // of the linked account; zero: none
	Domain                          string        // of the link
	Suspended, Locked, Expired      bool
	HasPassword                     bool
	PasswordByAD, DelegatedToAD     bool
	PasswordExpires                 time.Time
	PasswordSet                     int64 // pwdLastSet of the password that JumpCloud was given; 0: not known
}

// ErrNotFound is what a Cloud's answer wraps when there is no such user.
var ErrNotFound = errors.New("no such user at JumpCloud")

// Cloud knows JumpCloud's side. It is asked at every sign-in, so it remembers
// its answers for a while.
type Cloud interface {
	// Anew gives a user as JumpCloud shows it now, whatever is remembered.
	Anew(ctx context.Context, domain, id string) (CloudUser, error)
	// Linked gives the user that an account is linked with.
	Linked(ctx context.Context, account identity.Account) (CloudUser, error)
	// Named gives the user with this username or mail address in the
	// organisation of a domain.
	Named(ctx context.Context, domain, name string) (CloudUser, error)
	// Delegation is the domain's delegation state.
	Delegation(ctx context.Context, domain string) (Delegation, error)
	// Policy is the organisation's password policy.
	Policy(ctx context.Context, domain string) (CloudPolicy, error)
}

// Guard is the lockout guard (rule G7), shared with the gateway.
type Guard interface {
	// Admit decides about a password for an account. When settle is not nil the
	// controller may be asked, and settle must be called with its answer; nil
	// means that none came, and sent whether it may have seen the password.
	// Otherwise held says why it must not be asked: "repeated" with the answer
	// that it gave before, "throttled" or "address_limited".
	Admit(ctx context.Context, account identity.Account, client string, password secret.Bytes) (settle func(answer *ldapwire.Result, sent bool), held string, answer ldapwire.Result, err error)
	// Turn waits until no other change of the account's password is on its way,
	// the gateway's included; done lets the next one go ahead.
	Turn(ctx context.Context, account identity.Account) (done func(), err error)
	// SetPolicy says what locks the accounts of a domain: threshold refusals (0:
	// none do), counted anew after window without one.
	SetPolicy(domain string, threshold int, window time.Duration)
	// SetAccountPolicy says the same of one account; below 0: its domain's holds.
	SetAccountPolicy(account identity.Account, threshold int, window time.Duration)
	// PasswordChanged says what the account's password is now.
	PasswordChanged(account identity.Account, password secret.Bytes)
}

// Capturer records changes durably before and after the controller has them
// (rule G5).
type Capturer interface {
	AppendIntent(ctx context.Context, change identity.Change, password secret.Bytes) (identity.Seq, error)
	Settle(ctx context.Context, seq identity.Seq, outcome identity.Outcome, reason string) error
}

// Recorder takes passwords that AD accepted at a sign-in, and stores those that
// JumpCloud lacks (rule D3). PwdLastSet of the change is that of the password.
type Recorder interface {
	RecordBind(ctx context.Context, change identity.Change, password secret.Bytes) (identity.BindOutcome, error)
}

// Learner takes passwords that JumpCloud's LDAP accepted for a DN there, for AD
// (rule S4). It decides whether the user's authorities allow that.
type Learner interface {
	LearnCloud(ctx context.Context, domain, bindDN string, password secret.Bytes) (identity.BindOutcome, error)
}

// Setter sets passwords at JumpCloud, for users whose password is JumpCloud's.
type Setter interface {
	// SetPassword sets a user's password, once. No error: JumpCloud has it. One
	// that is a *CloudRefusal: its policy refuses it. One that wraps
	// ErrCloudUnknown: nobody knows. Any other: it was not set.
	SetPassword(ctx context.Context, domain, cloudID string, password secret.Bytes) error
}

// CloudRefusal is why JumpCloud's policy refuses a password, in its words.
type CloudRefusal struct{ Words string }

func (r *CloudRefusal) Error() string { return "JumpCloud refuses the password: " + r.Words }

// ErrCloudUnknown: JumpCloud may have set the password, and did not answer.
var ErrCloudUnknown = errors.New("JumpCloud may have set the password, and its answer is missing")

// Backlog knows what AD accepted and JumpCloud does not have yet.
type Backlog interface {
	// PasswordPending reports whether a password of the account is on its way to
	// JumpCloud, or came there just now.
	PasswordPending(ctx context.Context, account identity.Account) (bool, error)
}

// Preflight is what is done about a new password that the other side would
// refuse (rule P3): JumpCloud, or AD for users whose password is JumpCloud's.
type Preflight string

const (
	PreflightOff     Preflight = "off"     // it is not looked at
	PreflightWarn    Preflight = "warn"    // told, and changed all the same
	PreflightEnforce Preflight = "enforce" // refused before any side has it
)

// Throttle bounds refusals; see the fields. Zero values are the defaults.
type Throttle struct {
	// PerClient is how many sign-ins of one client address (an IPv6 /64) may be
	// refused at once, and PerClientEvery how long it takes until one more may.
	PerClient      int
	PerClientEvery time.Duration
	// PerUser and PerUserEvery are the same for one account, in each network that
	// its right password came from and everywhere else, or for a name that is
	// nobody's.
	PerUser      int
	PerUserEvery time.Duration
}

// Config describes a Validator. Domains, Cloud, Guard, Metrics and Log are
// required.
type Config struct {
	Domains func() []*Domain // the first is the default
	Cloud   Cloud
	Guard   Guard
	Capture Capturer // nil: passwords cannot be changed
	Record  Recorder // nil: sign-ins teach nothing
	Learn   Learner  // nil: the same, of JumpCloud's
	Set     Setter   // nil: passwords cannot be changed at JumpCloud
	Backlog Backlog  // nil: passwords reach JumpCloud at once
	Metrics *Metrics
	Log     *slog.Logger

	Preflight Preflight // empty: PreflightEnforce
	Throttle  Throttle
	// TellUnknown tells callers no_such_user apart from bad_credentials.
	TellUnknown bool
	// Timeout bounds a whole validation, ChangeTimeout the controller's answer
	// to a change.
	Timeout, ChangeTimeout time.Duration
	// OldPasswordPeriod is the domains' OldPasswordAllowedPeriod, or longer.
	OldPasswordPeriod time.Duration
	// RefusalTime is how long the answer to a wrong password, or to a name that
	// is nobody's, takes at least: what was done for it differs, and who asks
	// must not see that.
	RefusalTime time.Duration
	// CloudRefusalTime is the same while a domain is registered whose users may
	// be JumpCloud's, and so for what JumpCloud takes longer to say.
	CloudRefusalTime time.Duration
	// Idle is how many connections of each kind are kept for each domain.
	Idle int

	Now func() time.Time // nil: time.Now
}

// Defaults of Config.
const (
	DefaultTimeout           = 10 * time.Second
	DefaultChangeTimeout     = 2 * time.Minute // as long as the gateway waits
	DefaultOldPasswordPeriod = time.Hour
	DefaultRefusalTime       = 300 * time.Millisecond
	DefaultCloudRefusalTime  = 1200 * time.Millisecond
	DefaultIdle              = 8
	DefaultPerClient         = 100
	DefaultPerClientEvery    = 600 * time.Millisecond
	DefaultPerUser           = 10
	DefaultPerUserEvery      = time.Minute
)

func (c Config) withDefaults() (Config, error) {
	for name, missing := range map[string]bool{"Domains": c.Domains == nil, "Cloud": c.Cloud == nil, "Guard": c.Guard == nil, "Metrics": c.Metrics == nil, "Log": c.Log == nil} {
		if missing {
			return c, fmt.Errorf("delegate config: %s is required", name)
		}
	}
	setDefault(&c.Preflight, PreflightEnforce)
	setDefault(&c.Timeout, DefaultTimeout)
	setDefault(&c.ChangeTimeout, DefaultChangeTimeout)
	setDefault(&c.OldPasswordPeriod, DefaultOldPasswordPeriod)
	setDefault(&c.RefusalTime, DefaultRefusalTime)
	setDefault(&c.CloudRefusalTime, DefaultCloudRefusalTime)
	setDefault(&c.Idle, DefaultIdle)
	c.Throttle = c.Throttle.withDefaults()
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func (t Throttle) withDefaults() Throttle {
	setDefault(&t.PerClient, DefaultPerClient)
	setDefault(&t.PerClientEvery, DefaultPerClientEvery)
	setDefault(&t.PerUser, DefaultPerUser)
	setDefault(&t.PerUserEvery, DefaultPerUserEvery)
	return t
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
