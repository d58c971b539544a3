package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/prometheus/client_golang/prometheus"
)

// record appends accepted changes to the store of an installation.
func record(t *testing.T, cfg *config.Config, n int) {
	t.Helper()
	log, err := newLog(os.Stderr, cfg, "error")
	if err != nil {
		t.Fatal(err)
	}
	o, err := openStore(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		c := identity.Change{Kind: identity.PasswordChange, Direction: identity.Import,
			Account: identity.Account{Domain: "corp.example", GUID: identity.GUID{byte(i + 1)}, DN: "CN=u"}}
		seq, err := o.store.AppendIntent(context.Background(), c, secret.New([]byte("a-password")))
		if err == nil {
			err = o.store.Settle(context.Background(), seq, identity.OutcomeAccepted, "")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
}

// TestL3_VerifyAndWayBack puts an older copy of the database in the place of
// the present one. verify says so, offline and through the daemon; the daemon
// says that it is degraded and records nothing; the loss accepted, all is
// accounted for.
func TestL3_VerifyAndWayBack(t *testing.T) {
	cfg := newInstallation(t)
	db := filepath.Join(cfg.DataDir, "store")
	record(t, cfg, 2)
	run := func(args ...string) (string, int) {
		return dirgate(t, append([]string{"--config", cfg.Path, "changelog"}, args...)...)
	}
	if out, code := run("verify"); code != exitDone || !strings.Contains(out, "every sequence number is accounted for") || !strings.Contains(out, "records 1 to 4: 4 as they were written") {
		t.Fatalf("a whole log: status %d, %s", code, out)
	}
	if out, code := run("export"); code != exitDone || strings.Count(out, `"type":`) != 4 || strings.Contains(out, "a-password") {
		t.Errorf("export: status %d, %s, want 4 records", code, out)
	}
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(db)); err != nil {
		t.Fatal(err)
	}
	record(t, cfg, 3)
	if err := os.RemoveAll(db); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(db, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	damaged := func(how, out string, code int) {
		t.Helper()
		for _, want := range []string{"records 5 to 12 (8) missing", "dirgate restore", "--accept-loss"} {
			if code != exitFailed || !strings.Contains(out, want) {
				t.Errorf("%s: status %d, %s, want 1 and %q", how, code, out, want)
			}
		}
	}
	out, code := run("verify")
	damaged("offline", out, code)

	d, log := newTestDaemon(t, cfg)
	if d.engine != nil {
		t.Error("a damaged log is replicated from")
	}
	if d.gateway == nil {
		t.Error("binds are not served")
	}
	log.wait(t, "records 5 to 12 (8) missing")
	if text := scrape(t, d, "/metrics"); !strings.Contains(text, "dirgate_changelog_damaged 1") {
		t.Errorf("metrics: %s", text)
	}
	if err := damageOf(d.opened.store); err == nil || !strings.Contains(err.Error(), "records 5 to 12 (8) missing") {
		t.Errorf("readyz says %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx, nil) }()
	out, code = run("verify")
	damaged("through the daemon", out, code)
	if out, code := run("verify", "--accept-loss"); code != exitFailed || !strings.Contains(out, "not confirmed") {
		t.Errorf("without a yes: status %d, %s", code, out)
	}
	if out, code := run("verify", "--accept-loss", "--yes"); code != exitDone || !strings.Contains(out, "records 5 to 12 (8) missing") {
		t.Errorf("accept: status %d, %s", code, out)
	}
	if out, code := run("verify"); code != exitDone || !strings.Contains(out, "8 lost and accounted for, 0 missing") {
		t.Errorf("after that: status %d, %s", code, out)
	}
	if text := scrape(t, d, "/metrics"); !strings.Contains(text, "dirgate_changelog_damaged 0") {
		t.Errorf("metrics: %s", text)
	}
	ready := watchDamage(prometheus.NewRegistry(), d.opened.store, d.engine == nil, func(context.Context) error { return nil })
	if err := ready(ctx); err == nil || !strings.Contains(err.Error(), "nothing is replicated before a restart") {
		t.Errorf("readyz says %v of a daemon that replicates nothing", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if out, code := run("export"); code != exitDone || !strings.Contains(out, fmt.Sprintf("accepted by uid %d", os.Getuid())) {
		t.Errorf("the log does not say who accepted the loss: status %d, %s", code, out)
	}
}

func scrape(t *testing.T, d *daemon, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	d.metricsHTTP.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Body.String()
}
