package reconcile

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// changes puts into batch what has to be recorded: a change for everybody of
// whom the plan wants something, unless one is open that says so already. Of
// who has changed in AD it says so anew.
// Who has a dead letter is tried again when everything is compared.
func (i *Reconciler) changes(ctx context.Context, p plan.Plan, w plan.World, d difference, full bool, batch *store.ImportBatch) error {
	over := i.cfg.Limits.Check(p.Actions(), population(w))
	touched := d.touched()
	wanted := make(map[identity.GUID][]plan.Action)
	var order []identity.GUID
	for _, r := range p.Results {
		if _, seen := wanted[r.GUID]; !seen && len(r.Actions) > 0 {
			order = append(order, r.GUID)
		}
		if len(r.Actions) > 0 {
			wanted[r.GUID] = append(wanted[r.GUID], r.Actions...)
		}
	}
	for _, guid := range order {
		open, err := i.open(guid, full)
		if err != nil {
			return err
		}
		if open && !touched[guid] {
			continue
		}
		change := i.change(w, guid)
		if class, why := holds(wanted[guid], over); class != "" {
			batch.Held = append(batch.Held, store.HeldChange{Change: change, Class: string(class), Reason: why})
			continue
		}
		batch.Changes = append(batch.Changes, change)
	}
	for class, why := range over {
		i.cfg.Log.Warn("a guard holds changes; see `dirgate changelog list --status held`", "domain", i.settings.Domain, "class", string(class), "why", why)
	}
	return i.release(ctx, wanted)
}

// open: there is a change of the object that somebody or something will look
// at.
func (i *Reconciler) open(guid identity.GUID, full bool) (bool, error) {
	e, err := i.cfg.Store.NewestState(i.settings.Domain, guid)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return e.Status == identity.StatusPending || e.Status == identity.StatusHeld || e.Status == identity.StatusDead && !full, err
}

// holds says by which guard an object's actions are held. When any class is
// over its limit, whatever takes something from people is held: the scope
// group that was emptied takes users and groups at once.
func holds(actions []plan.Action, over map[plan.Class]string) (plan.Class, string) {
	if len(over) == 0 || !slices.ContainsFunc(actions, func(a plan.Action) bool { return a.Kind.Destructive() }) {
		return "", ""
	}
	var first plan.Class
	for _, class := range plan.Classes {
		why, is := over[class]
		if !is {
			continue
		}
		first = cmp.Or(first, class)
		if slices.ContainsFunc(actions, func(a plan.Action) bool { return plan.ClassOf(a.Kind) == class }) {
			return class, why
		}
	}
	return first, over[first]
}

// release ends held changes of objects of which nothing is wanted any more.
func (i *Reconciler) release(ctx context.Context, wanted map[identity.GUID][]plan.Action) error {
	const page = 500
	for after := identity.Seq(0); ; {
		held, err := i.cfg.Store.Held(identity.Import, store.HeldOptions{Domain: i.settings.Domain, After: after, Limit: page})
		if err != nil {
			return err
		}
		for _, e := range held {
			after = e.Seq
			if _, still := wanted[e.Account.GUID]; still {
				continue
			}
			err := i.cfg.Store.Discard(ctx, e.Seq, "nothing is to be done any more: both sides agree")
			if err != nil && !errors.Is(err, store.ErrState) {
				return err
			}
		}
		if len(held) < page {
			return nil
		}
	}
}

// change is about an AD object, under the names that it has, or had.
func (i *Reconciler) change(w plan.World, guid identity.GUID) identity.Change {
	c := identity.Change{Kind: identity.UserChange, Direction: identity.Import, Account: identity.Account{Domain: i.settings.Domain, GUID: guid}}
	if u, ok := w.Users[guid]; ok {
		c.Account.DN, c.Account.SAM = u.DN, u.Username
		return c
	}
	if isGroup(w, guid) {
		c.Kind = identity.GroupChange
		c.Account.DN, c.Account.SAM = w.Groups[guid].DN, cmp.Or(w.Groups[guid].Name, w.GroupLinks[guid].Name)
		return c
	}
	c.Account.SAM = w.Links[guid].Username
	return c
}

// population is of how many the guards' shares are.
func population(w plan.World) plan.Population {
	p := plan.Population{Users: len(w.Links), Groups: len(w.GroupLinks)}
	for _, l := range w.GroupLinks {
		p.Memberships += len(w.Cloud.Groups[l.GroupID].MemberIDs)
	}
	return p
}

// window is for how long actions count together.
const window = time.Hour

// check says which classes are over their limits, counting what would be done
// now and what was done within the window.
func (i *Reconciler) check(actions []plan.Action, w plan.World) map[plan.Class]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.cfg.Now()
	i.done = slices.DeleteFunc(i.done, func(t taken) bool { return now.Sub(t.at) >= window })
	all := slices.Clone(actions)
	lost := plan.Population{}
	for _, t := range i.done {
		all = append(all, t.action)
		switch plan.ClassOf(t.action.Kind) {
		case plan.Removals:
			lost.Users++
		case plan.GroupEnds:
			lost.Groups++
		case plan.Memberships:
			lost.Memberships++
		}
	}
	there := population(w) // and those that are gone by now
	there.Users, there.Groups, there.Memberships = there.Users+lost.Users, there.Groups+lost.Groups, there.Memberships+lost.Memberships
	return i.cfg.Limits.Check(all, there)
}

// agree brings up to date which members of groups are those of both sides.
func (i *Reconciler) agree(ctx context.Context, w plan.World) error {
	scope := plan.NewScope(w.Tree)
	for guid, link := range w.GroupLinks {
		there := make(map[string]bool)
		for _, id := range w.Cloud.Groups[link.GroupID].MemberIDs {
			there[id] = true
		}
		var both []string
		for _, member := range scope.Members(guid) {
			if id := w.Links[member].JumpCloudID; there[id] {
				both = append(both, id)
			}
		}
		// What AD has taken out and JumpCloud still has was agreed upon; the
		// plan needs to know until it is gone.
		for _, id := range link.Agreed {
			if there[id] && !slices.Contains(both, id) {
				both = append(both, id)
			}
		}
		slices.SortFunc(both, strings.Compare)
		if slices.Equal(both, link.Agreed) {
			continue
		}
		link.Agreed = both
		if err := i.cfg.Store.PutGroupLink(ctx, link); err != nil {
			return err
		}
	}
	return nil
}
