package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// logbook is a log that can be waited for.
type logbook struct {
	mu    sync.Mutex
	buf   bytes.Buffer  // guarded by mu
	grown chan struct{} // closed by the next line; guarded by mu
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	return l.buf.Write(b)
}

func (l *logbook) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// wait returns when a line with text was written.
func (l *logbook) wait(t *testing.T, text string) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		l.mu.Lock()
		if strings.Contains(l.buf.String(), text) {
			l.mu.Unlock()
			return
		}
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown := l.grown
		l.mu.Unlock()
		select {
		case <-grown:
		case <-late:
			t.Fatalf("the log never says %q", text)
		}
	}
}

func newInstallation(t *testing.T) *config.Config {
	t.Helper()
	setup := installation{path: filepath.Join(t.TempDir(), "dirgate.yaml"), listen: "127.0.0.1:0", metrics: "127.0.0.1:0"}
	cfg, err := setup.create()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newTestDaemon(t *testing.T, cfg *config.Config) (*daemon, *logbook) {
	t.Helper()
	log := new(logbook)
	d, err := newDaemon(t.Context(), cfg, allRoles, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d, log
}

// TestFailedRole: a part that fails takes the daemon down with an error, and
// everything else is closed.
func TestFailedRole(t *testing.T) {
	cfg := newInstallation(t)
	for _, part := range []struct {
		name string
		fail func(*daemon)
	}{
		{"metrics", func(d *daemon) { _ = d.metrics.Close() }},
		{"admin socket", func(d *daemon) { _ = d.admin.Close() }},
		{"gateway", func(d *daemon) { _ = d.ldaps.Close() }},
	} {
		d, _ := newTestDaemon(t, cfg)
		part.fail(d)
		if err := d.run(t.Context(), nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: got %v, want its error", part.name, err)
		}
	}
	d, _ := newTestDaemon(t, cfg) // the store and the socket are free again
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := d.run(ctx, nil); err != nil {
		t.Errorf("a deliberate stop: got %v", err)
	}
}

// TestServeFails: serve ends with status 1 and names the key to look at.
func TestServeFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	config := filepath.Join(t.TempDir(), "dirgate.yaml")
	if out, code := dirgate(t, "--config", config, "init", "--listen", "127.0.0.1:0", "--metrics-listen", taken.Addr().String()); code != exitDone {
		t.Fatal(out)
	}
	out, code := dirgate(t, "--config", config, "serve")
	if code != exitFailed || !strings.Contains(out, "metrics.listen: ") || !strings.Contains(out, "address already in use") {
		t.Errorf("got status %d, %s, want 1 and metrics.listen named", code, out)
	}
	socket := filepath.Join(filepath.Dir(config), "admin.sock")
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenAdmin(socket); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file in the socket's place: got %v, want it left alone", err)
	}
}

func TestAdminSocketMode(t *testing.T) {
	cfg := newInstallation(t)
	newTestDaemon(t, cfg)
	info, err := os.Lstat(cfg.Admin.Socket)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("got mode %v, %v, want a socket with 0600", info.Mode(), err)
	}
}

// TestReady: readyz, the log and a session say why clients cannot be served,
// and that they can as soon as they can.
func TestReady(t *testing.T) {
	d, log := newTestDaemon(t, newInstallation(t))
	if err := d.domains.ready(t.Context()); !errors.Is(err, errNoDomain) {
		t.Errorf("without a domain: got %v", err)
	}
	ca := certstest.New(t)
	ad, err := adsim.Start(adsim.Config{TLS: ca.Server("127.0.0.1"), AdminPassword: secret.New([]byte("Admin.Pass1"))})
	if err != nil {
		t.Fatal(err)
	}
	defer ad.Close()
	caPEM, err := os.ReadFile(ca.File())
	if err != nil {
		t.Fatal(err)
	}
	reg := store.Domain{Name: ad.Domain(), DCs: []string{ad.URL()}, CAPEM: []byte("no certificate"), ImportAccount: "svc", UseCase: store.UseCaseAD}
	reg.JumpCloud.URL = "https://127.0.0.1:1"
	put := func(credentials map[string]secret.Bytes) {
		t.Helper()
		if err := d.opened.store.PutDomain(t.Context(), reg, credentials); err != nil {
			t.Fatal(err)
		}
		d.domains.changed(reg.Name)
	}
	wrong := func(when, want string) {
		t.Helper()
		if err := d.domains.ready(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: readyz says %v, want %s", when, err, want)
		}
		for range 3 {
			if _, _, err := d.domains.forGateway()[0].DCs.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: a session gets %v, want %s", when, err, want)
			}
		}
		if n := log.count(want); n != 1 {
			t.Errorf("%s: logged %d times, want once", when, n)
		}
	}
	put(nil)
	wrong("a registration without credentials", "import account's password of "+reg.Name)
	put(map[string]secret.Bytes{store.CredImportPassword: secret.New([]byte("p")), store.CredAPIKey: secret.New([]byte("k"))})
	wrong("a CA file that is none", "CA of the domain controllers of "+reg.Name)

	reg.CAPEM = caPEM
	put(nil)
	if err := d.domains.ready(t.Context()); !errors.Is(err, dc.ErrUnreachable) || !strings.Contains(err.Error(), "no answer yet") {
		t.Errorf("before the first answer: got %v", err)
	}
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- d.domains.Run(ctx) }()
	log.wait(t, "in rotation\" domain="+reg.Name+" dc="+ad.URL())
	if err := d.domains.ready(t.Context()); err != nil {
		t.Errorf("the controller answers: got %v", err)
	}
	d.domains.mu.Lock()
	old := d.domains.connected[reg.Name]
	d.domains.mu.Unlock()
	reg.DCs = []string{"ldaps://127.0.0.1:1"}
	put(nil)
	log.wait(t, "out of rotation\" domain="+reg.Name+" dc=ldaps://127.0.0.1:1")
	if err := d.domains.ready(t.Context()); err == nil || !strings.Contains(err.Error(), "ldaps://127.0.0.1:1: ") || strings.Contains(err.Error(), ad.URL()) {
		t.Errorf("after another registration: got %v, want the new controller's error alone", err)
	}
	told := log.count(ad.URL())
	old.health.seen(ad.URL(), false)
	if log.count(ad.URL()) != told {
		t.Error("the old registration's controllers are still told of")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
