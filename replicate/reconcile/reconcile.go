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
}

// Config describes an Reconciler.
type Config struct {
	Store     *store.Store
	Domain    store.Domain // as it is registered
	Reader    Reader
	AD        Accounts
	JumpCloud *jumpcloud.Client
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

// Reconciler imports one domain. It belongs to one goroutine, except where a
// method says otherwise.
type Reconciler struct {
	cfg      Config
	settings plan.Settings

	dir    *directory // AD as it was last seen; nil: not read yet
	full   bool       // everything is to be compared
	fullAt time.Time  // when that was done last
	// missedAt is when deletions were last looked for that nobody tells.
	missedAt time.Time
	planned  time.Time
	said     *said // the verdicts that are stored; nil: not read yet
	// comparedAt is when everything was compared last, by this Reconciler.
	comparedAt time.Time

	orders struct {
		asked   chan struct{} // holds one
		mu      sync.Mutex
		waiting []order // guarded by mu
		ended   bool    // guarded by mu
	}
	telling sync.Mutex
	status  Status // guarded by telling

	mu      sync.Mutex  // between the workers of an Apply
	cloud   *plan.Cloud // JumpCloud as it was last seen; nil: not read yet; guarded by mu
	done    []taken     // what was taken from people within the last hour; guarded by mu
	strikes int         // failures of JumpCloud in a row; guarded by mu
	quiet   time.Time   // until then JumpCloud is left alone; guarded by mu
	// complaint is why JumpCloud is left alone; guarded by mu.
	complaint string
}

// taken is a destructive action that was carried out.
type taken struct {
	at     time.Time
	action plan.Action
}

// New checks cfg.
func New(cfg Config) (*Reconciler, error) {
	if cfg.Store == nil || cfg.Reader == nil || cfg.AD == nil || cfg.JumpCloud == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("reconcile config: store, reader, accounts, jumpcloud, log and clock are required")
	}
	cfg.Domain.Name = strings.ToLower(cfg.Domain.Name)
	settings := settingsOf(cfg.Domain)
	if err := settings.Actions.Check(); err != nil {
		return nil, fmt.Errorf("reconcile config: %w", err)
	}
	switch {
	case settings.Domain == "" || settings.ADID == "":
		return nil, errors.New("reconcile config: the domain is not registered with JumpCloud")
	case !settings.Use.Imports():
		return nil, fmt.Errorf("reconcile config: use case %q: nothing is imported", settings.Use)
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
	i := &Reconciler{cfg: cfg, settings: settings, status: Status{State: Running, Since: cfg.Now()}}
	i.orders.asked = make(chan struct{}, 1)
	return i, nil
}

// Resync makes the next Cycle read and compare everything.
func (i *Reconciler) Resync() { i.full = true }

// Plan reads both sides completely and says what would be done. It writes
// nothing.
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
	cloud, err := i.readCloud(ctx, w)
	if err != nil {
		return plan.Plan{}, err
	}
	i.withCloud(&w, cloud)
	return plan.Import(w)
}

// Cycle reads what has changed in AD and records what follows from it. An
// error means that nothing is known to have been recorded; the next Cycle
// begins at the same point.
func (i *Reconciler) Cycle(ctx context.Context) error {
	if err := i.cycle(ctx); err != nil {
		return fmt.Errorf("import of %s: %w", i.settings.Domain, err)
	}
	return nil
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
	if !full && i.cloud != nil && changed.empty() && now.Sub(i.planned) < i.cfg.Interval {
		if string(next.cursor) == string(i.dir.cursor) {
			return nil
		}
		return i.record(ctx, next, store.ImportBatch{})
	}
	w, err := i.world(next)
	if err != nil {
		return err
	}
	if full || i.cloud == nil {
		i.phase(readingJumpCloud)
		if i.cloud, err = i.readCloud(ctx, w); err != nil {
			return err
		}
	}
	i.withCloud(&w, i.cloud)
	p, err := plan.Import(w)
	if err != nil {
		return err
	}
	batch := store.ImportBatch{Users: changed.users, Groups: changed.groups, Gone: changed.gone}
	if err := i.changes(ctx, p, w, changed, full, &batch); err != nil {
		return err
	}
	if err := i.judge(p, w, &batch); err != nil {
		return err
	}
	err = i.record(ctx, next, batch)
	i.judged(batch, err)
	if err != nil {
		return err
	}
	i.planned = now
	if full {
		i.full, i.fullAt, i.comparedAt = false, now, now
		return i.agree(ctx, w)
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
	if n := len(batch.Changes) + len(batch.Held); n > 0 {
		i.cfg.Log.Info("changes of Active Directory recorded", "domain", i.settings.Domain, "changes", len(batch.Changes), "held", len(batch.Held))
	}
	i.dir = next
	return nil
}
