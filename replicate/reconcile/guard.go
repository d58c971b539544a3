package reconcile

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// object is what a change is about, by the key that its direction has: an AD
// account or group, or a JumpCloud user or group.
type object struct {
	guid    identity.GUID
	cloudID string
}

func objectOf(d identity.Direction, guid identity.GUID, cloudID string) object {
	if d == identity.Sync {
		return object{cloudID: cloudID}
	}
	return object{guid: guid}
}

// touched are the objects that were just seen to be another than before.
type touched struct {
	ad    map[identity.GUID]bool
	cloud map[string]bool
}

func (t touched) has(r plan.Result) bool {
	return t.ad[r.GUID] || r.Direction == identity.Sync && (t.cloud[r.CloudID] || t.cloud[""])
}

// changes are what has to be recorded: a change for everybody of whom the plan
// wants something, unless one is open that says so already. Of who has changed
// it says so anew.
// Who has a dead letter is tried again when everything is compared.
func (i *Reconciler) changes(ctx context.Context, d identity.Direction, p plan.Plan, w plan.World, t touched, full bool) (changes []identity.Change, held []store.HeldChange, err error) {
	over := i.cfg.Limits.Check(p.Actions(), population(d, w))
	wanted := make(map[object][]plan.Action)
	first := make(map[object]plan.Result)
	var order []object
	for _, r := range p.Results {
		of := objectOf(d, r.GUID, r.CloudID)
		if len(r.Actions) == 0 {
			continue
		}
		if _, seen := wanted[of]; !seen {
			order, first[of] = append(order, of), r
		}
		wanted[of] = append(wanted[of], r.Actions...)
	}
	for _, of := range order {
		change := i.change(w, first[of])
		newest, err := i.newest(change)
		if err != nil {
			return nil, nil, err
		}
		spared := newest.Status == identity.StatusHeld && !takes(wanted[of]) // what it was held for is not wanted any more
		if open(newest, full) && !spared && !t.has(first[of]) {
			continue
		}
		class, why := holds(wanted[of], over)
		if class == "" {
			class, why = holds(wanted[of], undecided(newest))
		}
		if class != "" {
			held = append(held, store.HeldChange{Change: change, Class: string(class), Reason: why})
			continue
		}
		changes = append(changes, change)
	}
	for class, why := range over {
		i.cfg.Log.Warn("a guard holds changes; see `dirgate changelog list --status held`", "domain", i.settings.Domain, "class", string(class), "why", why)
	}
	return changes, held, i.release(ctx, d, wanted)
}

// newest is what became of the last change of the object; its zero value: there
// was none.
func (i *Reconciler) newest(c identity.Change) (e identity.Entry, err error) {
	if c.Direction == identity.Sync {
		e, err = i.cfg.Store.NewestCloudState(i.settings.Domain, c.Kind, c.CloudID)
	} else {
		e, err = i.cfg.Store.NewestState(i.settings.Domain, c.Account.GUID)
	}
	if errors.Is(err, store.ErrNotFound) {
		return identity.Entry{}, nil
	}
	return e, err
}

// open: somebody or something will look at the change.
func open(e identity.Entry, full bool) bool {
	return e.Status == identity.StatusPending || e.Status == identity.StatusHeld || e.Status == identity.StatusDead && !full
}

// agreed is why a held change ends by itself.
const agreed = "nothing is to be done any more: both sides agree"

// against begins why something is held that a person has rejected before.
const against = "a person has decided against it: "

// undecided is by which guard an object is held still when it is edited, or
// wanted again after a person rejected it, even where it is few enough by now to
// pass by itself; empty: by none. What is taken from a group that waits for a
// decision is another number by now, and is counted anew.
func undecided(e identity.Entry) map[plan.Class]string {
	class := plan.Class(e.Class)
	members := class == plan.Memberships || class == plan.ADMemberships
	switch {
	case class == "" || e.Approved:
	case e.Status == identity.StatusDiscarded && e.Reason != agreed:
		return map[plan.Class]string{class: against + e.Reason}
	case e.Status == identity.StatusHeld && (!members || strings.HasPrefix(e.Reason, against)):
		return map[plan.Class]string{class: e.Reason}
	}
	return nil
}

// holds says by which guard an object's actions are held. When any class is
// over its limit, whatever takes something from people is held: the scope
// group that was emptied takes users and groups at once.
func holds(actions []plan.Action, over map[plan.Class]string) (plan.Class, string) {
	if len(over) == 0 || !takes(actions) {
		return "", ""
	}
	var first plan.Class
	for _, class := range plan.Classes {
		why, is := over[class]
		if !is {
			continue
		}
		first = cmp.Or(first, class)
		if slices.ContainsFunc(actions, func(a plan.Action) bool { return a.Class() == class }) {
			return class, why
		}
	}
	return first, over[first]
}

// takes: some of it takes something from people.
func takes(actions []plan.Action) bool {
	return slices.ContainsFunc(actions, func(a plan.Action) bool { return a.Class() != "" })
}

// release ends held changes of objects of which nothing is wanted any more.
func (i *Reconciler) release(ctx context.Context, d identity.Direction, wanted map[object][]plan.Action) error {
	const page = 500
	for after := identity.Seq(0); ; {
		held, err := i.cfg.Store.Held(d, store.HeldOptions{Domain: i.settings.Domain, After: after, Limit: page})
		if err != nil {
			return err
		}
		for _, e := range held {
			after = e.Seq
			if _, still := wanted[objectOf(d, e.Account.GUID, e.CloudID)]; still {
				continue
			}
			err := i.cfg.Store.Discard(ctx, e.Seq, agreed)
			if err != nil && !errors.Is(err, store.ErrState) {
				return err
			}
		}
		if len(held) < page {
			return nil
		}
	}
}

// change is about an AD object or, of direction sync, one of JumpCloud's, under
// the names that it has, or had.
func (i *Reconciler) change(w plan.World, r plan.Result) identity.Change {
	c := identity.Change{Kind: identity.UserChange, Direction: r.Direction, Account: identity.Account{Domain: i.settings.Domain, GUID: r.GUID}}
	if r.Direction == identity.Sync {
		c.CloudID, c.Account.SAM = r.CloudID, r.Name
		if r.Actions[0].GroupID != "" {
			c.Kind = identity.GroupChange
		}
	}
	if u, ok := w.Users[r.GUID]; ok {
		c.Account.DN, c.Account.SAM = u.DN, u.Username
		return c
	}
	if isGroup(w, r.GUID) {
		c.Kind = identity.GroupChange
		c.Account.DN, c.Account.SAM = w.Groups[r.GUID].DN, cmp.Or(w.Groups[r.GUID].Name, w.GroupLinks[r.GUID].Name)
		return c
	}
	c.Account.SAM = cmp.Or(c.Account.SAM, w.Links[r.GUID].Username)
	return c
}

// population is of how many the guards' shares are: of those on the side that
// would lose something.
func population(d identity.Direction, w plan.World) plan.Population {
	p := plan.Population{Users: len(w.Links), Groups: len(w.GroupLinks)}
	for guid, l := range w.GroupLinks {
		if d == identity.Import {
			p.Memberships += len(w.Cloud.Groups[l.GroupID].MemberIDs)
			continue
		}
		for _, member := range w.Groups[guid].Members {
			if _, linked := w.Links[member]; linked {
				p.Memberships++
			}
		}
	}
	return p
}

// agree brings up to date, where AD is the authority, which members of groups are those of both sides.
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
			if there[id] {
				both = append(both, id)
			}
		}
		slices.Sort(both)
		both = slices.Compact(both)
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
