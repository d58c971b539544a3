package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/go-ldap/ldap/v3"
)

// person is JumpCloud's user of that name; empty without one.
func (c cloud) person(name string) jcsim.User {
	u, _ := c.UserByName(name)
	if u.Username != name {
		return jcsim.User{}
	}
	return u
}

// after waits for what a change in AD brings about at JumpCloud, and says how
// long that took. The simulator is in this process: it is looked at closely.
func after(t *testing.T, what string, done func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !done() {
		if time.Since(begun) > patience {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(begun)
}

// TestServeImports: the daemon imports a real domain by itself, follows its
// changes, and can be paused. How long changes take is reported.
func TestServeImports(t *testing.T) {
	w := newWorld(t)
	w.serve()
	after(t, "alice, who was on both sides, is linked", func() bool { return w.cloud.person("alice").FirstName != "Given" || w.replication().LastPass != "" })
	const people = 5
	var dns, names []string
	for n := range people {
		name := fmt.Sprintf("worker%d", n)
		dns, names = append(dns, w.addUser(name, []byte(before))), append(names, name)
		after(t, name+" is imported", func() bool { return w.cloud.person(name).ID != "" })
	}

	const changes = 60
	took := make([]time.Duration, 0, changes)
	for n := range changes {
		who := n % people
		switch title := fmt.Sprintf("Title %d", n); {
		case n%10 == 8:
			name := fmt.Sprintf("renamed%d", n)
			w.dc.Replace(t, dns[who], "sAMAccountName", name)
			took, names[who] = append(took, after(t, "a rename", func() bool { return w.cloud.person(name).ID != "" })), name
		default:
			w.dc.Replace(t, dns[who], "title", title)
			took = append(took, after(t, "a title", func() bool { return w.cloud.person(names[who]).Fields["jobTitle"] == title }))
		}
	}
	slices.Sort(took)
	t.Logf("from a change in AD to JumpCloud, %d changes: median %s, p90 %s, p99 %s, longest %s", changes,
		took[changes/2].Round(time.Millisecond), took[changes*9/10].Round(time.Millisecond), took[changes*99/100].Round(time.Millisecond), took[changes-1].Round(time.Millisecond))

	// Leavers: disabled, and deleted. This account may not read what is deleted,
	// so that is found out every interval; a changed one is taken over.
	w.configure("import_interval", "2s")
	if err := w.daemon.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.dc.Disable(t, dns[0])
	after(t, "a disabled account is suspended", func() bool { return w.cloud.person(names[0]).State == "SUSPENDED" })
	if err := w.dc.Conn(t).Del(ldap.NewDelRequest(dns[1], nil)); err != nil {
		t.Fatal(err)
	}
	after(t, "a deleted account's user is removed", func() bool { return w.cloud.person(names[1]).ID == "" })

	w.pausedAndResumed(t, dns[2], names[2])
	m := w.metrics()
	for _, want := range []string{`dirgate_replicate_lag_seconds_count{direction="import"}`, `dirgate_replicate_actions_total{action="create-user",direction="import",outcome="done"} `,
		`dirgate_agent_primary{kind="import"} 1`, `dirgate_guard_held{direction="import"} 0`} {
		if !strings.Contains(m, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(m, "worker") || strings.Contains(m, "alice") {
		t.Error("metrics name a user")
	}
}

// replicationView is one line of `replicate status`.
type replicationView struct {
	State, Why, LastPass, LastFull, NextFull, Controller string
	Pending                                              int
}

func (w *world) replication() replicationView {
	w.t.Helper()
	var all []replicationView
	if err := json.Unmarshal([]byte(w.must("--output", "json", "replicate", "status")), &all); err != nil || len(all) != 1 {
		w.t.Fatalf("replicate status: %v, %+v", err, all)
	}
	return all[0]
}

// pausedAndResumed: while it is paused nothing is written, passwords neither;
// resumed, all of it arrives.
func (w *world) pausedAndResumed(t *testing.T, dn, name string) {
	t.Helper()
	if s := w.replication(); s.State != "running" || s.LastPass == "" || s.NextFull == "" || s.Controller == "" {
		t.Errorf("status: %+v", s)
	}
	w.must("replicate", "pause")
	w.cloud.ForgetHistory()
	if err := w.change(before, "While-Paused1"); err != nil {
		t.Fatal(err)
	}
	w.dc.Replace(t, dn, "title", "Paused")
	eventually(t, patience, "both changes are recorded", func() bool {
		return len(w.changes("--status", "pending")) == 1 && strings.Contains(w.must("changelog", "list", "--status", "pending"), name)
	})
	if out, err := w.cli("replicate", "run", "--once"); err == nil || !strings.Contains(out, "replicate resume") {
		t.Errorf("a run while it is paused: %v %s", err, out)
	}
	if s := w.replication(); s.State != "paused" || s.Pending < 2 || len(w.cloud.Writes()) > 0 {
		t.Errorf("while it is paused: %+v, and %v was written", s, w.cloud.Writes())
	}
	w.must("replicate", "resume")
	after(t, "what was paused arrives", func() bool { return w.cloud.person(name).Fields["jobTitle"] == "Paused" })
	w.cloud.wantAccepted(t, soon, "alice", "While-Paused1")
	if out := w.must("replicate", "resync"); !strings.Contains(out, "open: 0 pending, 0 held, 0 dead letters") {
		t.Errorf("resync: %s", out)
	}
}
