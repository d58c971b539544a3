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
)

// Peers are the two sides of one registered domain.
type Peers struct {
	AD        *ad.Client
	JumpCloud *jumpcloud.Client
	// Writer sets passwords in AD; nil where nothing goes there.
	Writer PasswordWriter
	// CloudLDAP is JumpCloud's LDAP; nil where the registration names none.
	CloudLDAP CloudLDAP
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
	// NoImport and NoSync: changes of that direction are another's to apply.
	NoImport, NoSync bool
	Metrics          *Metrics
	Log              *slog.Logger
	// Now is the clock for retry times, which are stored.
	Now func() time.Time
	// AnswerLimit is how long a DC may take to answer a password change; an
	// unsettled intent older than that was answered or never will be, and its
	// gateway has given up. It must be longer than the gateway waits. Zero
	// means DefaultAnswerLimit.
	AnswerLimit time.Duration
}

// DefaultAnswerLimit is five times what the gateway waits by default.
const DefaultAnswerLimit = 10 * time.Minute

// Engine applies the change log. Make one with New before the gateway starts:
// what is unsettled then was left by an earlier process.
type Engine struct {
	cfg     Config
	settler settler
	doubts  doubts
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
		cfg.AnswerLimit = DefaultAnswerLimit
	}
	stats, err := cfg.Store.Stats()
	if err != nil {
		return nil, err
	}
	return &Engine{cfg: cfg, settler: settler{cfg: cfg, inherited: stats.LastSeq, patience: make(map[identity.Seq]patience)}}, nil
}

// longestWait bounds how long Run sleeps when nothing is due: a net under
// missed wake-ups, not a polling interval.
const longestWait = time.Minute

// Run works until ctx ends; it then returns nil. Settling and applying go
// side by side, so that neither waits for what the other waits for.
func (e *Engine) Run(ctx context.Context) error {
	var both sync.WaitGroup
	both.Go(func() { e.settler.run(ctx) })
	both.Go(func() { newDispatcher(e).run(ctx) })
	both.Wait()
	return nil
}

// Step makes one pass over everything that is due and returns when the next
// retry is due (zero: none). An error is one of the store: failures of the
// two sides belong to the change that met them and are recorded there.
func (e *Engine) Step(ctx context.Context) (next time.Time, err error) {
	next, err = e.settler.pass(ctx)
	if err != nil {
		return next, fmt.Errorf("settle unknown outcomes: %w", err)
	}
	d := newDispatcher(e)
	if err = d.load(); err == nil {
		err = d.drain(ctx)
	}
	if err != nil {
		return next, fmt.Errorf("apply pending changes: %w", err)
	}
	if due, ok := d.queue.next(); ok {
		next = earlier(next, due)
	}
	return next, nil
}
