package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// TestReplication: with a supervisor a pass is one of the reconciler that runs,
// also while another would not be let in; status, pause and resume.
func TestReplication(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.register()
	w.local.Reconciler = w.reconciler
	status := func() Replication {
		t.Helper()
		all, err := w.client.Replication(ctx, "")
		if err != nil || len(all) != 1 {
			t.Fatalf("status: %+v, %v, want one", all, err)
		}
		return all[0]
	}
	if s := status(); s.State != Stopped || !strings.Contains(s.Why, "dirgate serve") || s.Domain != domainName || s.Direction != identity.Import {
		t.Errorf("without a daemon: %+v", s)
	}
	made := 0
	s, err := reconcile.NewSupervisor(reconcile.SupervisorConfig{Store: w.local.Store, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now,
		Make: func(d store.Domain) (*reconcile.Reconciler, func(), error) {
			made++
			return w.reconciler(d)
		}})
	if err != nil {
		t.Fatal(err)
	}
	w.local.Supervisor = s
	if s := status(); s.State != reconcile.Waiting {
		t.Errorf("before it is started: %+v", s)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(running) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	w.local.imports.Lock() // of no concern any more
	if _, err := w.client.RunImport(ctx, "", false); err != nil {
		t.Fatal(err)
	}
	w.local.imports.Unlock()
	if _, err := w.client.RunImport(ctx, domainName, true); err != nil || made != 1 {
		t.Errorf("a second pass: %v, and %d reconcilers, want the one that runs", err, made)
	}
	if _, err := w.client.PlanImport(ctx, ""); err != nil {
		t.Errorf("a plan beside it: %v", err)
	}
	if s := status(); s.State != reconcile.Running || s.LastPass.IsZero() || s.Pending != 0 || s.Controller == "" {
		t.Errorf("after a pass: %+v", s)
	}

	if _, err := w.client.Pause(ctx, PauseRequest{Direction: identity.Sync, Paused: true}); err == nil || !strings.Contains(err.Error(), "sync") {
		t.Errorf("a direction that is not replicated: %v", err)
	}
	if r, err := w.client.Pause(ctx, PauseRequest{Direction: identity.Import, Paused: true, Who: "ann"}); err != nil || r.State != reconcile.Paused {
		t.Errorf("pause: %+v, %v", r, err)
	}
	w.cloud.ForgetHistory()
	if _, err := w.client.Domains(ctx); err != nil {
		t.Fatal(err)
	}
	carol := "CN=carol,OU=People," + w.ad.BaseDN()
	w.replace(carol, "userAccountControl", "512")
	_, err = w.client.RunImport(ctx, "", false)
	if err == nil || !strings.Contains(err.Error(), "paused") || !strings.Contains(err.Error(), "ann") {
		t.Errorf("a pass while it is paused: %v", err)
	}
	if s := status(); s.State != reconcile.Paused || s.Pending == 0 || s.Oldest.IsZero() || len(w.cloud.Writes()) > 0 {
		t.Errorf("while it is paused: %+v, and %v was written", s, w.cloud.Writes())
	}
	if r, err := w.client.Pause(ctx, PauseRequest{Direction: identity.Import}); err != nil || r.State == reconcile.Paused {
		t.Errorf("resume: %+v, %v", r, err)
	}
	if _, err := w.client.RunImport(ctx, "", false); err != nil {
		t.Error(err)
	}
	if s := status(); s.Pending != 0 || len(w.cloud.Writes()) == 0 {
		t.Errorf("resumed: %+v, and %v was written", s, w.cloud.Writes())
	}
	if _, err := w.client.Replication(ctx, "other.example"); err == nil || !strings.Contains(err.Error(), "is not registered") {
		t.Errorf("an unknown domain: %v", err)
	}
}

// TestReplicationStopped: what is asked of a supervisor that ended has an
// answer.
func TestReplicationStopped(t *testing.T) {
	w := newWorld(t)
	w.register()
	s, err := reconcile.NewSupervisor(reconcile.SupervisorConfig{Store: w.local.Store, Log: slog.New(slog.DiscardHandler), Now: time.Now, Make: w.reconciler})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ended); err != nil {
		t.Fatal(err)
	}
	w.local.Supervisor = s
	if _, err := w.local.RunImport(t.Context(), "", false); !errors.Is(err, reconcile.ErrStopped) {
		t.Errorf("a pass: %v", err)
	}
}

// TestReplicationFailing: of the changes that were tried and failed, the one
// that was tried most often is told, with its last error.
func TestReplicationFailing(t *testing.T) {
	w := newWorld(t)
	w.register()
	ctx, st := t.Context(), w.local.Store
	status := func() Replication {
		t.Helper()
		all, err := w.client.Replication(ctx, domainName)
		if err != nil || len(all) == 0 {
			t.Fatalf("status: %+v, %v", all, err)
		}
		return all[0]
	}
	var seqs []identity.Seq
	for n := range 3 {
		seq, err := st.AppendState(ctx, identity.Change{Kind: identity.UserChange, Direction: identity.Import,
			Account: identity.Account{Domain: domainName, GUID: identity.GUID{byte(n + 1)}, SAM: fmt.Sprint("user", n)}})
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, seq)
	}
	if r := status(); r.Failing != nil || r.Pending != 3 {
		t.Errorf("nothing was tried: %+v", r)
	}
	next := time.Now().Add(time.Minute).UTC()
	for _, n := range []int{0, 1, 1} {
		if err := st.Postpone(ctx, seqs[n], next, fmt.Sprintf("user%d: no answer", n)); err != nil {
			t.Fatal(err)
		}
	}
	want := Failing{Count: 2, Seq: seqs[1], Object: "user1", Tries: 2, Next: next, Why: "user1: no answer"}
	if r := status(); r.Failing == nil || *r.Failing != want {
		t.Errorf("got %+v, want %+v", r.Failing, want)
	}
}
