package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"golang.org/x/sync/errgroup"
)

// Peers are the two sides of one registered domain.
type Peers struct {
	AD        *ad.Client
	JumpCloud *jumpcloud.Client
}

// Config describes an Engine.
type Config struct {
	Store *store.Store
	// Opener unseals captured passwords; only this role has it.
	Opener *secret.Opener
	// Peers gives the clients of a domain, or an error when it is not
	// registered (any more) or they cannot be built. It is called for every
	// change, so it should keep them.
	Peers   func(domain string) (*Peers, error)
	Workers int // accounts worked on side by side; zero means 4
	Metrics *Metrics
	Log     *slog.Logger
	// Now is the clock for retry times, which are stored.
	Now func() time.Time
	// AnswerLimit is how long a DC may take to answer a password change; an
	// unsettled intent older than that was answered or never will be. Zero
	// means 2 minutes, the gateway's default.
	AnswerLimit time.Duration
}

// Engine applies the change log. Make one with New before the gateway starts:
// what is unsettled then was left by an earlier process.
type Engine struct {
	cfg Config
	// inherited is the last record of the log when this engine was made.
	// Intents up to it have no gateway any more that would settle them.
	inherited identity.Seq

	mu       sync.Mutex
	patience map[identity.Seq]patience // unsettled intents that could not be judged yet; guarded by mu
}

type patience struct {
	attempts int
	next     time.Time
}

// New checks cfg and notes where the log stands.
func New(cfg Config) (*Engine, error) {
	if cfg.Store == nil || cfg.Opener == nil || cfg.Peers == nil || cfg.Metrics == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("replicate config: store, opener, peers, metrics, log and clock are required")
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 4
	}
	if cfg.AnswerLimit <= 0 {
		cfg.AnswerLimit = 2 * time.Minute
	}
	stats, err := cfg.Store.Stats()
	if err != nil {
		return nil, err
	}
	return &Engine{cfg: cfg, inherited: stats.LastSeq, patience: make(map[identity.Seq]patience)}, nil
}

// longestWait bounds how long Run sleeps when nothing is due: a net under
// missed wake-ups, not a polling interval.
const longestWait = time.Minute

// Run works until ctx ends; it then returns nil.
func (e *Engine) Run(ctx context.Context) error {
	woken, stop := e.cfg.Store.Watch()
	defer stop()
	var quiet limiter
	for {
		next, err := e.Step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			quiet.failed(e.cfg.Log, "replication pass", err)
			next = e.cfg.Now().Add(5 * time.Second)
		} else {
			quiet.recovered(e.cfg.Log, "replication pass")
		}
		wait := longestWait
		if !next.IsZero() {
			wait = min(wait, max(0, next.Sub(e.cfg.Now())))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-woken:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Step makes one pass over everything that is due and returns when the next
// retry is due (zero: none). An error is one of the store: failures of the
// two sides belong to the change that met them and are recorded there.
func (e *Engine) Step(ctx context.Context) (next time.Time, err error) {
	next, err = e.settleAll(ctx)
	if err != nil {
		return next, fmt.Errorf("settle unknown outcomes: %w", err)
	}
	later, err := e.applyAll(ctx)
	if err != nil {
		return next, fmt.Errorf("apply pending changes: %w", err)
	}
	return earlier(next, later), nil
}

const page = 256 // pending changes held in memory at once

func (e *Engine) applyAll(ctx context.Context) (next time.Time, err error) {
	var after identity.Seq
	for ctx.Err() == nil {
		entries, err := e.cfg.Store.Pending(identity.Import, page, after)
		if err != nil {
			return next, err
		}
		group, workCtx := errgroup.WithContext(ctx)
		group.SetLimit(e.cfg.Workers)
		retries := make([]time.Time, len(entries)) // of those put off now, by index
		for i, entry := range entries {
			after = entry.Seq
			if entry.NextTry.After(e.cfg.Now()) {
				next = earlier(next, entry.NextTry)
				continue
			}
			group.Go(func() (err error) {
				retries[i], err = e.apply(workCtx, entry)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return next, err
		}
		for _, retry := range retries {
			next = earlier(next, retry)
		}
		if len(entries) < page {
			return next, nil
		}
	}
	return next, nil
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
