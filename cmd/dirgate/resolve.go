package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dirgate/dirgate/replicate/ad"
)

// resolver finds out for the gateway whose mail address a bind name is. It
// asks AD as the import account, over connections of its own, and keeps what
// it learnt for a while. Whatever fails, the name is used as it is: a client
// never waits for longer than lookupTime for its turn and as long for the
// answer, and learns nothing from the answer
// but what the controller says to its bind.
type resolver struct {
	domains *domains
	log     *slog.Logger
	now     func() time.Time
	slots   chan struct{} // one for each lookup at a time

	mu     sync.Mutex
	known  map[string]resolved  // by name in lower case; guarded by mu
	paused map[string]time.Time // domains that failed, and until when they are not asked; guarded by mu
}

// resolved is what is known of a name; without a name: use it as it is.
type resolved struct {
	domain, name string
	until        time.Time
}

const (
	lookupTime  = 2 * time.Second
	lookupSlots = 8
	knownNames  = 10_000 // kept at most
	// knownFor is the same for addresses of somebody and of nobody: otherwise
	// the time that a bind takes would tell them apart.
	knownFor = 2 * time.Minute
	pauseFor = 15 * time.Second
	// pauseRefused is for an import account whose password is wrong: trying it
	// again and again would lock it.
	pauseRefused = 10 * time.Minute
)

func newResolver(d *domains, log *slog.Logger) *resolver {
	return &resolver{domains: d, log: log, now: time.Now, slots: make(chan struct{}, lookupSlots),
		known: make(map[string]resolved), paused: make(map[string]time.Time)}
}

// resolve gives the domain and the name to bind with; empty: as it is.
func (r *resolver) resolve(ctx context.Context, name string) (domain, bindName string) {
	const longest = 320 // of a mail address (RFC 3696 erratum 1690 says 254, older texts 320)
	if len(name) > longest || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", "" // nobody's, and nothing that AD should fail on
	}
	key := strings.ToLower(name)
	r.mu.Lock()
	found, ok := r.known[key]
	r.mu.Unlock()
	if ok && r.now().Before(found.until) {
		return found.domain, found.name
	}
	ctx, done, ok := r.turn(ctx)
	if !ok {
		return "", ""
	}
	defer done()
	found = r.lookup(ctx, name)
	r.remember(key, found)
	return found.domain, found.name
}

// turn waits for a slot, for lookupTime at most, and gives the context of the
// lookup. Neither a client that goes away nor the wait may look like a
// controller that fails: the lookup has its own time, which begins now.
func (r *resolver) turn(ctx context.Context) (_ context.Context, done func(), ok bool) {
	waiting, stop := context.WithTimeout(ctx, lookupTime)
	defer stop()
	select {
	case r.slots <- struct{}{}:
	case <-waiting.Done():
		return nil, nil, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
	return ctx, func() { cancel(); <-r.slots }, true
}

// lookup asks every domain: the name may belong to one whose name is not in
// it, and a mail address counts only if it is one account's alone.
func (r *resolver) lookup(ctx context.Context, name string) resolved {
	connections, err := r.domains.serving()
	complete := err == nil
	var names, owners []resolved
	for _, c := range connections {
		if r.isPaused(c.gateway.Name) {
			complete = false
			continue
		}
		bindName, err := c.names.BindName(ctx, c.gateway.BaseDN, c.gateway.Name, name)
		switch {
		case err != nil:
			complete = false
			r.pause(c.gateway.Name, err)
		case bindName == name:
			names = append(names, resolved{domain: c.gateway.Name, name: bindName})
		case bindName != "":
			owners = append(owners, resolved{domain: c.gateway.Name, name: bindName})
		}
	}
	switch {
	case !complete:
		return resolved{until: r.now().Add(pauseFor)}
	case len(names) == 1:
		owners = names
	case len(names) > 1 || len(owners) != 1:
		return resolved{until: r.now().Add(knownFor)}
	}
	owners[0].until = r.now().Add(knownFor)
	return owners[0]
}

func (r *resolver) remember(key string, found resolved) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= knownNames {
		clear(r.known) // rare, and cheaper than to keep an order
	}
	r.known[key] = found
}

func (r *resolver) isPaused(domain string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now().Before(r.paused[domain])
}

func (r *resolver) pause(domain string, err error) {
	pause := pauseFor
	if errors.Is(err, ad.ErrAccountRefused) {
		pause = pauseRefused
	}
	r.log.Warn("mail addresses are not looked up for a while", "domain", domain, "for", pause, "err", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paused[domain] = r.now().Add(pause)
}
