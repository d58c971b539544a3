package replicate

import (
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/prometheus/client_golang/prometheus"
)

// TestPaused: while the direction of a domain is paused its passwords wait,
// and are applied when it is resumed, the newest of an account only.
func TestPaused(t *testing.T) {
	w := newWorld(t)
	if err := w.store.SetPaused(t.Context(), domainName, identity.Import, true, "admin"); err != nil {
		t.Fatal(err)
	}
	d := newDispatcher(w.engine)
	first := w.accept(w.alice, "Some.Pass1")
	second := w.accept(w.alice, "Some.Pass2")
	for range 2 { // it is parked, and read again
		if err := d.load(); err != nil {
			t.Fatal(err)
		}
		if err := d.drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.want(first, identity.StatusSuperseded, "")
	w.want(second, identity.StatusPending, "")
	if n := len(d.paused[lane{domainName, identity.Import}]); n != 1 || len(w.cloud.Writes()) > 0 {
		t.Errorf("%d changes are parked, want 1; written: %v", n, w.cloud.Writes())
	}
	w.run()
	if err := w.store.SetPaused(t.Context(), domainName, identity.Import, false, "admin"); err != nil {
		t.Fatal(err)
	}
	w.await(second, identity.StatusApplied)
}

// TestPausedAndReadAgain: the import makes users while the direction is paused
// for passwords. The one that waited and the dead letter are not lost by the
// dispatcher's reading everything again, nor parked twice.
func TestPausedAndReadAgain(t *testing.T) {
	w := newWorld(t)
	w.importing()
	dora, emil := w.newcomer("dora", "Doe"), w.newcomer("emil", "")
	waiting, dead := w.accept(dora, "Some.Pass1"), w.accept(emil, "Some.Pass1")
	d := newDispatcher(w.engine)
	pass := func(read func() error) {
		t.Helper()
		if err := read(); err != nil {
			t.Fatal(err)
		}
		if err := d.drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	pass(d.load)
	w.want(waiting, identity.StatusPending, "waits for the import")
	w.want(dead, identity.StatusDead, "first and a last name")
	if err := w.store.SetPaused(t.Context(), domainName, identity.Import, true, "admin"); err != nil {
		t.Fatal(err)
	}
	w.imports(dora)
	w.imports(emil)
	pass(d.follow)
	for range 3 {
		pass(d.load)
		if n := len(d.paused[lane{domainName, identity.Import}]); n != 2 {
			t.Errorf("%d changes are parked, want 2", n)
		}
	}
	w.want(waiting, identity.StatusPending, "")
	w.want(dead, identity.StatusDead, "")
	if err := w.store.SetPaused(t.Context(), domainName, identity.Import, false, "admin"); err != nil {
		t.Fatal(err)
	}
	pass(d.follow) // revives the dead letter
	pass(d.follow)
	w.want(waiting, identity.StatusApplied, "")
	w.want(dead, identity.StatusApplied, "")
}

// TestMetrics: what the reconciler tells is counted, and what is held is shown,
// without a name of anybody.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry, w.store, w.clock.now)
	m.Action(identity.Import, "create-user", "done")
	m.Applied(identity.Import, 1500*time.Millisecond)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			name := f.GetName()
			for _, l := range metric.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetHistogram().GetSampleSum()
		}
	}
	for name, want := range map[string]float64{
		"dirgate_replicate_actions_total create-user import done": 1,
		"dirgate_replicate_lag_seconds import":                    1.5,
		"dirgate_guard_held import":                               0,
		"dirgate_guard_held sync":                                 0,
		"dirgate_changelog_pending import":                        0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v; there are %v", name, v, ok, want, got)
		}
	}
}
