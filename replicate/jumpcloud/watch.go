package jumpcloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// WatchConfig describes a Watcher.
type WatchConfig struct {
	Client *Client
	ADID   string // the AD object whose domain is watched
	// Insights tells which objects were changed; nil: everything is listed all
	// the time.
	Insights *Insights
	// Interval is how often there is a Refresh; zero: 5 s.
	Interval time.Duration
	// PollEvery is how often there is one, for its events, while Insights works;
	// zero: 1 s. It is at most Interval.
	PollEvery time.Duration
	// ListEvery is how often everything is listed while Insights works; zero:
	// 15 min.
	ListEvery time.Duration
	// Share of Config.RequestsPerSecond that is used on average; zero: 0.5.
	Share float64
	// Wanted says of which groups the members are read, besides those that are
	// bound to the AD object; nil: of all. It is called by Refresh.
	Wanted func(identity.Group) bool
	Log    *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
}

// Watcher keeps what JumpCloud has of one domain: all users and user groups of
// the organisation, the members of groups, and what is bound to the domain's AD
// object. It is safe for concurrent use, but one Refresh runs at a time.
//
// JumpCloud says of nothing when it was changed. So everything is listed, over
// and over, and compared; where Directory Insights is there, its events name
// what is to be read, and the lists are a safety net. Events are hints only:
// what is in the state was read from the object itself.
//
// A Refresh sends at most Share x RequestsPerSecond x Interval requests: 25 by
// default. The first one is not bounded, and reads everything. Lists that need
// more go on with the next Refresh, so how old the state can be without
// Insights grows with the organisation. A list of n rows takes (n-1)/99+1
// requests, rounded down: each page begins with the last row of the one before.
// At 5 requests a second that makes, where all users are bound to the AD object
// themselves and the members of all groups are wanted:
//
//	users    groups            requests    everything is read in
//	100      10 of 20          16          5 s (each Refresh)
//	1,000    50 of 50          74          15 s
//	10,000   200 of 100        608         about 2 min
//	100,000  500 of 400        4,529       about 15 min
//
// New users are looked for with every Refresh even then. With Insights there is
// a Refresh every PollEvery, and an edit is read with the next one, for one
// request an object; a group's members are listed as a whole. What was not used
// of the share is kept for up to Interval, so that many edits at once are read
// at once. The events of the last five minutes take one request for a thousand;
// they are asked for less often than every PollEvery where that would take more
// than half of the share: with n requests every 2n/(Share x RequestsPerSecond)
// seconds. When they cannot be read, Insights is asked again after Interval.
//
// Nothing is removed because it was not in a list. A user or group that was
// not listed is asked for by its id, and gone when JumpCloud answers 404. Edges
// (members, what is bound) have no id to ask for: they are gone when they are
// missing in two complete lists, one after the other. A list that contradicts
// itself, or whose end was not seen, removes nothing and is an error.
type Watcher struct {
	cfg    WatchConfig
	client *Client // makes each request once, and counts
	wake   chan struct{}

	turn sync.Mutex // held by Refresh; guards what follows
	used int        // requests sent in this Refresh
	// allowance is what may yet be sent, and its time.
	allowance float64
	allowedAt time.Time
	quiet     time.Time // until then JumpCloud is left alone
	next      time.Time // when the next Refresh is due
	pollAt    time.Time // before that Insights is not asked again
	told      time.Time // of the last poll; zero: it told nothing
	lanes     lanes

	mu     sync.Mutex // guards what follows; never held during a request
	draft  draft
	marks  marks
	urgent urgent
}

// NewWatcher checks cfg. Nothing is read before the first Refresh.
func NewWatcher(cfg WatchConfig) (*Watcher, error) {
	if cfg.Client == nil {
		return nil, errors.New("jumpcloud watcher: a client is needed")
	}
	if _, err := idPath("", cfg.ADID, ""); err != nil {
		return nil, fmt.Errorf("jumpcloud watcher: AD object: %q is not a JumpCloud id", cfg.ADID)
	}
	if cfg.Interval < 0 || cfg.PollEvery < 0 || cfg.ListEvery < 0 || cfg.Share < 0 || cfg.Share > 1 {
		return nil, errors.New("jumpcloud watcher: intervals must not be negative, and the share must be from 0 to 1")
	}
	cfg.Interval, cfg.ListEvery = orDefault(cfg.Interval, 5*time.Second), orDefault(cfg.ListEvery, 15*time.Minute)
	cfg.PollEvery = min(cfg.Interval, orDefault(cfg.PollEvery, time.Second))
	cfg.Share = orDefault(cfg.Share, 0.5)
	if cfg.Wanted == nil {
		cfg.Wanted = func(identity.Group) bool { return true }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := &Watcher{cfg: cfg, wake: make(chan struct{}, 1), draft: newDraft()}
	w.client = cfg.Client.counted(&w.used)
	w.lanes = newLanes(w)
	return w, nil
}

func orDefault[T comparable](given, standard T) T {
	var zero T
	if given == zero {
		return standard
	}
	return given
}

// counted returns the client for a caller that counts the attempts it makes,
// each of which is made once. It belongs to one goroutine.
func (c *Client) counted(n *int) *Client {
	once := c.Once(c.cfg.Timeout)
	observe := once.cfg.Observe
	once.cfg.Observe = func(method string, code int, took time.Duration) {
		*n++
		if observe != nil {
			observe(method, code, took)
		}
	}
	return once
}

// Delta is what a Refresh found to be different. Ids are sorted.
type Delta struct {
	Users      []string // new or changed
	GoneUsers  []string // JumpCloud has them no more
	Missing    []string // users that a list did not have, and that were not asked for yet
	Groups     []string // new, or changed in name, description or members
	GoneGroups []string
	// Bound are the users and groups that are bound to the AD object, directly
	// or (users) through a group, and were not, or the other way round.
	Bound []string
	Rules bool // the translation rules
	// Complete: the state is all that JumpCloud had at AsOf, and whatever is
	// known to have changed since was read. Otherwise something is left to read.
	Complete bool
	// AsOf is when the oldest list in the state was begun, or, where Insights
	// works, when its events were asked for; zero before everything was read.
	AsOf time.Time
}

// Empty reports whether nothing changed.
func (d *Delta) Empty() bool {
	return len(d.Users)+len(d.GoneUsers)+len(d.Groups)+len(d.GoneGroups)+len(d.Bound) == 0 && !d.Rules
}

// Refresh reads what may have changed, within the budget. The delta holds also
// with an error: it is what was learnt before and beside it.
func (w *Watcher) Refresh(ctx context.Context) (Delta, error) {
	w.turn.Lock()
	defer w.turn.Unlock()
	now := w.cfg.Now()
	w.next = now.Add(w.cfg.Interval)
	var err error
	if now.Before(w.quiet) {
		err = fmt.Errorf("refresh from JumpCloud: it asked to be left alone until %s", w.quiet.Format(time.RFC3339))
	} else if err = w.refresh(ctx, now); err != nil {
		if wait, ok := RetryAfter(err); ok {
			w.quiet = w.cfg.Now().Add(wait)
		}
		err = fmt.Errorf("refresh from JumpCloud: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delta := w.draft.take()
	delta.AsOf = w.lanes.asOf()
	delta.Complete = err == nil && !delta.AsOf.IsZero() && w.lanes.idle() && w.urgent.empty()
	return delta, err
}

func (w *Watcher) refresh(ctx context.Context, now time.Time) error {
	w.allow(now)
	if err := w.poll(ctx, now); err != nil {
		w.cfg.Log.Warn("Directory Insights cannot be read now, everything is listed instead", "err", err)
	}
	if !w.told.IsZero() {
		w.next = later(now.Add(w.cfg.PollEvery), earlier(w.pollAt, w.next))
	}
	w.lanes.begin(now, w.told)
	first := w.lanes.asOf().IsZero()
	defer func() {
		if w.allowance -= float64(w.used); first { // what it took is not paid back
			w.allowance = 0
		}
	}()
	return w.lanes.run(ctx, func() bool {
		return w.lanes.asOf().IsZero() || float64(w.used) < w.allowance
	})
}

// allow adds to the allowance what the time since the last Refresh gives, up
// to that of one interval.
func (w *Watcher) allow(now time.Time) {
	perSecond := w.cfg.Share * w.cfg.Client.cfg.RequestsPerSecond
	most := max(1, perSecond*w.cfg.Interval.Seconds())
	if w.allowedAt.IsZero() {
		w.allowance = most
	} else {
		w.allowance += perSecond * max(0, now.Sub(w.allowedAt)).Seconds()
	}
	w.allowance = min(w.allowance, most)
	w.allowedAt, w.used = now, 0
}

// State gives what JumpCloud has; nil before it was read once. It is never
// changed afterwards: a later Refresh copies what it changes.
func (w *Watcher) State() *State {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draft.whole {
		return w.draft.share()
	}
	return nil
}

// Due is when the next Refresh is due.
func (w *Watcher) Due() time.Time {
	w.turn.Lock()
	defer w.turn.Unlock()
	return w.next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Wait waits until the next Refresh is due or Wake is called.
func (w *Watcher) Wait(ctx context.Context) error {
	wait := w.Due().Sub(w.cfg.Now())
	timer := time.NewTimer(max(0, min(wait, w.cfg.Interval)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.wake:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Wake ends a Wait, or the next one.
func (w *Watcher) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Resync makes the next Refresh list everything.
func (w *Watcher) Resync() {
	w.mu.Lock()
	w.urgent.all = true
	w.mu.Unlock()
	w.Wake()
}

// Saw puts a user into the state as JumpCloud answered a request about it, such
// as a write of ours. The events of that write do not make Refresh read the
// user at once, only once in the next minutes, together with others.
func (w *Watcher) Saw(u User) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks.saw(u.ID, w.cfg.Now())
	w.draft.user(&u, w.cfg.ADID)
}

// Touch makes the next Refresh read users by their ids, besides what else it
// reads.
func (w *Watcher) Touch(userIDs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range userIDs {
		w.urgent.add(toRead{kindUser, id})
	}
}

// TouchGroups is Touch for groups and their members.
func (w *Watcher) TouchGroups(ids ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		w.urgent.add(toRead{kindGroup, id})
	}
}

// TouchBound makes the next Refresh read whether users and groups are bound to
// the AD object.
func (w *Watcher) TouchBound(userIDs, groupIDs []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range userIDs {
		w.urgent.add(toRead{kindBoundUser, id})
	}
	for _, id := range groupIDs {
		w.urgent.add(toRead{kindBoundGroup, id})
	}
}

// Cursor is where the next poll of Insights begins; nil: there is none. It is
// to be kept across restarts, and given to [NewInsights].
func (w *Watcher) Cursor() []byte {
	w.turn.Lock()
	defer w.turn.Unlock()
	if w.cfg.Insights == nil {
		return nil
	}
	return w.cfg.Insights.cursor()
}

// State is what JumpCloud has of a domain; nobody changes it. All maps have
// JumpCloud's ids as keys.
type State struct {
	Users  map[string]*identity.User
	Groups map[string]identity.Group
	// Members are the groups whose MemberIDs are known; those of others are nil.
	Members map[string]bool
	// BoundUsers and BoundGroups are bound to the AD object directly.
	BoundUsers, BoundGroups map[string]bool
	// Scope are the users that are bound, directly or as members of a group.
	Scope map[string]bool
	// Rules are the translation rules. They are nil and RulesKnown is false
	// until they were read, or where JumpCloud has none for AD.
	Rules      []identity.TranslationRule
	RulesKnown bool
}

// sortedKeys of a set.
func sortedKeys(set map[string]bool) []string {
	if len(set) == 0 {
		return nil
	}
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
