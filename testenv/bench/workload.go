package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// workload is what the clients do.
type workload struct {
	name     string
	what     string
	sessions int
	depth    int  // requests of a session outstanding at a time
	perEntry bool // figures are per search entry, not per operation
	idle     bool // sessions do nothing
	// target is the most that dirgate should cost: the ratio of its CPU time to
	// HAProxy's, for idle sessions KiB of RSS each. 0: none is set.
	target float64
	// request is what worker n repeats; nil for logins and idle sessions.
	request func(r *rig, n int) (request, error)
}

func oneEntry(r *rig, n int) (request, error)   { return findUser(n % r.people) }
func allEntries(r *rig, _ int) (request, error) { return findAll(r.people) }
func rebind(r *rig, n int) (request, error)     { return bindAs(n % r.people) }

var allWorkloads = []workload{
	{name: "search-1", what: "search one entry", sessions: 1, depth: 1, request: oneEntry},
	{name: "search-16", what: "search one entry", sessions: 16, depth: 1, target: 1.15, request: oneEntry},
	{name: "search-64", what: "search one entry", sessions: 64, depth: 1, target: 1.15, request: oneEntry},
	{name: "depth8-16", what: "search one entry, 8 requests in flight", sessions: 16, depth: 8, target: 2, request: oneEntry},
	{name: "bind-16", what: "bind again on a kept connection", sessions: 16, depth: 1, target: 1, request: rebind},
	{name: "bind-64", what: "bind again on a kept connection", sessions: 64, depth: 1, target: 1, request: rebind},
	{name: "login-16", what: "connect, TLS, bind, search, unbind", sessions: 16, target: 0.45},
	{name: "big-1", what: "search all entries, figures per entry", sessions: 1, depth: 1, perEntry: true, target: 1.6, request: allEntries},
	{name: "big-16", what: "search all entries, figures per entry", sessions: 16, depth: 1, perEntry: true, target: 1.6, request: allEntries},
	{name: "idle-2000", what: "bound sessions that do nothing", sessions: 2_000, idle: true, target: 44},
	{name: "idle-10000", what: "bound sessions that do nothing", sessions: 10_000, idle: true, target: 44},
}

// findWorkloads reads -workloads: names, or beginnings of names.
func findWorkloads(list string) ([]workload, error) {
	if list == "all" {
		return allWorkloads, nil
	}
	var found []workload
	for part := range strings.SplitSeq(list, ",") {
		n := len(found)
		for _, w := range allWorkloads {
			if part != "" && strings.HasPrefix(w.name, part) && (w.name == part || !hasWorkload(part)) {
				found = append(found, w)
			}
		}
		if len(found) == n {
			return nil, fmt.Errorf("-workloads: unknown %q", part)
		}
	}
	return found, nil
}

func hasWorkload(name string) bool {
	return slices.ContainsFunc(allWorkloads, func(w workload) bool { return w.name == name })
}

// work is worker n of the workload, until ctx ends. It calls ready when its
// session is set up.
func (w workload) work(ctx context.Context, r *rig, s server, n int, t *tally, ready func()) error {
	if w.request == nil {
		ready()
		return logins(ctx, s, n%r.people, t)
	}
	req, err := w.request(r, n)
	if err != nil {
		return err
	}
	c, err := login(ctx, s, n%r.people)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	defer c.endWith(ctx)()
	ready()
	again := func(took time.Duration) bool {
		t.op(took)
		return ctx.Err() == nil
	}
	if err := c.exchange(req, w.depth, again, t.entry); ctx.Err() == nil {
		return err
	}
	return ctx.Err()
}

// login opens a session and binds.
func login(ctx context.Context, s server, user int) (*client, error) {
	bind, err := bindAs(user)
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, s)
	if err != nil {
		return nil, err
	}
	defer c.endWith(ctx)()
	if err := c.do(bind); err != nil {
		_ = c.conn.Close()
		return nil, fmt.Errorf("bind: %w", err)
	}
	return c, nil
}

// logins does what a web application does for each of its users, over and
// over.
func logins(ctx context.Context, s server, user int, t *tally) error {
	find, err := findUser(user)
	if err != nil {
		return err
	}
	cycle := func() error {
		c, err := login(ctx, s, user)
		if err != nil {
			return err
		}
		defer c.endWith(ctx)()
		if err := c.do(find); err != nil {
			_ = c.conn.Close()
			return err
		}
		return c.unbind()
	}
	for ctx.Err() == nil {
		start := time.Now()
		if err := cycle(); err != nil && ctx.Err() == nil {
			return err
		}
		t.op(time.Since(start))
	}
	return ctx.Err()
}
