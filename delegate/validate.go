package delegate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// Validator answers validations. It is safe for concurrent use.
type Validator struct {
	cfg     Config
	clients *limiter
	users   *limiter
	seen    familiar
	lessons lessons

	ctx     context.Context // of what goes on after an answer
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu          sync.Mutex
	directories map[*Domain]*directory // guarded by mu
	closed      bool                   // guarded by mu
}

// New checks cfg; nothing is dialled yet.
func New(cfg Config) (*Validator, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	v := &Validator{
		cfg: cfg, directories: make(map[*Domain]*directory),
		clients: newLimiter(cfg.Throttle.PerClient, cfg.Throttle.PerClientEvery, cfg.Now),
		users:   newLimiter(cfg.Throttle.PerUser, cfg.Throttle.PerUserEvery, cfg.Now),
		seen:    newFamiliar(cfg.Now),
		lessons: newLessons(cfg.Now),
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	return v, nil
}

// Close ends what still goes on and drops the connections.
func (v *Validator) Close() {
	v.mu.Lock()
	v.closed = true
	all := v.directories
	v.directories = nil
	v.mu.Unlock()
	v.cancel()
	v.running.Wait()
	for _, d := range all {
		d.close()
	}
}

// background runs do, unless the Validator is closed; it must end with ctx.
func (v *Validator) background(do func(ctx context.Context)) (started bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.running.Go(func() { do(v.ctx) })
	return true
}

// domains gives the directories of the registered domains, and drops those of
// registrations that are gone.
func (v *Validator) domains() []*directory {
	now := v.cfg.Domains()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	list := make([]*directory, 0, len(now))
	for _, d := range now {
		if v.directories[d] == nil {
			v.directories[d] = newDirectory(d, v.cfg.Idle)
		}
		list = append(list, v.directories[d])
	}
	if len(v.directories) > len(now) {
		for d, dir := range v.directories {
			if !contains(now, d) {
				delete(v.directories, d)
				dir.close()
			}
		}
	}
	return list
}

func contains(list []*Domain, d *Domain) bool {
	for _, other := range list {
		if other == d {
			return true
		}
	}
	return false
}

// Validate says whether password is the account's that username names: a
// sAMAccountName, DOMAIN\sAMAccountName, userPrincipalName, mail address, DN,
// JumpCloud username or DN in JumpCloud's LDAP. client is the address of whoever
// types it, for the throttle. The caller keeps password. It returns within
// Config.Timeout, and always with a verdict.
func (v *Validator) Validate(ctx context.Context, username string, password secret.Bytes, client string) Verdict {
	start := v.cfg.Now()
	verdict := v.validate(ctx, username, password, client)
	v.cfg.Metrics.validated(verdict, v.cfg.Now().Sub(start))
	v.even(ctx, start, !verdict.PasswordCorrect)
	return v.outward(verdict)
}

// even makes answers to wrong passwords take the same time, as far as they are
// not late for another reason.
func (v *Validator) even(ctx context.Context, start time.Time, wrong bool) {
	least := v.cfg.RefusalTime
	for _, d := range v.domains() {
		if d.UseCase != identity.UseAD {
			least = max(least, v.cfg.CloudRefusalTime)
		}
	}
	rest := least - v.cfg.Now().Sub(start)
	if !wrong || rest <= 0 {
		return
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// outward is what a caller is told.
func (v *Validator) outward(verdict Verdict) Verdict {
	if !verdict.PasswordCorrect && !v.cfg.TellUnknown {
		verdict.Reason, verdict.Hint = told(verdict.Reason), ""
	}
	if !verdict.PasswordCorrect {
		if verdict.Reason == BadCredentials || verdict.Reason == Throttled {
			verdict.Authority = "" // nobody has none
		}
		verdict.User, verdict.PasswordExpiresAt = nil, time.Time{}
	}
	return verdict
}

// told is the reason for whoever does not know the password.
func told(reason Reason) Reason {
	if reason == NoSuchUser || reason == NoCloudLDAP {
		return BadCredentials
	}
	return reason
}

func (v *Validator) validate(ctx context.Context, username string, password secret.Bytes, client string) Verdict {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	s, verdict := v.signIn(ctx, username, password, client, true)
	if verdict.Verdict == Accepted && s.domain != nil {
		v.cfg.Log.Info("sign-in accepted", "account", s.account.GUID.String(), "authority", string(verdict.Authority), "caller", callerOf(ctx))
	} else {
		v.cfg.Log.Info("sign-in not accepted", "account", s.account.GUID.String(), "authority", string(verdict.Authority), "verdict", string(verdict.Verdict), "reason", string(verdict.Reason), "caller", callerOf(ctx))
	}
	return verdict
}

// signIn proves a password; without teach it is the old one of a change. The
// throttle counts it if the password was wrong.
func (v *Validator) signIn(ctx context.Context, username string, password secret.Bytes, client string, teach bool) (s subject, verdict Verdict) {
	n, ok := parseName(username)
	if !ok || password.IsEmpty() || len(password.Expose()) > MaxPassword {
		// Nothing that an account can have: no directory is asked, whoever it is.
		return s, Verdict{Verdict: Refused, Reason: BadCredentials}
	}
	clientAt := clientKey(client)
	wait, ok, err := v.clients.take(ctx, clientAt)
	if !ok {
		return s, v.held(wait, err)
	}
	defer func() { v.clients.done(clientAt, counts(verdict)) }()
	s, err = v.find(ctx, n)
	s.repeated = new(bool)
	user := s.key(n)
	userAt := v.seen.key(user, clientAt)
	wait, ok, busy := v.users.take(ctx, userAt)
	if !ok {
		v.lookedFor(ctx, s, n) // as for an unknown name
		return s, v.held(wait, busy)
	}
	defer func() {
		// Who repeats a wrong password, such as a phone with an old one, finds out nothing.
		v.users.done(userAt, counts(verdict) && !*s.repeated)
		if verdict.PasswordCorrect {
			v.seen.came(user, clientAt)
		}
	}()
	if err != nil && !errors.Is(err, errCloudFacts) {
		v.undecided("look up a user", err)
		return s, Verdict{Verdict: Undecided, Reason: Unavailable}
	}
	verdict = v.decide(ctx, s, password, client, teach)
	return s, v.alike(ctx, s, n, err, password, client, teach, verdict)
}

// counts reports whether a verdict is one that the throttle counts.
func counts(v Verdict) bool { return v.Verdict == Refused && !v.PasswordCorrect || v.counted }

// held is the verdict about who the throttle does not let go ahead.
func (v *Validator) held(wait time.Duration, err error) Verdict {
	if err != nil {
		v.undecided("wait for its turn", err)
		return Verdict{Verdict: Undecided, Reason: Unavailable}
	}
	return throttled(wait)
}

func throttled(wait time.Duration) Verdict {
	return Verdict{Verdict: Undecided, Reason: Throttled, RetryAfter: wait}
}

func (v *Validator) undecided(what string, err error) {
	v.cfg.Log.Warn("a sign-in is undecided: "+what, "err", err)
}

// asks says which side is asked about a password; neither: why.
func (s subject) asks(teach bool) (Authority, Reason) {
	switch d := Decide(s.facts); {
	case !teach && d.Reason != NoSuchUser && s.entry != nil && ChangedAt(s.facts) == ByAD:
		// Where a change is made the old password is proved, whoever checks
		// sign-ins.
		return ByAD, ""
	case d.Authority == ByJumpCloud && s.domain.CloudLDAP == nil:
		return "", NoCloudLDAP
	default:
		return d.Authority, d.Reason
	}
}

// decide asks the authority.
func (v *Validator) decide(ctx context.Context, s subject, password secret.Bytes, client string, teach bool) Verdict {
	at, reason := s.asks(teach)
	switch {
	case reason == NoSuchUser:
		// The same is done as for anybody, and whatever the controller takes is
		// nobody's: also the right password of an account that nobody has
		// decided about.
		if verdict := v.askAD(ctx, s, password, client, false); verdict.Verdict == Undecided {
			return verdict
		}
		return Verdict{Verdict: Refused, Reason: NoSuchUser}
	case at == ByJumpCloud:
		return v.askCloud(ctx, s, password, client, teach)
	case at == ByAD:
		return v.askAD(ctx, s, password, client, teach)
	}
	// Nobody decides. Only whoever knows the password in AD may learn that the
	// account exists.
	verdict := v.askAD(ctx, s, password, client, false)
	hint := ""
	if reason == NoCloudLDAP {
		hint = noCloudLDAP(s.domain.Name)
		v.cfg.Log.Warn("a sign-in cannot be accepted: " + hint)
	}
	switch {
	case verdict.PasswordCorrect && s.entry != nil:
		return Verdict{Verdict: Refused, Reason: reason, PasswordCorrect: true, User: s.user(), Hint: hint}
	case verdict.Verdict == Accepted: // of nobody
		return Verdict{Verdict: Refused, Reason: BadCredentials}
	case verdict.Verdict == Refused && verdict.Reason == BadCredentials && reason == NoCloudLDAP:
		verdict.Reason, verdict.Hint = reason, hint
	}
	return verdict
}

// wrongPassword is what AD says of one (ERROR_LOGON_FAILURE).
const wrongPassword = "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v4563\x00"

// askAD asks a controller, if the lockout guard lets it be asked.
func (v *Validator) askAD(ctx context.Context, s subject, password secret.Bytes, client string, mayTeach bool) Verdict {
	if s.domain == nil {
		return Verdict{Verdict: Refused, Reason: NoSuchUser}
	}
	if err := v.tellPolicies(ctx, s); err != nil {
		v.undecided("read the domain's lockout policy", err)
		return Verdict{Verdict: Undecided, Reason: Unavailable, Authority: ByAD}
	}
	settle, held, answer, err := v.cfg.Guard.Admit(ctx, s.account, client, password)
	switch {
	case err != nil:
		v.undecided("wait for other binds of the account", err)
		return Verdict{Verdict: Undecided, Reason: Unavailable, Authority: ByAD}
	case settle == nil && held == "repeated":
		*s.repeated = true
		return fromAD(answer)
	case settle == nil:
		return Verdict{Verdict: Undecided, Reason: Throttled, Authority: ByAD, RetryAfter: guardedFor}
	}
	wanted := mayTeach && v.cfg.Record != nil && s.domain.Capture && v.lessons.wanted(s.account.GUID)
	res, conn, err := s.domain.try(ctx, s.account.DN, password, wanted)
	if err != nil {
		settle(nil, errors.Is(err, errUnanswered))
		v.undecided("bind", err)
		return Verdict{Verdict: Undecided, Reason: Unavailable, Authority: ByAD}
	}
	if s.entry == nil && res.Code == ldapwire.ResultInvalidCredentials {
		// A controller may say that there is no such user, which the guard does
		// not count. It must hold back who is nobody as it does anybody.
		res.Diagnostic = []byte(wrongPassword)
	}
	settle(&res, true)
	verdict := fromAD(res)
	verdict.User, verdict.PasswordExpiresAt = s.user(), s.expires
	if conn != nil {
		if wanted {
			v.learn(s, conn, password)
		} else {
			conn.close()
		}
	}
	return verdict
}

// subject is who a name is.
type subject struct {
	domain  *directory
	account identity.Account // of AD; of nobody, a DN that does not exist
	entry   *entry
	cloud   *CloudUser
	facts   Facts
	expires time.Time // of AD's password
	name    string    // of nobody; see name.keyIn
	asked   bool      // JumpCloud was asked who the name is
	// repeated: the lockout guard remembers that the password is wrong.
	repeated *bool
}

// key is the subject's for the throttle, so that all names of an account are
// one.
func (s subject) key(n name) string {
	switch {
	case !s.account.GUID.IsZero():
		return s.account.GUID.String()
	case s.cloud != nil:
		return s.cloud.ID
	}
	// The latter where AD does not answer. Of a length that strangers do not choose.
	sum := sha256.Sum256([]byte(cmp.Or(s.name, strings.ToLower(n.text))))
	return string(sum[:16])
}

func (s subject) user() *User {
	u := &User{}
	if s.domain != nil {
		u.Domain = s.domain.Name
	}
	if c := s.cloud; c != nil {
		u.Username, u.Mail, u.DisplayName, u.JumpCloudID = c.Username, c.Mail, c.DisplayName, c.ID
	}
	if e := s.entry; e != nil {
		u.Username, u.UPN, u.DN, u.GUID = e.get("samaccountname"), e.get("userprincipalname"), e.dn, s.account.GUID
		for field, value := range map[*string]string{&u.Mail: e.get("mail"), &u.DisplayName: e.get("displayname")} {
			if value != "" {
				*field = value
			}
		}
		if u.DisplayName == "" {
			u.DisplayName = strings.TrimSpace(e.get("givenname") + " " + e.get("sn"))
		}
	}
	return u
}

// nobodyDN is an entry that does not exist: below one that cannot have any.
func nobodyDN(key, base string) string {
	sum := sha256.Sum256([]byte(key))
	return "CN=" + hex.EncodeToString(sum[:16]) + ",CN=nobody," + base
}
