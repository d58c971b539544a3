package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// TestServiceAccount: a configured service account asks JumpCloud instead of
// the domain's API key.
func TestServiceAccount(t *testing.T) {
	sim, err := jcsim.Start(jcsim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(t.TempDir(), "jc.secret")
	if err := os.WriteFile(file, append(sim.ClientSecret().Expose(), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.JumpCloud.ClientID, cfg.JumpCloud.ClientSecretFile, cfg.JumpCloud.TokenURL = sim.ClientID(), file, sim.TokenURL()
	d := newDomains(nil, nil, &cfg, slog.New(slog.DiscardHandler), peerMetrics{})
	reg := store.Domain{JumpCloud: store.JumpCloudRegistration{URL: sim.URL(), OrgID: sim.OrgID(), CAPEM: sim.CACert()}}
	for range 2 {
		c, err := d.cloud(reg, secret.New([]byte("the-key-is-not-used")))
		if err != nil {
			t.Fatal(err)
		}
		if orgs, err := c.Organizations(t.Context()); err != nil || len(orgs) != 1 {
			t.Errorf("organizations: got %v, %v", orgs, err)
		}
	}
	if n := sim.Counts()["POST /oauth2/token"]; n != 2 {
		t.Errorf("%d tokens were asked for, want one by each client", n)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := d.cloud(reg, secret.Bytes{}); err == nil || !strings.Contains(err.Error(), "jumpcloud.client_secret_file: ") || strings.Contains(err.Error(), "--") {
		t.Errorf("without the file: got %v", err)
	}
	cfg.JumpCloud = config.JumpCloud{RequestsPerSecond: 1, MaxInFlight: 1}
	c, err := d.cloud(reg, sim.APIKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Organizations(t.Context()); err != nil {
		t.Errorf("with the key: %v", err)
	}
}
