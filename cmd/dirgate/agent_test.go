package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store/identity"
)

// TestPrintAgents: this node and JumpCloud's records in one table, what was
// seen of both sides below it.
func TestPrintAgents(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.Local)
	a := admin.Agents{Domain: "corp.example",
		Node: admin.Node{Host: "gate1", Version: "1.2", Roles: []string{"gateway", "import"}},
		Work: []reconcile.Status{{Domain: "corp.example", Direction: identity.Import, State: reconcile.Paused, Why: "by ann", LastPass: at}},
		Contact: admin.Contact{JumpCloud: at, Away: "500", Controllers: []admin.ControllerContact{
			{Name: "dc1", Up: true, Since: at}, {Name: "dc2", Since: at, Err: "refused"}, {Name: "dc3"}}},
		JumpCloud: &replicate.CloudDomain{DelegationState: "PENDING", Agents: []replicate.CloudAgent{
			{ID: "a1", Direction: identity.Import, State: "unsealed", Primary: true, Ours: true},
			{ID: "a2", Direction: identity.Sync, State: "active", Hostname: "member1", Version: "4.20", ContactAt: "2026-03-01T07:00:00Z"}}}}
	var out bytes.Buffer
	if err := printAgents(streams{out: &out}, []admin.Agents{a}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"DOMAIN WHERE DIRECTION ID STATE HOST VERSION LAST CONTACT PRIMARY NOTE",
		"corp.example this node import - paused gate1 1.2 2026-03-01 08:00:00 yes by ann",
		"corp.example JumpCloud import a1 unsealed - - - yes registered by dirgate, whose contact JumpCloud does not take",
		"corp.example JumpCloud sync a2 active member1 4.20 2026-03-01T07:00:00Z no not dirgate's: delete it with `dirgate agent remove` if that agent is gone",
		"corp.example: this node has the roles gateway, import",
		"corp.example: controller dc1 answers since 2026-03-01 08:00:00",
		"corp.example: controller dc2 does not answer since 2026-03-01 08:00:00: refused",
		"corp.example: controller dc3 not asked yet",
		"corp.example: JumpCloud answered last at 2026-03-01 08:00:00, and is away now: 500",
		"corp.example: delegation at JumpCloud: PENDING: until JumpCloud has heard of an import agent, nobody who is delegated can sign in there",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestPromoted: what `agent promote` says of each state of a direction.
func TestPromoted(t *testing.T) {
	one := func(domain string, d identity.Direction, state reconcile.State) admin.Replication {
		return admin.Replication{Status: reconcile.Status{Domain: domain, Direction: d, State: state}}
	}
	both := []admin.Replication{one("a.example", identity.Import, reconcile.Running), one("a.example", identity.Sync, reconcile.Paused)}
	for _, tt := range []struct {
		name      string
		all       []admin.Replication
		direction identity.Direction
		want      string
		fails     bool
	}{
		{"running, of two directions", both, identity.Import, "is the primary of direction import of a.example", false},
		{"waiting for a side", []admin.Replication{one("a.example", identity.Sync, reconcile.Waiting)}, identity.Sync, "is the primary of direction sync", false},
		{"paused", both, identity.Sync, "`dirgate agent resume --domain a.example --direction sync`", true},
		{"stopped", []admin.Replication{one("a.example", identity.Import, admin.Stopped)}, identity.Import, "`dirgate serve` with the role import", true},
		{"no such direction", both[:1], identity.Sync, "no registered domain has the direction \"sync\"", true},
		{"several domains", []admin.Replication{both[0], one("b.example", identity.Import, reconcile.Running)}, identity.Import, "name one with --domain", true},
	} {
		text, err := promoted(tt.all, tt.direction)
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, tt.want) || (err != nil) != tt.fails {
			t.Errorf("%s: %q, %v; want %q", tt.name, text, err, tt.want)
		}
	}
}
