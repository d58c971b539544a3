package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store/identity"
)

// pausable is a backend with one domain, of which some directions exist.
type pausable struct {
	admin.Backend
	directions []identity.Direction
	paused     []identity.Direction
}

var errNoDirection = errors.New("no such direction")

func (p *pausable) Replication(context.Context, string) (all []admin.Replication, err error) {
	for _, d := range p.directions {
		var r admin.Replication
		r.Domain, r.Direction = "corp.example", d
		all = append(all, r)
	}
	return all, nil
}

func (p *pausable) Pause(_ context.Context, q admin.PauseRequest) (r admin.Replication, err error) {
	if !slices.Contains(p.directions, q.Direction) {
		return r, errNoDirection
	}
	p.paused = append(p.paused, q.Direction)
	r.Domain, r.Direction = "corp.example", q.Direction
	return r, nil
}

// TestPauseEveryDirection: to pause a domain stops whatever writes, to either
// side, unless one direction is asked for.
func TestPauseEveryDirection(t *testing.T) {
	for _, tt := range []struct {
		name  string
		has   []identity.Direction
		asked identity.Direction
		want  []identity.Direction
		err   error
	}{
		{"both", []identity.Direction{identity.Import, identity.Sync}, "", []identity.Direction{identity.Import, identity.Sync}, nil},
		{"import alone", []identity.Direction{identity.Import}, "", []identity.Direction{identity.Import}, nil},
		{"sync alone", []identity.Direction{identity.Sync}, "", []identity.Direction{identity.Sync}, nil},
		{"one of both", []identity.Direction{identity.Import, identity.Sync}, identity.Sync, []identity.Direction{identity.Sync}, nil},
		{"one that is not", []identity.Direction{identity.Import}, identity.Sync, nil, errNoDirection},
		{"no domain", nil, "", nil, errNoDirection},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &pausable{directions: tt.has}
			shown, err := pause(t.Context(), b, admin.PauseRequest{Direction: tt.asked, Paused: true})
			if !errors.Is(err, tt.err) || !slices.Equal(b.paused, tt.want) || len(shown) != len(tt.want) {
				t.Errorf("paused %v and showed %d, %v; want %v, %v", b.paused, len(shown), err, tt.want, tt.err)
			}
		})
	}
}

// TestStatusWhy: the status says in words what keeps failing and what to do,
// also while the direction runs, and a table has one line for each.
func TestStatusWhy(t *testing.T) {
	var r admin.Replication
	r.Domain, r.Direction, r.State = "corp.example", identity.Sync, reconcile.Running
	r.Pending, r.Held, r.Dead = 4, 2, 1
	why := errors.Join(errors.New("create AD user: the name is taken"), errors.New("and read: no answer"))
	r.Failing = &admin.Failing{Count: 3, Seq: 17, Object: "ann", Tries: 5, Next: time.Now(), Why: why.Error()}
	var out strings.Builder
	if err := writeReplication(streams{out: &out}, []admin.Replication{r}, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 changes keep failing, change 17 of ann among them: tried 5 times, again at ",
		"create AD user: the name is taken; and read: no answer (see `dirgate changelog show 17`)",
		"2 held: decide with `dirgate guard list`", "1 refused for good: see `dirgate changelog list --status dead`"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 2 || strings.Contains(out.String(), "?") {
		t.Errorf("%d lines, want a heading and one more:\n%s", n, out.String())
	}
}

// TestPlanShowsMembers: a member is shown by name, with the id where there is one.
func TestPlanShowsMembers(t *testing.T) {
	made := plan.Action{Kind: plan.AddMember, UserID: "new:" + identity.GUID{7}.String()}
	for want, a := range map[string]plan.Action{"ann (65a0)": {Kind: plan.RemoveMember, UserID: "65a0"}, "65b0": {Kind: plan.ADAddMember, UserID: "65b0"}, "bea (made by this plan)": made} {
		if got := fieldsOf(a, map[string]string{"65a0": "ann", made.UserID: "bea"}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
