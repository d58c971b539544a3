package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/settings"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// Reader reads a domain's users and groups; an [ad.Reader] does.
type Reader interface {
	Snapshot(ctx context.Context) (ad.Snapshot, error)
	Changes(ctx context.Context, since ad.Cursor) (ad.Batch, error)
	Missing(ctx context.Context, known []identity.GUID) ([]identity.GUID, error)
	Wait(ctx context.Context, since ad.Cursor) error
}

// Accounts reads single objects; an [ad.Client] does.
type Accounts interface {
	User(ctx context.Context, account identity.Account) (identity.User, error)
	Exists(ctx context.Context, dn, filter string) (string, identity.GUID, error)
	Deleted(ctx context.Context, base string, guid identity.GUID) (deleted, known bool, err error)
}

// Writer writes to AD; an [ad.Writer] does.
type Writer interface {
	CreateUser(ctx context.Context, n ad.NewUser) (identity.User, error)
	UpdateUser(ctx context.Context, guid identity.GUID, attrs []ad.Attribute) (identity.User, error)
	Disable(ctx context.Context, guid identity.GUID) (identity.User, error)
	Enable(ctx context.Context, guid identity.GUID) (identity.User, error)
	CreateGroup(ctx context.Context, name string) (identity.Group, error)
	RenameGroup(ctx context.Context, guid identity.GUID, name string) (identity.Group, error)
	AddMembers(ctx context.Context, group identity.GUID, members []identity.GUID) error
	RemoveMembers(ctx context.Context, group identity.GUID, members []identity.GUID) error
}

// Config describes a Reconciler.
type Config struct {
	Store     *store.Store
	Domain    store.Domain // as it is registered
	Reader    Reader
	AD        Accounts
	JumpCloud *jumpcloud.Client
	// Writer is needed for direction sync; nil: there is none, whatever the use
	// case says.
	Writer Writer
	// NoImport: there is no direction import, whatever the use case says.
	NoImport bool
	// SyncInterval is how often JumpCloud is looked at where sync runs, and
	// Directory Insights does not tell of changes; zero: 5 s. Insights is asked
	// every second, or as often as this if that is more often.
	SyncInterval time.Duration
	// InsightsURL is where Directory Insights tells what has changed at
	// JumpCloud; empty: everything is listed all the time.
	InsightsURL string
	// Limits are the guards' thresholds; nil: plan.DefaultLimits.
	Limits plan.Limits
	// Workers is how many users are made side by side; zero means 4.
	Workers int
	// Interval is how often everything is planned anew when nothing changes,
	// for what comes with time, such as the end of an account; zero: 90 s.
	Interval time.Duration
	// FullEvery is how often everything is read and compared; zero: 6 h.
	FullEvery time.Duration
	// NoNotification: AD is asked for changes every Interval only, and not when
	// it says that there are some.
	NoNotification bool
	Observe        Observer // nil: nobody
	Log            *slog.Logger
	Now            func() time.Time
}

// Observer counts what is done; the engine's metrics do.
type Observer interface {
	// Action is told of an action, and what came of it: done, deferred, unknown
	// or refused.
	Action(d identity.Direction, action, outcome string)
	// Applied is told how long after it was recorded a change was applied.
	Applied(d identity.Direction, after time.Duration)
}

// unobserved is nobody.
type unobserved struct{}

func (unobserved) Action(identity.Direction, string, string) {}
func (unobserved) Applied(identity.Direction, time.Duration) {}

// Reconciler replicates one domain. It belongs to one goroutine, except where a
// method says otherwise.
type Reconciler struct {
	cfg            Config
	settings       plan.Settings
	imports, syncs bool
	cloud          cloud

	dir    *directory // AD as it was last seen; nil: not read yet
	full   bool       // everything is to be compared
	fullAt time.Time  // when that was done last, by whichever process; zero: never
	// missedAt is when deletions were last looked for that nobody tells.
	missedAt time.Time
	planned  time.Time
	begun    bool  // once planned
	said     *said // the verdicts that are stored; nil: not read yet

	orders struct {
		asked   chan struct{} // holds one
		mu      sync.Mutex
		waiting []order // guarded by mu
		ended   bool    // guarded by mu
	}
	telling sync.Mutex
	status  map[identity.Direction]*Status // guarded by telling

	mu   sync.Mutex       // between the workers of an Apply
	done []taken          // what was taken from people within the last hour; guarded by mu
	away map[string]*away // by side that does not answer; guarded by mu
}

// New checks cfg.
func New(cfg Config) (*Reconciler, error) {
	if cfg.Store == nil || cfg.Reader == nil || cfg.AD == nil || cfg.JumpCloud == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("reconcile config: store, reader, accounts, jumpcloud, log and clock are required")
	}
	cfg.Domain.Name = strings.ToLower(cfg.Domain.Name)
	known := settings.Of(cfg.Domain)
	if err := known.Actions.Check(); err != nil {
		return nil, fmt.Errorf("reconcile config: %w", err)
	}
	switch {
	case known.Domain == "" || known.ADID == "":
		return nil, errors.New("reconcile config: the domain is not registered with JumpCloud")
	}
	i := &Reconciler{settings: known, imports: known.Use.Imports() && !cfg.NoImport, syncs: known.Use.Syncs() && cfg.Writer != nil}
	if !i.imports && !i.syncs {
		return nil, fmt.Errorf("reconcile config: use case %q: nothing is replicated here", known.Use)
	}
	if cfg.Limits == nil {
		cfg.Limits = plan.DefaultLimits()
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 4
	}
	if cfg.Interval <= 0 {
		cfg.Interval = 90 * time.Second
	}
	if cfg.FullEvery <= 0 {
		cfg.FullEvery = 6 * time.Hour
	}
	if cfg.Observe == nil {
		cfg.Observe = unobserved{}
	}
	if cfg.SyncInterval <= 0 {
		cfg.SyncInterval = 5 * time.Second
	}
	i.cfg, i.away = cfg, make(map[string]*away)
	i.status = i.newStatus()
	i.orders.asked = make(chan struct{}, 1)
	if err := i.recall(); err != nil {
		return nil, err
	}
	var err error
	if i.fullAt, err = LastFull(cfg.Store, i.settings.Domain); err != nil {
		return nil, err
	}
	return i, nil
}

// directions are those that run.
func (i *Reconciler) directions() (all []identity.Direction) {
	if i.imports {
		all = append(all, identity.Import)
	}
	if i.syncs {
		all = append(all, identity.Sync)
	}
	return all
}

// Resync makes the next Cycle read and compare everything.
func (i *Reconciler) Resync() { i.full = true }

// Plan reads both sides completely and says what would be done, in both
// directions. It writes nothing.
func (i *Reconciler) Plan(ctx context.Context) (plan.Plan, error) {
	old, err := i.stored()
	if err != nil {
		return plan.Plan{}, err
	}
	dir, _, err := i.snapshot(ctx, old)
	if err != nil {
		return plan.Plan{}, err
	}
	w, err := i.world(dir)
	if err != nil {
		return plan.Plan{}, err
	}
	// Another watcher than that of a Reconciler that works: its first look is
	// complete.
	fresh := &Reconciler{cfg: i.cfg, settings: i.settings, imports: i.imports, syncs: i.syncs}
	fresh.status = fresh.newStatus()
	if err := fresh.lookAtCloud(ctx, w, true); err != nil {
		return plan.Plan{}, err
	}
	fresh.see(&w)
	return i.planAll(w)
}

// planAll plans the directions that run, one after the other.
func (i *Reconciler) planAll(w plan.World) (plan.Plan, error) {
	switch {
	case !i.syncs:
		return plan.Import(w)
	case !i.imports:
		return plan.Sync(w)
	}
	return plan.Both(w)
}

// planOne plans one direction.
func planOne(d identity.Direction, w plan.World) (plan.Plan, error) {
	if d == identity.Sync {
		return plan.Sync(w)
	}
	return plan.Import(w)
}

// see puts JumpCloud's side into a world.
func (i *Reconciler) see(w *plan.World) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w.Cloud, w.Rules, w.Settings.Delegated = *i.cloud.state, i.cloud.rules, i.settings.Delegated
}

// Cycle reads what has changed on both sides and records what follows from it.
// An error means that nothing is known to have been recorded; the next Cycle
// begins at the same point.
func (i *Reconciler) Cycle(ctx context.Context) error {
	if err := i.cycle(ctx); err != nil {
		return fmt.Errorf("%s of %s: %w", i.what(), i.settings.Domain, err)
	}
	return nil
}

// what names the directions that run, to people.
func (i *Reconciler) what() string {
	switch {
	case !i.syncs:
		return "import"
	case !i.imports:
		return "sync"
	}
	return "import and sync"
}

func (i *Reconciler) cycle(ctx context.Context) error {
	now := i.cfg.Now()
	if i.dir == nil {
		var err error
		if i.dir, err = i.stored(); err != nil {
			return err
		}
	}
	i.phase(readingAD)
	next, full, err := i.look(ctx)
	if err != nil {
		return err
	}
	changed := next.since(i.dir)
	still := !full && changed.empty() && len(i.cloud.news) == 0 && now.Sub(i.planned) < i.cfg.Interval
	if still && (!i.lookDue(full) || i.quietCloud(ctx, full)) {
		return i.follows(ctx, next) // without the world, which costs as much as there are users
	}
	w, err := i.world(next)
	if err != nil {
		return err
	}
	switch err := i.lookAtCloud(ctx, w, full); {
	case err != nil && (full || i.cloud.state == nil):
		return err
	case err != nil: // what AD says is recorded all the same
		i.cloud.failed = err
		i.cfg.Log.Warn("look at JumpCloud", "domain", i.settings.Domain, "err", err)
	}
	if still && len(i.cloud.news) == 0 {
		return i.follows(ctx, next)
	}
	i.see(&w)
	if err := i.compare(ctx, w, next, changed, full); err != nil {
		return err
	}
	i.planned = now
	clear(i.cloud.news)
	if !i.begun {
		if err := i.giveUp(ctx); err != nil {
			return err
		}
		i.begun = true
	}
	if full {
		if err := i.compared(ctx, now); err != nil {
			return err
		}
		if i.settings.Use == identity.UseAD {
			return i.agree(ctx, w)
		}
	}
	return nil
}

// follows records how far the reader has come, of which nothing follows.
func (i *Reconciler) follows(ctx context.Context, next *directory) error {
	if string(next.cursor) == string(i.dir.cursor) {
		return nil
	}
	return i.record(ctx, next, store.ImportBatch{})
}

// giveUp ends what is open of directions that the use case does not have any
// more: nobody would look at it again. Passwords are the engine's.
func (i *Reconciler) giveUp(ctx context.Context) error {
	const page = 500
	open := []identity.Status{identity.StatusPending, identity.StatusHeld, identity.StatusDead}
	for after := identity.Seq(0); ; {
		entries, err := i.cfg.Store.List(store.ListOptions{Domain: i.settings.Domain, Status: open, After: after, Limit: page})
		if err != nil {
			return err
		}
		for _, e := range entries {
			after = e.Seq
			if has := e.Direction == identity.Sync && i.settings.Use.Syncs() || e.Direction == identity.Import && i.settings.Use.Imports(); has || !e.Kind.IsState() {
				continue
			}
			err := i.cfg.Store.Discard(ctx, e.Seq, fmt.Sprintf("use case %s has no direction %s", i.settings.Use, e.Direction))
			if err != nil && !errors.Is(err, store.ErrState) {
				return err
			}
		}
		if len(entries) < page {
			return nil
		}
	}
}

// compare plans, and records what follows.
func (i *Reconciler) compare(ctx context.Context, w plan.World, next *directory, changed difference, full bool) error {
	batch := store.ImportBatch{Users: changed.users, Groups: changed.groups, Gone: changed.gone}
	touched := touched{changed.touched(), i.cloud.news}
	plans := make(map[identity.Direction]plan.Plan)
	for _, d := range i.directions() {
		p, err := planOne(d, w)
		if err != nil {
			return err
		}
		plans[d] = p
		changes, held, err := i.changes(ctx, d, p, w, touched, full)
		if err != nil {
			return err
		}
		if d == identity.Sync {
			batch.Sync.Changes, batch.Sync.Held = changes, held
		} else {
			batch.Changes, batch.Held = changes, held
		}
	}
	if err := i.judge(plans, w, &batch); err != nil {
		return err
	}
	err := i.record(ctx, next, batch)
	i.judged(batch, err)
	if err != nil {
		return err
	}
	for _, p := range plans {
		if err := i.agreeAll(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// cursorName is where the store keeps how far the reader has come.
func (i *Reconciler) cursorName() string { return "import/" + i.settings.Domain }

func (i *Reconciler) record(ctx context.Context, next *directory, batch store.ImportBatch) error {
	batch.CursorName, batch.Cursor = i.cursorName(), next.cursor
	if err := i.cfg.Store.AppendImport(ctx, i.settings.Domain, batch); err != nil {
		i.dir = nil // what was recorded of it, the store tells
		return err
	}
	if n, m := len(batch.Changes)+len(batch.Held), len(batch.Sync.Changes)+len(batch.Sync.Held); n+m > 0 {
		i.cfg.Log.Info("changes recorded", "domain", i.settings.Domain, "import", n, "sync", m, "held", len(batch.Held)+len(batch.Sync.Held))
	}
	i.dir = next
	return nil
}
