package replicate

import (
	"testing"
	"time"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/prometheus/client_golang/prometheus"
)

// TestP5_PasswordsInSync: the two gauges of a domain; they are counted again
// when a minute has passed, and not for every scrape.
func TestP5_PasswordsInSync(t *testing.T) {
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	NewMetrics(registry, w.store, w.clock.now)
	read := func(name string) (value float64, there bool) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, metric := range f.GetMetric() {
				if f.GetName() == name && len(metric.GetLabel()) == 1 && metric.GetLabel()[0].GetValue() == domainName {
					value, there = value+metric.GetGauge().GetValue(), true
				}
			}
		}
		return value, there
	}
	want := func(linked, same float64) {
		t.Helper()
		l, ok := read("dirgate_passwords_linked")
		s, also := read("dirgate_passwords_in_sync")
		if !ok || !also || l != linked || s != same {
			t.Errorf("linked %v (%t), in sync %v (%t); want %v and %v", l, ok, s, also, linked, same)
		}
	}
	if err := w.store.PutDomain(t.Context(), store.Domain{Name: domainName}, nil); err != nil {
		t.Fatal(err)
	}
	want(0, 0)
	u := w.account("alice")
	mirror, err := w.peers.AD.User(t.Context(), u)
	if err == nil {
		err = w.store.AppendImport(t.Context(), domainName, store.ImportBatch{Users: []identity.User{mirror}, CursorName: "c"})
	}
	if err == nil {
		err = w.store.PutLink(t.Context(), identity.Link{Domain: domainName, GUID: u.GUID, JumpCloudID: w.id, PasswordSet: mirror.PwdLastSet})
	}
	if err != nil {
		t.Fatal(err)
	}
	want(0, 0)
	w.clock.add(time.Minute)
	want(1, 1)
}
