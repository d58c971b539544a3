package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store/identity"
)

// TestMeter: a bar on a terminal, and elsewhere a line now and then.
func TestMeter(t *testing.T) {
	start := time.Now()
	at := func(done int) reconcile.Status {
		return reconcile.Status{Phase: "applying changes", Progress: reconcile.Progress{Since: start, Done: done, Total: 40}}
	}
	var out bytes.Buffer
	lines := meter{out: &out}
	for n := range 9 { // eight seconds
		lines.show(at(n), start.Add(time.Duration(n)*time.Second))
	}
	lines.end()
	if want := "0 of 40 users and groups\n5 of 40 users and groups, 1.0 per second, about 35s left\n"; out.String() != want {
		t.Errorf("lines: %q, want %q", out.String(), want)
	}

	out.Reset()
	bar := meter{out: &out, terminal: true}
	bar.show(reconcile.Status{Phase: "reading JumpCloud"}, start)
	bar.show(at(10), start.Add(2*time.Second))
	bar.show(reconcile.Status{}, start.Add(3*time.Second)) // nothing to show
	bar.end()
	bar.end()
	got := out.String()
	for _, want := range []string{"reading JumpCloud", "\r\x1b[K[#######.......................]  25 % 10 of 40 users and groups, 5.0 per second, about 6s left\r\x1b[K"} {
		if !strings.Contains(got, want) {
			t.Errorf("the bar lacks %q: %q", want, got)
		}
	}
	if strings.Contains(got, "\n") || strings.Count(got, "\r\x1b[K") != 3 {
		t.Errorf("the bar: %q, want one line, drawn twice and cleared once", got)
	}
}

// TestGuardsOf: the defaults of the configuration are those of the planner,
// and every class can be configured.
func TestGuardsOf(t *testing.T) {
	got, want := guardsOf(config.Default().Guards), plan.DefaultLimits()
	for class, limit := range want {
		if got[class] != limit {
			t.Errorf("%s: %+v by default, want %+v", class, got[class], limit)
		}
	}
	other := guardsOf(config.Guards{Removals: config.Guard{Count: 1, Percent: 2}, Suspensions: config.Guard{Count: 3}, Groups: config.Guard{Count: 4}, Memberships: config.Guard{Count: 5},
		ADDisables: config.Guard{Count: 6}, ADMemberships: config.Guard{Count: 7}})
	for class, n := range map[plan.Class]int{plan.Removals: 1, plan.Suspensions: 3, plan.GroupEnds: 4, plan.Memberships: 5, plan.ADDisables: 6, plan.ADMemberships: 7} {
		if other[class].Count != n {
			t.Errorf("%s: %+v, want a count of %d", class, other[class], n)
		}
	}
	if other[plan.Removals].Percent != 2 {
		t.Errorf("removals: %+v", other[plan.Removals])
	}
}

// TestReadyWhileReplicationWaits: trouble of the import is a note of /readyz
// once it lasts, and never takes the gateway out of service.
func TestReadyWhileReplicationWaits(t *testing.T) {
	now := time.Now()
	short := []reconcile.Status{{Domain: "corp.example", Direction: identity.Import, State: reconcile.Waiting, Why: "no answer", Since: now.Add(-time.Second)}}
	long := []reconcile.Status{{Domain: "corp.example", Direction: identity.Import, State: reconcile.Waiting, Why: "no answer", Since: now.Add(-2 * tolerated)}}
	paused := []reconcile.Status{{Domain: "corp.example", Direction: identity.Import, State: reconcile.Paused, Since: now.Add(-2 * tolerated)}}
	fine := func(context.Context) error { return nil }
	for name, c := range map[string]struct {
		ready    func(context.Context) error
		statuses []reconcile.Status
		degraded bool
		says     string
	}{
		"nothing":        {fine, nil, false, ""},
		"a moment":       {fine, short, false, ""},
		"long":           {fine, long, true, "import of corp.example waits"},
		"paused":         {fine, paused, false, ""},
		"no controllers": {func(context.Context) error { return errors.New("no DC") }, long, false, "no DC"},
	} {
		err := watchReplication(func() ([]reconcile.Status, error) { return c.statuses, nil }, c.ready)(t.Context())
		_, degraded := errors.AsType[*degraded](err)
		if degraded != c.degraded || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (degraded: %v), want %q", name, err, degraded, c.says)
		}
	}
	broken := errors.New("broken")
	err := watchReplication(func() ([]reconcile.Status, error) { return nil, broken }, fine)(t.Context())
	if _, degraded := errors.AsType[*degraded](err); !degraded {
		t.Errorf("an unknown state: %v, want a note", err)
	}
}
