package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// window is for how long actions count together.
const window = time.Hour

// taken is something that was, or was about to be, taken from people. It is
// stored: a process that ends and starts again and again would otherwise let
// pass as much each time as its guards let pass in an hour.
type taken struct {
	At        int64              `json:"at"` // Unix time
	Direction identity.Direction `json:"direction"`
	Kind      plan.Kind          `json:"kind"`
	Of        identity.GUID      `json:"of"` // stands for what and whose it was
}

// mostTaken is how many are stored, the newest: as much as a value of the store
// has room for. Guards that let pass more within an hour are no guards.
const mostTaken = 2000

func newTaken(now time.Time, a plan.Action) taken {
	h := fnv.New128a()
	of := a.GUID.String()
	if c := a.Class(); c == plan.Memberships || c == plan.ADMemberships {
		of = a.GroupID + "/" + a.UserID
		if a.GroupID == "" {
			of = a.GUID.String() + "/" + a.UserID
		}
	}
	_, _ = fmt.Fprintf(h, "%s %s %s", a.Direction, a.Class(), of) // never fails
	t := taken{At: now.Unix(), Direction: a.Direction, Kind: a.Kind}
	h.Sum(t.Of[:0])
	return t
}

// over: it does not count any more. One of the future is of a clock that was
// wrong.
func (t taken) over(now time.Time) bool {
	age := now.Sub(time.Unix(t.At, 0))
	return age >= window || age < -window
}

func (i *Reconciler) windowName() string { return "guard/" + i.settings.Domain }

// recall reads what was taken before this process.
func (i *Reconciler) recall() error {
	stored, err := i.cfg.Store.Cursor(i.windowName())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(stored, &i.done)
	}
	if err != nil {
		return fmt.Errorf("what guards counted within the last hour: %w", err)
	}
	return nil
}

// take stores what is about to be taken from people, before it is. What was
// approved does not count, and what is tried once more counts once.
func (r *run) take(ctx context.Context, j *job, actions []plan.Action) error {
	if j.entry.Approved {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	all := slices.DeleteFunc(slices.Clone(r.done), func(t taken) bool { return t.over(now) })
	before := len(all)
	for _, a := range actions {
		a.Direction = r.d
		if a.Class() == "" {
			continue
		}
		t := newTaken(now, a)
		if !slices.ContainsFunc(all, func(other taken) bool { return other.Of == t.Of }) {
			all = append(all, t)
		}
	}
	if len(all) == before {
		return nil
	}
	value, err := json.Marshal(all[max(0, len(all)-mostTaken):])
	if err == nil {
		err = r.cfg.Store.SetCursor(ctx, r.windowName(), value)
	}
	if err != nil {
		return fmt.Errorf("keep what guards count: %w", err)
	}
	r.done = all
	return nil
}

// check says which classes are over their limits, counting what would be done
// now and what was taken within the window.
func (i *Reconciler) check(d identity.Direction, actions []plan.Action, w plan.World) map[plan.Class]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.cfg.Now()
	all := slices.Clone(actions)
	again := make(map[identity.GUID]bool)
	for _, a := range actions {
		a.Direction = d
		again[newTaken(now, a).Of] = true
	}
	there := population(d, w) // and those that are gone by now
	for _, t := range i.done {
		if t.Direction != d || t.over(now) || again[t.Of] {
			continue
		}
		counted := plan.Action{Direction: d, Kind: t.Kind, GUID: t.Of}
		all = append(all, counted)
		switch counted.Class() {
		case plan.Removals:
			there.Users++
		case plan.GroupEnds:
			there.Groups++
		case plan.Memberships, plan.ADMemberships:
			there.Memberships++
		}
	}
	over := i.cfg.Limits.Check(all, there)
	if over[plan.ADDisables] == "" || d != identity.Sync {
		return over
	}
	// The links of some accounts that were disabled or let go are gone.
	linked := make(map[identity.GUID]bool, len(w.Links))
	for guid := range w.Links {
		linked[newTaken(now, plan.Action{Direction: d, Kind: plan.ADDisable, GUID: guid}).Of] = true
	}
	for _, t := range i.done {
		if t.Direction == d && (t.Kind == plan.ADDisable || t.Kind == plan.Unlink) && !t.over(now) && !linked[t.Of] {
			there.Users++
		}
	}
	return i.cfg.Limits.Check(all, there)
}
