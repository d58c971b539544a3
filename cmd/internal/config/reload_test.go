package config

import (
	"slices"
	"testing"
)

func TestChanged(t *testing.T) {
	before, after := Default(), Default()
	if a, r := Changed(&before, &after); a != nil || r != nil {
		t.Errorf("nothing changed: got %q and %q", a, r)
	}
	after.Log.Level, after.Gateway.MaxMessage, after.DataDir, after.Log.Format = "debug", MiB, "/x", "json"
	a, r := Changed(&before, &after)
	if want := []string{"gateway.max_message", "log.level"}; !slices.Equal(a, want) {
		t.Errorf("at once: got %q, want %q", a, want)
	}
	if want := []string{"data_dir", "log.format"}; !slices.Equal(r, want) {
		t.Errorf("after a restart: got %q, want %q", r, want)
	}
	other := custom()
	a, _ = Changed(&before, &other)
	if len(a) != len(live) {
		t.Errorf("of all keys %q take effect at once, want %q: is one of them misspelt?", a, live)
	}
}
