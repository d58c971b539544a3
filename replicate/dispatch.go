package replicate

import (
	"context"
	"time"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// dispatcher gives pending changes to workers, one of an account at a time.
// It belongs to one goroutine; the workers report to done.
type dispatcher struct {
	engine *Engine
	queue  queue
	// followed is the last record of the log that was looked at.
	followed identity.Seq
	// paused are the changes of directions that a person has paused; they come
	// back with the end of the pause.
	paused map[lane][]identity.Seq
	// busy are the accounts that are worked on, with their other changes.
	busy map[account][]identity.Seq
	done chan result // has room for every worker

	outages outages
	// waiting are the accounts whose password waits for the import to make the
	// user, and the users whose waits for sync to make the account (see
	// waiterOf); hurry are the changes that do not wait for their time.
	waiting map[account]identity.Seq
	hurry   map[identity.Seq]bool
}

// lane is a direction of a domain.
type lane struct {
	domain    string
	direction identity.Direction
}

func laneOf(e identity.Entry) lane { return lane{e.Account.Domain, e.Direction} }

// account is what changes are kept in order by.
type account struct {
	domain string
	guid   identity.GUID
	dn     string // without GUID only; of a JumpCloud user its id
}

type result struct {
	entry identity.Entry
	key   account   // by which it was busy
	retry time.Time // zero: not by itself
	err   error     // of the store

	// away is the client whose JumpCloud is away; nil: it is not.
	away *jumpcloud.Client
	// awaits: the import is to make the account's user, or sync the user's
	// account. gone is the user that
	// the account is linked to and that is not there any more; empty: none.
	awaits bool
	gone   string
}

func newDispatcher(e *Engine) *dispatcher {
	return &dispatcher{engine: e, busy: make(map[account][]identity.Seq), paused: make(map[lane][]identity.Seq), done: make(chan result, e.cfg.Workers),
		outages: outages{of: make(map[string]*outage), back: make(chan string)}, waiting: make(map[account]identity.Seq), hurry: make(map[identity.Seq]bool)}
}

const page = 256 // changes held in memory at once

// load reads the numbers of all that is pending.
func (d *dispatcher) load() error {
	st := d.engine.cfg.Store
	stats, err := st.Stats()
	if err != nil {
		return err
	}
	for _, seqs := range d.paused { // what is still open is parked again
		for _, seq := range seqs {
			d.queue.put(seq, time.Time{})
		}
	}
	clear(d.paused)
	d.followed = stats.LastSeq // before the list is read: nothing falls between
	for _, direction := range []identity.Direction{identity.Import, identity.Sync} {
		if err := d.loadPending(direction); err != nil {
			return err
		}
	}
	return nil
}

func (d *dispatcher) loadPending(direction identity.Direction) error {
	for after := identity.Seq(0); ; {
		entries, err := d.engine.cfg.Store.Pending(direction, page, after)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			after = entry.Seq
			if !d.mine(entry) || d.outages.holds(entry) || d.hurry[entry.Seq] {
				continue
			}
			d.queue.put(entry.Seq, entry.NextTry)
			if err := d.waits(entry); err != nil {
				return err
			}
		}
		if len(entries) < page {
			return nil
		}
	}
}

// mine: changes of state, and of directions that do not run here, are another's
// to apply.
func (d *dispatcher) mine(e identity.Entry) bool {
	absent := d.engine.cfg.NoImport
	if e.Direction == identity.Sync {
		absent = d.engine.cfg.NoSync
	}
	return !absent && !e.Kind.IsState()
}

// follow reads what was written to the log since, and nothing else. It looks
// at records and not at changes, because changes become pending in another
// order than they are numbered in: one whose DC is slow after many others.
func (d *dispatcher) follow() error {
	const limit = 1000
	for {
		records, err := d.engine.cfg.Store.Records(d.followed, limit)
		if err != nil {
			return err
		}
		for _, r := range records {
			d.followed = r.Seq
			if r.Type == store.RecordAccepted || r.Type == store.RecordRetried {
				d.queue.put(r.Change, time.Time{})
			}
			if err := d.imported(r); err != nil {
				return err
			}
		}
		if len(records) < limit {
			return nil
		}
	}
}

// start gives workers what is due, as far as there are any.
func (d *dispatcher) start(ctx context.Context) error {
	d.resume()
	for len(d.busy) < d.engine.cfg.Workers {
		now := d.engine.cfg.Now()
		seq, ok := d.queue.pop(now)
		if !ok {
			return nil
		}
		entry, err := d.engine.cfg.Store.Entry(seq)
		if err != nil {
			d.queue.put(seq, now.Add(storePause))
			return err
		}
		d.begin(ctx, entry, now)
	}
	return nil
}

func (d *dispatcher) begin(ctx context.Context, entry identity.Entry, now time.Time) {
	if !d.mine(entry) {
		return
	}
	do := d.engine.apply
	if entry.Direction == identity.Sync {
		do = d.engine.applySync
	}
	switch hurry := d.hurry[entry.Seq]; {
	case entry.Status == identity.StatusDead && plan.LacksUser(entry.Reason):
		do = d.engine.revive
	case entry.Status != identity.StatusPending:
		delete(d.hurry, entry.Seq)
		return
	case entry.NextTry.After(now) && !hurry:
		d.queue.put(entry.Seq, entry.NextTry)
		return
	}
	if in := laneOf(entry); d.engine.isPaused(in) {
		d.paused[in] = append(d.paused[in], entry.Seq)
		return
	}
	if d.outages.hold(entry) {
		return
	}
	key := d.pairOf(entry)
	if waiting, busy := d.busy[key]; busy {
		d.busy[key] = append(waiting, entry.Seq)
		return
	}
	delete(d.hurry, entry.Seq)
	d.busy[key] = nil
	go func() { // ends by being received from done, which run and drain wait for
		r := do(ctx, entry)
		r.key = key
		d.done <- r
	}()
}

func (e *Engine) isPaused(in lane) bool {
	_, paused, err := e.cfg.Store.Paused(in.domain, in.direction)
	return paused || err != nil // nothing is applied that may be paused
}

// resume queues what waited for the end of a pause, which is a commit and so
// wakes run.
func (d *dispatcher) resume() {
	for in, seqs := range d.paused {
		if d.engine.isPaused(in) {
			continue
		}
		delete(d.paused, in)
		for _, seq := range seqs {
			d.queue.put(seq, time.Time{})
		}
	}
}

func accountOf(entry identity.Entry) account {
	key := account{domain: entry.Account.Domain, guid: entry.Account.GUID}
	if key.guid.IsZero() {
		key.dn = entry.Account.DN + entry.CloudID
	}
	return key
}

// pairOf is accountOf, also for a password of a JumpCloud user whose account was
// not known yet when it was recorded.
func (d *dispatcher) pairOf(entry identity.Entry) account {
	if entry.Account.GUID.IsZero() && entry.CloudID != "" {
		link, err := d.engine.cfg.Store.LinkByJumpCloudID(entry.CloudID)
		if err == nil && link.Domain == entry.Account.Domain {
			entry.Account.GUID = link.GUID
		}
	}
	return accountOf(entry)
}

// finish takes a worker's result.
func (d *dispatcher) finish(r result) error {
	key := r.key
	for _, seq := range d.busy[key] {
		d.queue.put(seq, time.Time{})
	}
	delete(d.busy, key)
	switch {
	case r.err != nil:
		d.queue.put(r.entry.Seq, d.engine.cfg.Now().Add(storePause))
	case r.away != nil && d.outages.begin(r.entry, r.away):
	case !r.retry.IsZero():
		d.queue.put(r.entry.Seq, r.retry)
	}
	if r.err == nil && r.awaits {
		return d.await(r)
	}
	return r.err
}

// storePause is the wait after an error of the store.
const storePause = 5 * time.Second

// drain works until nothing is due and nobody works, or the store fails.
func (d *dispatcher) drain(ctx context.Context) (err error) {
	for {
		if err == nil && ctx.Err() == nil {
			err = d.start(ctx)
		}
		if len(d.busy) == 0 {
			return err
		}
		if failed := d.finish(<-d.done); err == nil {
			err = failed
		}
	}
}

// run works until ctx ends, and until the workers have ended.
func (d *dispatcher) run(ctx context.Context) {
	woken, stop := d.engine.cfg.Store.Watch()
	defer stop()
	d.outages.ctx = ctx
	defer d.outages.waiters.Wait()
	defer func() {
		for len(d.busy) > 0 {
			_ = d.finish(<-d.done) // an error of the store is met again at the next start
		}
	}()
	var quiet limiter
	var loaded, failed time.Time // when everything was read, and the store failed
	for ctx.Err() == nil {
		now := d.engine.cfg.Now()
		err := d.turn(ctx, &loaded, now)
		if err == nil {
			err = d.wait(ctx, woken, loaded)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			failed = d.engine.cfg.Now()
			quiet.failed(d.engine.cfg.Log, "applying pending changes", err)
			pauseFor(ctx, storePause)
		case d.engine.cfg.Now().Sub(failed) > 2*storePause:
			quiet.recovered(d.engine.cfg.Log, "applying pending changes")
		}
	}
}

// turn brings the queue up to date and starts what is due. Everything is read
// once a minute: a net under what following the log might miss.
func (d *dispatcher) turn(ctx context.Context, loaded *time.Time, now time.Time) error {
	d.release(d.outages.ended(d.engine.cfg.Peers))
	if loaded.IsZero() || now.Sub(*loaded) >= longestWait {
		if err := d.load(); err != nil {
			return err
		}
		if loaded.IsZero() {
			if err := d.loadDead(); err != nil {
				return err
			}
		}
		*loaded = now
		d.engine.doubts.prune(now)
	} else if err := d.follow(); err != nil {
		return err
	}
	return d.start(ctx)
}

// wait returns when there may be something to do; the error is the store's,
// met by a worker.
func (d *dispatcher) wait(ctx context.Context, woken <-chan struct{}, loaded time.Time) error {
	until := loaded.Add(longestWait)
	if due, ok := d.queue.next(); ok && len(d.busy) < d.engine.cfg.Workers {
		until = earlier(until, due)
	}
	timer := time.NewTimer(max(0, min(longestWait, until.Sub(d.engine.cfg.Now()))))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-woken:
	case <-timer.C:
	case r := <-d.done:
		return d.finish(r)
	case domain := <-d.outages.back:
		d.release(d.outages.end(domain))
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
