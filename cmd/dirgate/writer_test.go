package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
)

// TestNoSyncAccount: a domain that was registered for both directions without a
// sync account says what to do.
func TestNoSyncAccount(t *testing.T) {
	keys, master := t.TempDir(), secret.New(make([]byte, 32))
	if err := secret.EnsureKeys(keys, master); err != nil {
		t.Fatal(err)
	}
	sealer, err := secret.OpenSealer(keys)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := secret.OpenOpener(keys, master)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(store.Options{InMemory: true, Sealer: sealer, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg := config.Default()
	d := newDomains(st, opener, &cfg, slog.New(slog.DiscardHandler), peerMetrics{})
	reg := store.Domain{Name: "corp.example.test", UseCase: store.UseCaseTwoWay}
	_, err = d.writer(reg, &connection{})
	if err == nil || !strings.Contains(err.Error(), "run `dirgate domain update corp.example.test --sync-account NAME --sync-password-file FILE`") {
		t.Errorf("got %v", err)
	}
}

// TestWriterConfig: new objects are not made in the head of the domain.
func TestWriterConfig(t *testing.T) {
	reg := store.Domain{BaseDN: "DC=corp,DC=example", RootDN: "dc=corp,dc=example", SyncAccount: "jcsync"}
	if c := writerConfig(reg, nil, secret.New([]byte("x"))); c.RootDN != "" || c.Account != "jcsync" {
		t.Errorf("the whole domain: %q, %q", c.RootDN, c.Account)
	}
	reg.RootDN = "OU=People,DC=corp,DC=example"
	if c := writerConfig(reg, nil, secret.New([]byte("x"))); c.RootDN != reg.RootDN {
		t.Errorf("a container: %q", c.RootDN)
	}
}
