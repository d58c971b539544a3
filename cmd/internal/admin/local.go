package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// Local carries out the operations on an open store.
type Local struct {
	Store *store.Store
	// Opener opens the credentials of a registration that is repeated.
	Opener *secret.Opener
	// Connect builds the clients of a domain from its registration and
	// credentials; they are used for one operation and closed.
	Connect func(d store.Domain, importPassword, apiKey secret.Bytes) (*replicate.Peers, error)
	// Writer works under the sync account of a domain, from its registration; it
	// is used for one operation and closed. nil: nothing can be synced.
	Writer func(d store.Domain, syncPassword secret.Bytes) (*ad.Writer, error)
	// Peers gives the clients of a registered domain.
	Peers func(domain string) (*replicate.Peers, error)
	// Changed is told that a domain's registration changed; may be nil.
	Changed func(domain string)
	// ServiceAccount: JumpCloud is asked as a service account, and a domain
	// needs no API key.
	ServiceAccount bool
	// Keys gives access to the sealing keys; nil: they cannot be exchanged.
	Keys Keys
	Now  func() time.Time
	// Node is this process, and Contact what it has seen of the sides of a
	// domain; nil: nothing, since it is no daemon.
	Node    Node
	Contact func(domain string) Contact
	// Reconciler makes the reconciler of a domain, and what ends it; nil: nothing
	// can be imported.
	Reconciler func(store.Domain) (im *reconcile.Reconciler, end func(), err error)

	// Supervisor runs the reconcilers of a daemon; nil: Reconciler's are used,
	// one at a time.
	Supervisor *reconcile.Supervisor

	imports sync.Mutex                           // held while one works
	working atomic.Pointer[reconcile.Reconciler] // that one
}

var _ Backend = (*Local)(nil)

// Domains lists the registered domains.
func (l *Local) Domains(context.Context) ([]store.Domain, error) { return l.Store.Domains() }

// Domain returns one registration.
func (l *Local) Domain(_ context.Context, name string) (store.Domain, error) {
	return l.pick(name)
}

// pick finds a registration by name; empty means the only one.
func (l *Local) pick(name string) (store.Domain, error) {
	all, err := l.Store.Domains()
	if err != nil {
		return store.Domain{}, err
	}
	var names []string
	for _, d := range all {
		if strings.EqualFold(d.Name, name) || (name == "" && len(all) == 1) {
			return d, nil
		}
		names = append(names, d.Name)
	}
	switch {
	case len(all) == 0:
		return store.Domain{}, errors.New("no domain is registered; run `dirgate domain register`")
	case name == "":
		return store.Domain{}, fmt.Errorf("several domains are registered; name one with --domain: %s", strings.Join(names, ", "))
	}
	return store.Domain{}, fmt.Errorf("domain %q is not registered; registered: %s", name, strings.Join(names, ", "))
}

// User shows one user.
func (l *Local) User(ctx context.Context, domain, name string) (replicate.UserView, error) {
	d, err := l.pick(domain)
	if err != nil {
		return replicate.UserView{}, err
	}
	peers, err := l.Peers(d.Name)
	if err != nil {
		return replicate.UserView{}, err
	}
	if o, err := l.find(ctx, d, name, false); err == nil && !o.guid.IsZero() {
		name = o.guid.String()
	}
	return replicate.Show(ctx, l.Store, d, peers, name)
}

// Unlink ends the link of a user.
func (l *Local) Unlink(ctx context.Context, domain, name string) (identity.Link, error) {
	d, err := l.pick(domain)
	if err != nil {
		return identity.Link{}, err
	}
	peers, err := l.Peers(d.Name)
	if err != nil {
		return identity.Link{}, err
	}
	return replicate.Unlink(ctx, l.Store, d, peers, name)
}

// Changes lists changes.
func (l *Local) Changes(_ context.Context, q ChangeQuery) ([]identity.Entry, error) {
	return l.Store.List(store.ListOptions{Domain: q.Domain, Status: q.Status, After: q.After, Limit: q.Limit, Newest: q.Newest})
}

// Change returns one change.
func (l *Local) Change(_ context.Context, seq identity.Seq) (identity.Entry, error) {
	return l.Store.Entry(seq)
}

// Records returns log records, waiting for the first when there are none.
func (l *Local) Records(ctx context.Context, after identity.Seq, limit int, wait time.Duration) ([]store.Record, error) {
	woken, stop := l.Store.Watch()
	defer stop()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		records, err := l.Store.Records(after, limit)
		if err != nil || len(records) > 0 {
			return records, err
		}
		select {
		case <-woken:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// LastSeq is the number of the last record.
func (l *Local) LastSeq(context.Context) (identity.Seq, error) {
	stats, err := l.Store.Stats()
	return stats.LastSeq, err
}

// Retry makes a dead letter pending again.
func (l *Local) Retry(ctx context.Context, seq identity.Seq) error { return l.Store.Retry(ctx, seq) }

// Discard gives a change up.
func (l *Local) Discard(ctx context.Context, seq identity.Seq, reason string) error {
	return l.Store.Discard(ctx, seq, reason)
}

// domainsFor is the named registration, or all of them where none is named.
func (l *Local) domainsFor(name string) ([]store.Domain, error) {
	if name == "" {
		return l.Store.Domains()
	}
	d, err := l.pick(name)
	return []store.Domain{d}, err
}
