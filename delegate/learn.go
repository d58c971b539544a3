package delegate

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// lessons remembers for which accounts a sign-in need not be looked at again.
type lessons struct {
	now  func() time.Time
	busy chan struct{} // one for each lesson at a time

	mu    sync.Mutex
	until map[identity.GUID]time.Time // guarded by mu
}

const (
	lessonsAtOnce = 8
	lessonTime    = time.Minute
	maxLessons    = 65_536
	settledFor    = time.Hour        // JumpCloud has it; the store says so again for little
	lookAgain     = 10 * time.Minute // it may be wanted by then
	// claimed keeps the sign-ins of an account that come at once from all
	// being looked at.
	claimed = 2 * time.Minute
	// graceMargin is added to OldPasswordPeriod, as the gateway does.
	graceMargin = 5 * time.Minute
)

func newLessons(now func() time.Time) lessons {
	return lessons{now: now, busy: make(chan struct{}, lessonsAtOnce), until: make(map[identity.GUID]time.Time)}
}

func (l *lessons) wanted(guid identity.GUID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.now().Before(l.until[guid])
}

func (l *lessons) leave(guid identity.GUID, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.until) >= maxLessons {
		clear(l.until) // rare; each costs one more look
	}
	l.until[guid] = l.now().Add(pause)
}

// forget makes the next sign-in of an account count: its password was changed.
func (l *lessons) forget(guid identity.GUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, guid)
}

// learn hands the password of an accepted sign-in over, so that JumpCloud has
// it (rule D3), and closes conn, which is bound as the account. The answer to
// the sign-in does not wait for it.
func (v *Validator) learn(s subject, conn *ldapConn, password secret.Bytes) {
	guid := s.account.GUID
	select {
	case v.lessons.busy <- struct{}{}:
	default:
		conn.close() // the next sign-in is another chance
		return
	}
	v.lessons.leave(guid, claimed)
	own := password.Clone()
	started := v.background(func(ctx context.Context) {
		defer func() { <-v.lessons.busy }()
		defer own.Wipe()
		defer conn.close()
		ctx, cancel := context.WithTimeout(ctx, lessonTime)
		defer cancel()
		pause, outcome, err := v.record(ctx, s, conn, own)
		v.lessons.leave(guid, pause)
		if err != nil {
			v.cfg.Log.Warn("password of a sign-in not recorded; the next one is another chance", "account", guid.String(), "err", err)
			return
		}
		v.cfg.Log.Debug("password of a sign-in", "account", guid.String(), "outcome", outcome)
	})
	if !started {
		<-v.lessons.busy
		own.Wipe()
		conn.close()
	}
}

// record asks the controller that accepted the bind, as the account, whether
// that proves what the password is now, as the gateway does (rule G6).
func (v *Validator) record(ctx context.Context, s subject, conn *ldapConn, password secret.Bytes) (pause time.Duration, outcome string, err error) {
	root, err := conn.search(ctx, ldapwire.SearchParams{Scope: ldapwire.ScopeBase, Attributes: []string{"currentTime"}})
	if err != nil {
		return claimed, "", err
	}
	self, err := conn.search(ctx, ldapwire.SearchParams{BaseDN: s.account.DN, Scope: ldapwire.ScopeBase, Attributes: []string{"objectGUID", "pwdLastSet", "adminCount", "userAccountControl"}})
	if err != nil {
		return claimed, "", err
	}
	if len(root) != 1 || len(self) != 1 || self[0].get("objectguid") != s.entry.get("objectguid") {
		return claimed, "", errors.New("the controller does not show the account to itself")
	}
	now, err := time.Parse("20060102150405.9Z", root[0].get("currenttime"))
	if err != nil {
		return lookAgain, "unproven: the controller does not say its time", nil
	}
	set, _ := strconv.ParseInt(self[0].get("pwdlastset"), 10, 64)
	if why, again := proves(set, self[0].get("admincount"), self[0].get("useraccountcontrol"), now, v.cfg.OldPasswordPeriod+graceMargin); why != "" {
		return again, "unproven: " + why, nil
	}
	result, err := v.cfg.Record.RecordBind(ctx, identity.Change{Kind: identity.PasswordBind, Direction: identity.Import,
		Actor: "sign-in of " + s.account.SAM, Account: s.account, PwdLastSet: set, DC: conn.dc}, password)
	switch {
	case err != nil:
		return claimed, "", err
	case result == identity.BindRecorded || result == identity.BindInSync:
		return settledFor, string(result), nil
	}
	return lookAgain, string(result), nil
}

// smartCardRequired is a bit of userAccountControl (MS-ADTS 2.2.16).
const smartCardRequired = 0x40000

// proves decides whether an accepted bind proves what the password is now: AD
// accepts the one before it for a while after a change. why is empty when it
// does; else again says when to look again.
func proves(pwdLastSet int64, adminCount, control string, now time.Time, grace time.Duration) (why string, again time.Duration) {
	bits, _ := strconv.ParseInt(control, 10, 64)
	switch {
	case adminCount == "1":
		return "the account is privileged", lookAgain
	case bits&smartCardRequired != 0:
		return "the account must use a smart card", lookAgain
	case pwdLastSet <= 0:
		return "the password is temporary", lookAgain
	}
	if age := now.Sub(identity.FileTime(pwdLastSet)); age <= grace {
		return "the password before this one may still be accepted", min(grace, grace-age) + time.Minute
	}
	return "", 0
}

// learnCloud hands a password that JumpCloud accepted over, for AD (rule S4).
func (v *Validator) learnCloud(s subject, password secret.Bytes) {
	if v.cfg.Learn == nil || !s.reachesAD() || !v.lessons.wanted(s.account.GUID) {
		return
	}
	select {
	case v.lessons.busy <- struct{}{}:
	default:
		return
	}
	v.lessons.leave(s.account.GUID, claimed)
	own := password.Clone()
	started := v.background(func(ctx context.Context) {
		defer func() { <-v.lessons.busy }()
		defer own.Wipe()
		ctx, cancel := context.WithTimeout(ctx, lessonTime)
		defer cancel()
		outcome, err := v.cfg.Learn.LearnCloud(ctx, s.domain.Name, s.cloudDN(), own)
		if err != nil {
			v.cfg.Log.Warn("password that JumpCloud accepted not recorded; the next sign-in is another chance", "account", s.account.GUID.String(), "err", err)
			return
		}
		if outcome != identity.BindEarly { // else the next sign-in after the claim is another chance
			v.lessons.leave(s.account.GUID, lookAgain)
		}
	})
	if !started {
		<-v.lessons.busy
		own.Wipe()
	}
}
