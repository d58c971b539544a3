package replicate

import (
	"context"
	"errors"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/settings"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// askImport gathers what decides whether the import gives an account a user,
// but for JumpCloud's side.
func (e *Engine) askImport(j *job) error {
	j.facts.Now = e.cfg.Now()
	domain, err := e.cfg.Store.Domain(j.entry.Account.Domain)
	if errors.Is(err, store.ErrNotFound) {
		return nil // no registration, no import
	}
	if err != nil {
		return err
	}
	j.facts.Settings = settings.Of(domain)
	seen, err := e.cfg.Store.MirrorUser(domain.Name, j.facts.AD.GUID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	j.facts.AD.AccountExpires = seen.AccountExpires // which only the import reads
	return err
}

// rivalDelay is how long a password waits for the import until all accounts
// are looked through for the reason: the import is faster where there is none.
const rivalDelay = time.Minute

// askRivals looks whether other accounts keep this one from getting a user.
func (e *Engine) askRivals(j *job) error {
	if j.facts.Doubt < rivalDelay || !plan.AwaitsUser(j.decision.Reason) {
		return nil
	}
	domain, err := e.cfg.Store.Domain(j.entry.Account.Domain)
	if err != nil {
		return err
	}
	seen, err := e.cfg.Store.Mirror(domain.Name)
	if err != nil {
		return err
	}
	mirrored, ok := seen.Users[j.facts.AD.GUID]
	if !ok {
		return nil // the import has not read the account yet
	}
	now := *j.facts.AD
	now.InRoot = mirrored.InRoot // which only the import reads
	seen.Users[now.GUID] = &now
	reasons := plan.Reasons(plan.World{Settings: j.facts.Settings, Now: e.cfg.Now(), Complete: true,
		Tree: plan.Tree{Users: seen.Users, Groups: seen.Groups, ScopeGroup: domain.ScopeGroupGUID}})
	j.facts.Rival = reasons[j.facts.AD.GUID]
	return nil
}

// waiterOf is whose password waits for the other side: an account, or of
// direction sync a JumpCloud user, whose account nobody knows yet.
func waiterOf(e identity.Entry) account {
	if e.Direction == identity.Sync {
		return account{domain: e.Account.Domain, dn: e.CloudID}
	}
	return accountOf(e)
}

// partner is the link that a waiting password needs.
func (d *dispatcher) partner(e identity.Entry) (identity.Link, error) {
	if e.Direction == identity.Sync {
		link, err := d.engine.cfg.Store.LinkByJumpCloudID(e.CloudID)
		if err == nil && link.Domain != e.Account.Domain {
			err = store.ErrNotFound // it is another domain's
		}
		return link, err
	}
	return d.engine.cfg.Store.LinkByGUID(e.Account.Domain, e.Account.GUID)
}

// await notes that a password waits for the other side's account or user. That
// may have been made between the decision and this note, so it is looked
// for once more.
func (d *dispatcher) await(r result) error {
	d.waiting[waiterOf(r.entry)] = r.entry.Seq
	link, err := d.partner(r.entry)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && link.JumpCloudID == r.gone:
		return nil
	case err != nil:
		return err
	}
	d.wake(waiterOf(r.entry))
	return nil
}

// waits notes a change that waited for the other side already, before a restart.
func (d *dispatcher) waits(entry identity.Entry) error {
	awaits := plan.AwaitsUser
	if entry.Direction == identity.Sync {
		awaits = plan.AwaitsAccount
	}
	if _, noted := d.waiting[waiterOf(entry)]; noted || !awaits(entry.Reason) {
		return nil
	}
	return d.await(result{entry: entry})
}

// wake makes the password that waits for an account's user, or a user's account,
// due.
func (d *dispatcher) wake(key account) {
	seq, ok := d.waiting[key]
	if !ok {
		return
	}
	delete(d.waiting, key)
	d.hurry[seq] = true
	d.queue.put(seq, time.Time{})
}

// imported is told of every record: one about a change of state means that the
// import has worked on an account, which may have a user now, or sync on a user,
// which may have an account.
func (d *dispatcher) imported(r store.Record) error {
	if r.Change == 0 || r.Type == store.RecordIntent || r.Type == store.RecordAccepted {
		return nil
	}
	st := d.engine.cfg.Store
	stats, err := st.Stats()
	if err != nil || len(d.waiting) == 0 && stats.Dead[identity.Import] == 0 {
		return err
	}
	entry, err := st.Entry(r.Change)
	if errors.Is(err, store.ErrNotFound) {
		return nil // retention removed it
	}
	if err != nil || entry.Kind != identity.UserChange {
		return err
	}
	if entry.Direction == identity.Sync {
		d.wake(waiterOf(entry))
		return nil
	}
	key := accountOf(entry)
	d.wake(key)
	if err := d.wakeLinked(key); err != nil {
		return err
	}
	if r.Type != store.RecordApplied || stats.Dead[identity.Import] == 0 {
		return nil
	}
	dead, err := st.List(store.ListOptions{Domain: key.domain, Account: &key.guid, Status: []identity.Status{identity.StatusDead}, Newest: true})
	d.putDead(dead)
	return err
}

// wakeLinked makes the password due that waits for an account which the import
// has linked.
func (d *dispatcher) wakeLinked(key account) error {
	if len(d.waiting) == 0 {
		return nil
	}
	link, err := d.engine.cfg.Store.LinkByGUID(key.domain, key.guid)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	d.wake(account{domain: key.domain, dn: link.JumpCloudID})
	return nil
}

// putDead makes those dead letters due that lack nothing but a user.
func (d *dispatcher) putDead(dead []identity.Entry) {
	for _, e := range dead {
		if e.Direction == identity.Import && !e.Kind.IsState() && plan.LacksUser(e.Reason) {
			d.queue.put(e.Seq, time.Time{})
		}
	}
}

// loadDead looks at all dead letters, once at the start: a user may have been
// made while nobody followed the log.
func (d *dispatcher) loadDead() error {
	const limit = 1000
	st := d.engine.cfg.Store
	stats, err := st.Stats()
	if err != nil || stats.Dead[identity.Import] == 0 {
		return err
	}
	for after := identity.Seq(0); ; {
		dead, err := st.List(store.ListOptions{Status: []identity.Status{identity.StatusDead}, After: after, Limit: limit})
		if err != nil {
			return err
		}
		d.putDead(dead)
		if len(dead) < limit {
			return nil
		}
		after = dead[len(dead)-1].Seq
	}
}

// revive makes a dead letter pending again whose account has a user by now,
// unless AD has another password since: nobody vouches for this one then.
func (e *Engine) revive(ctx context.Context, entry identity.Entry) (r result) {
	r.entry = entry
	if _, err := e.cfg.Store.LinkByGUID(entry.Account.Domain, entry.Account.GUID); err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			r.err = err
		}
		return r
	}
	log := e.cfg.Log.With("seq", entry.Seq, "account", entry.Account.GUID.String())
	user, err := e.readUser(ctx, entry.Account)
	switch {
	case errors.Is(err, ad.ErrNotFound):
		return r
	case err != nil && ctx.Err() == nil:
		log.Warn("dead letter not looked at: its account has a JumpCloud user now", "err", err)
		r.retry = e.cfg.Now().Add(pause(3))
		return r
	case err != nil:
		return r
	case identity.FileTime(user.PwdLastSet).After(entry.At.Add(e.cfg.AnswerLimit + setSkew)):
		log.Warn("dead letter not applied: its account has a JumpCloud user now, but another password in AD since", "password_set", identity.FileTime(user.PwdLastSet))
		return r
	}
	err = e.cfg.Store.Retry(ctx, entry.Seq)
	if errors.Is(err, store.ErrState) {
		return r // superseded or discarded meanwhile
	}
	log.Info("dead letter is applied after all: its account has a JumpCloud user now")
	r.err = err
	return r
}

func (e *Engine) readUser(ctx context.Context, account identity.Account) (identity.User, error) {
	peers, err := e.cfg.Peers(account.Domain)
	if err != nil {
		return identity.User{}, err
	}
	return peers.AD.User(ctx, account)
}
