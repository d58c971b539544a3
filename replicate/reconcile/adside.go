package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// adError is what a write to AD came to.
type adError struct{ error }

// Unwrap gives the Writer's error.
func (e *adError) Unwrap() error { return e.error }

func inAD(err error) error {
	if err == nil {
		return nil
	}
	return &adError{err}
}

// actInAD does one action on AD, keeps what follows from it in the link, and
// puts what AD has then into the mirror: the reader will tell the same later.
func (r *run) actInAD(ctx context.Context, j *job, a plan.Action) error {
	switch a.Kind {
	case plan.ADCreateUser:
		return r.createInAD(ctx, j, a)
	case plan.ADCreateGroup:
		return r.createGroupInAD(ctx, j, a)
	case plan.ADRenameGroup:
		g, err := r.cfg.Writer.RenameGroup(ctx, a.GUID, a.Fields[0].To)
		if err != nil {
			return inAD(err)
		}
		return errors.Join(r.keepGroup(ctx, a), r.wroteGroup(ctx, g))
	case plan.ADDisable:
		// Before: one that is not known to be ours would never be lifted.
		if err := r.keep(ctx, a); err != nil {
			return err
		}
		u, err := r.cfg.Writer.Disable(ctx, a.GUID)
		if err != nil {
			return r.notDisabled(ctx, a, inAD(err))
		}
		return r.wroteUser(ctx, u)
	case plan.ADEnable, plan.ADUpdateUser:
		var u identity.User
		var err error
		if a.Kind == plan.ADEnable {
			u, err = r.cfg.Writer.Enable(ctx, a.GUID)
		} else {
			attrs := attributesOf(a.Fields)
			for n, f := range a.Fields {
				if plan.Mirrored(f.Name) { // an edit in AD that the reader has not told of yet is not written over
					attrs[n].Was = &a.Fields[n].From
				}
			}
			u, err = r.cfg.Writer.UpdateUser(ctx, a.GUID, attrs)
		}
		if err != nil {
			return inAD(err)
		}
		return errors.Join(r.keep(ctx, a), r.wroteUser(ctx, u))
	}
	return fmt.Errorf("action %q is not known", a.Kind)
}

// notDisabled: what AD did not do is not ours. Else an account that a person
// disables later would be enabled when the user is activated.
func (r *run) notDisabled(ctx context.Context, a plan.Action, cause error) error {
	if judgeFailure(cause) == failedUnknown {
		return cause
	}
	err := r.changeLink(context.WithoutCancel(ctx), a.GUID, func(l *identity.Link) { l.DisabledByUs = false })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return errors.Join(cause, err)
	}
	return cause
}

func attributesOf(fields []plan.Field) (attrs []ad.Attribute) {
	for _, f := range fields {
		attr := ad.Attribute{Name: f.Name}
		if f.To != "" {
			attr.Values = []string{f.To}
		}
		attrs = append(attrs, attr)
	}
	return attrs
}

func (r *run) createInAD(ctx context.Context, j *job, a plan.Action) error {
	var n ad.NewUser
	named := map[string]*string{plan.AttrSAM: &n.Username, plan.AttrUPN: &n.UPN, plan.AttrCN: &n.CN, plan.AttrFirst: &n.First, plan.AttrLast: &n.Last, plan.AttrMail: &n.Mail}
	for _, f := range a.Fields {
		if to := named[f.Name]; to != nil {
			*to = f.To
		} else {
			n.Attributes = append(n.Attributes, attributesOf([]plan.Field{f})...)
		}
	}
	u, err := r.cfg.Writer.CreateUser(ctx, n)
	if err != nil {
		return inAD(err)
	}
	ctx = context.WithoutCancel(ctx) // the account exists: its link must not fall to a shutdown
	a.GUID = u.GUID
	link := r.newLink(a, a.UserID, a.Name)
	link.BySync, link.MadeInAD, link.How = true, true, "made in Active Directory by sync"
	if known := r.world.Cloud.Users[a.UserID]; known != nil {
		link.Username = known.Username
	}
	if err := r.cfg.Store.PutLink(ctx, plan.Applied(link, a)); err != nil {
		return err
	}
	return errors.Join(r.wroteUser(ctx, u), r.identify(ctx, j, u.GUID))
}

func (r *run) createGroupInAD(ctx context.Context, j *job, a plan.Action) error {
	g, err := r.cfg.Writer.CreateGroup(ctx, a.Fields[0].To)
	if err != nil {
		return inAD(err)
	}
	ctx = context.WithoutCancel(ctx)
	a.GUID = g.GUID
	link := r.newGroupLink(a, a.GroupID, a.Name, false)
	link.BySync, link.MadeInAD = true, true
	if err := r.cfg.Store.PutGroupLink(ctx, plan.AppliedGroup(link, a)); err != nil {
		return err
	}
	return errors.Join(r.wroteGroup(ctx, g), r.identify(ctx, j, g.GUID))
}

// identify notes in the log which AD object a change of sync is about.
func (r *run) identify(ctx context.Context, j *job, guid identity.GUID) error {
	if r.d != identity.Sync || guid == j.entry.Account.GUID {
		return nil
	}
	account := identity.Account{Domain: r.settings.Domain, GUID: guid}
	if u, ok := r.dir.users[guid]; ok {
		account.DN, account.SAM = u.DN, u.Username
	} else if g, ok := r.dir.groups[guid]; ok {
		account.DN, account.SAM = g.DN, g.Name
	}
	err := r.cfg.Store.IdentifyAccount(ctx, j.entry.Seq, account)
	if errors.Is(err, store.ErrState) {
		return nil // the change was of a pair that is no more
	}
	if err == nil {
		j.entry.Account = account
	}
	return err
}

// groupGUID is the AD group that an action is about; it may just have been
// made.
func (r *run) groupGUID(a plan.Action) (identity.GUID, error) {
	if !a.GUID.IsZero() {
		return a.GUID, nil
	}
	link, err := r.cfg.Store.GroupLinkByJumpCloudID(a.GroupID)
	return link.GUID, err
}

// membersInAD puts members in, or takes them out, all with one request if AD
// takes it. One whose account is not made yet keeps nobody out: the error is
// errWaits then.
func (r *run) membersInAD(ctx context.Context, j *job, actions []plan.Action) error {
	group, err := r.groupGUID(actions[0])
	if err != nil {
		return err
	}
	var members []identity.GUID
	var some []plan.Action
	for _, a := range actions {
		if a.Member.IsZero() {
			link, err := r.cfg.Store.LinkByJumpCloudID(a.UserID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			a.Member = link.GUID
		}
		members, some = append(members, a.Member), append(some, a)
	}
	if len(some) > 0 {
		change := r.cfg.Writer.AddMembers
		if some[0].Kind == plan.ADRemoveMember {
			change = r.cfg.Writer.RemoveMembers
		}
		err := inAD(change(ctx, group, members))
		if err == nil {
			ctx := context.WithoutCancel(ctx)
			err = errors.Join(r.keepMembers(ctx, some), r.wroteMembers(ctx, group, members, some[0].Kind == plan.ADAddMember))
		}
		if err := r.did(err, some...); err != nil {
			return err
		}
	}
	if len(some) < len(actions) {
		return errWaits
	}
	return nil
}

// wroteUser puts an account into the mirror as it was read after a write. Its
// manager, which the Writer does not read, stays.
func (r *run) wroteUser(ctx context.Context, u identity.User) error {
	if was, known := r.dir.users[u.GUID]; known {
		u.Manager = was.Manager
	}
	r.dir.users[u.GUID] = u
	return r.mirror(ctx, store.ImportBatch{Users: []identity.User{u}})
}

func (r *run) wroteGroup(ctx context.Context, g identity.Group) error {
	g.Members = r.dir.groups[g.GUID].Members
	r.dir.groups[g.GUID] = g
	return r.mirror(ctx, store.ImportBatch{Groups: []identity.Group{g}})
}

func (r *run) wroteMembers(ctx context.Context, group identity.GUID, members []identity.GUID, in bool) error {
	g, ok := r.dir.groups[group]
	if !ok {
		return nil
	}
	g.Members = slices.Clone(g.Members)
	for _, m := range members {
		at, is := slices.BinarySearchFunc(g.Members, m, compareGUID)
		switch {
		case in && !is:
			g.Members = slices.Insert(g.Members, at, m)
		case !in && is:
			g.Members = slices.Delete(g.Members, at, at+1)
		}
	}
	r.dir.groups[group] = g
	return r.mirror(ctx, store.ImportBatch{Groups: []identity.Group{g}})
}

func compareGUID(a, b identity.GUID) int { return bytes.Compare(a[:], b[:]) }

// mirror stores what was written to AD, where the reader is.
func (r *run) mirror(ctx context.Context, batch store.ImportBatch) error {
	batch.CursorName, batch.Cursor = r.cursorName(), r.dir.cursor
	return r.cfg.Store.AppendImport(context.WithoutCancel(ctx), r.settings.Domain, batch)
}

// agreeOne keeps what a verdict found both sides to have.
func (i *Reconciler) agreeOne(ctx context.Context, result plan.Result) error {
	if result.Agreed == nil {
		return nil
	}
	st, domain, guid := i.cfg.Store, i.settings.Domain, result.GUID
	group := isGroupResult(result)
	if guid.IsZero() {
		if link, err := st.LinkByJumpCloudID(result.CloudID); err == nil {
			guid = link.GUID
		} else if link, err := st.GroupLinkByJumpCloudID(result.CloudID); err == nil {
			guid, group = link.GUID, true
		}
	}
	var err error
	if group {
		err = st.ChangeGroupLink(ctx, domain, guid, func(l *identity.GroupLink) { *l = plan.AgreeGroup(*l, result.Verdict) })
	} else {
		err = st.ChangeLink(ctx, domain, guid, func(l *identity.Link) { *l = plan.Agree(*l, result.Verdict) })
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil // let go meanwhile
	}
	return err
}

// isGroupResult: it is about a group. Only of groups both sides agree on
// members.
func isGroupResult(r plan.Result) bool { return r.Agreed != nil && r.Agreed.HasMembers }

// agreeAll keeps what the verdicts without actions found both sides to have;
// those with actions do so when they are carried out.
func (i *Reconciler) agreeAll(ctx context.Context, p plan.Plan) error {
	var todo []plan.Result
	for _, r := range p.Results {
		if r.Agreed != nil && len(r.Actions) == 0 {
			todo = append(todo, r)
		}
	}
	return sideBySide(i.cfg.Workers, todo, func(r plan.Result) error { return i.agreeOne(ctx, r) })
}
