package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

const (
	pathWhy      = "/v1/user/why"
	pathGroupWhy = "/v1/group/why"
)

// Gone is the status of what neither AD nor a link has any more.
const Gone = "gone"

// Story is what is known of one user or group, and what happened to it.
type Story struct {
	Domain string        `json:"domain"`
	Group  bool          `json:"group,omitempty"`
	Name   string        `json:"name"`
	DN     string        `json:"dn,omitempty"`
	GUID   identity.GUID `json:"guid,omitzero"`
	// Status is linked, skipped, open or gone; Reason says why.
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	// Of the link.
	JumpCloudID       string        `json:"jumpcloudId,omitempty"`
	JumpCloud         string        `json:"jumpcloudName,omitempty"` // at the join
	LinkedAt          time.Time     `json:"linkedAt,omitzero"`
	How               string        `json:"how,omitempty"`
	PasswordAuthority identity.Side `json:"passwordAuthority,omitempty"` // by order
	Delegation        identity.Side `json:"delegation,omitempty"`        // by order
	// Verdicts are what the last plans said, one for each direction; none:
	// nothing is to be done.
	Verdicts []store.Verdict `json:"verdicts"`
	// Events are what happened, newest first.
	Events []Event `json:"events"`
	// Cut: there is more than was looked at.
	Cut bool `json:"cut,omitempty"`
}

// Event is one record of the change log about a user or group.
type Event struct {
	Seq       identity.Seq        `json:"seq"`
	At        time.Time           `json:"at"`
	Change    identity.Seq        `json:"change"`
	Direction identity.Direction  `json:"direction"`
	Kind      identity.ChangeKind `json:"kind"`
	Type      store.RecordType    `json:"type"`
	What      string              `json:"what"`             // in words
	Detail    string              `json:"detail,omitempty"` // a peer's words, or a person's
	Next      time.Time           `json:"nextTry,omitzero"`
}

// storyChanges is how many changes of one user are told.
const storyChanges = 100

func serveWhy(mux *http.ServeMux, b Backend) {
	serve(mux, pathWhy, func(ctx context.Context, q named) (Story, error) { return b.Why(ctx, q.Domain, q.Name) })
	serve(mux, pathGroupWhy, func(ctx context.Context, q named) (Story, error) { return b.GroupWhy(ctx, q.Domain, q.Name) })
}

// Why tells the story of a user.
func (l *Local) Why(ctx context.Context, domain, name string) (Story, error) {
	return l.why(ctx, domain, name, false)
}

// GroupWhy tells the story of a group.
func (l *Local) GroupWhy(ctx context.Context, domain, name string) (Story, error) {
	return l.why(ctx, domain, name, true)
}

func (l *Local) why(ctx context.Context, domain, name string, group bool) (s Story, err error) {
	d, err := l.pick(domain)
	if err != nil {
		return s, err
	}
	o, err := l.find(ctx, d, name, group)
	if err != nil {
		return s, err
	}
	s = Story{Domain: d.Name, Group: group, Name: o.name, DN: o.dn, GUID: o.guid, JumpCloudID: o.cloudID, Verdicts: []store.Verdict{}, Events: []Event{}}
	return s, errors.Join(l.tellVerdicts(&s), l.tellStatus(d, o, &s), l.tellEvents(&s))
}

func (l *Local) tellVerdicts(s *Story) error {
	for _, dir := range []identity.Direction{identity.Import, identity.Sync} {
		keys := []struct {
			guid identity.GUID
			id   string
		}{{s.GUID, ""}, {identity.GUID{}, s.JumpCloudID}}
		for _, k := range keys {
			if k.guid.IsZero() && k.id == "" {
				continue
			}
			v, err := l.Store.Verdict(s.Domain, dir, k.guid, k.id)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err == nil {
				v, err = l.withoutDone(s.Domain, v)
			}
			if err != nil {
				return err
			}
			if !v.IsEmpty() {
				s.Verdicts = append(s.Verdicts, v)
			}
		}
	}
	if s.JumpCloudID == "" {
		return l.tellNamesakes(s)
	}
	return nil
}

// tellNamesakes adds what sync says of a user or group at JumpCloud that has the
// name of an AD object without a link: why the two are not paired.
func (l *Local) tellNamesakes(s *Story) error {
	return l.Store.EachVerdict(s.Domain, func(v store.Verdict) {
		if v.Direction == identity.Sync && v.GUID.IsZero() && strings.EqualFold(v.Name, s.Name) && !v.IsEmpty() {
			s.Verdicts = append(s.Verdicts, v)
		}
	})
}

// withoutDone leaves out of a verdict what was carried out since: the next plan
// takes it away.
func (l *Local) withoutDone(domain string, v store.Verdict) (store.Verdict, error) {
	if len(v.Actions) == 0 || v.Direction != identity.Import || v.GUID.IsZero() {
		return v, nil
	}
	e, err := l.Store.NewestState(domain, v.GUID)
	if errors.Is(err, store.ErrNotFound) {
		return v, nil
	}
	if err == nil && e.Status == identity.StatusApplied && !e.Since.Before(v.Since) {
		v.Actions = nil
	}
	return v, err
}

// tellStatus says what the object is to the import.
func (l *Local) tellStatus(d store.Domain, o object, s *Story) error {
	linked, err := l.tellLink(o, s)
	switch {
	case err != nil:
		return err
	case linked && !o.seen:
		s.Status, s.Reason = Linked, notSeen
	case linked:
		s.Status = Linked
	case !o.seen && !o.guid.IsZero():
		s.Status, s.Reason = Gone, "not in Active Directory, as the last import saw it, and not linked"
	default:
		s.Status = Open
		for _, v := range s.Verdicts {
			if v.Skip != "" && len(v.Actions) == 0 {
				s.Status, s.Reason = Skipped, v.Skip
			}
		}
		if len(s.Verdicts) == 0 && !o.guid.IsZero() {
			return l.tellReason(d, o, s)
		}
	}
	return nil
}

// tellReason is for an object that no plan has spoken of yet.
func (l *Local) tellReason(d store.Domain, o object, s *Story) error {
	m, err := l.mirror(d.Name)
	if err != nil {
		s.Reason = err.Error()
		return nil
	}
	s.Status, s.Reason, err = m.status(o.guid)
	return err
}

func (l *Local) tellLink(o object, s *Story) (linked bool, err error) {
	if o.guid.IsZero() {
		return false, nil
	}
	if o.group {
		var link identity.GroupLink
		link, err = l.Store.GroupLink(s.Domain, o.guid)
		if linked = err == nil; linked {
			s.JumpCloudID, s.JumpCloud, s.LinkedAt, s.How = link.GroupID, link.Name, link.At, "found by its name"
			if link.Created {
				s.How = "made at JumpCloud by the import"
			}
		}
	} else {
		var link identity.Link
		link, err = l.Store.LinkByGUID(s.Domain, o.guid)
		if linked = err == nil; linked {
			s.JumpCloudID, s.JumpCloud, s.LinkedAt, s.How = link.JumpCloudID, link.Username, link.At, link.How
			s.PasswordAuthority, s.Delegation = link.PasswordAuthority, link.Delegation
			if s.How == "" && link.MadeInAD {
				s.How = "made in Active Directory by sync"
			}
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return linked, err
}

func (l *Local) tellEvents(s *Story) error {
	var entries []identity.Entry
	add := func(o store.ListOptions) error {
		o.Domain, o.Newest, o.Limit = s.Domain, true, storyChanges
		more, err := l.Store.List(o)
		s.Cut = s.Cut || len(more) == storyChanges
		for _, e := range more {
			if !slices.ContainsFunc(entries, func(known identity.Entry) bool { return known.Seq == e.Seq }) {
				entries = append(entries, e)
			}
		}
		return err
	}
	var err error
	if !s.GUID.IsZero() {
		err = add(store.ListOptions{Account: &s.GUID})
	}
	if err == nil && s.JumpCloudID != "" {
		err = add(store.ListOptions{CloudID: s.JumpCloudID})
	}
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b identity.Entry) int { return cmp.Compare(b.Seq, a.Seq) })
	records, whole, err := l.Store.Story(entries)
	if err != nil {
		return err
	}
	s.Cut = s.Cut || !whole
	for _, e := range entries {
		for _, r := range records[e.Seq] {
			if ev, told := event(e, r); told {
				s.Events = append(s.Events, ev)
			}
		}
	}
	slices.SortFunc(s.Events, func(a, b Event) int { return cmp.Compare(b.Seq, a.Seq) })
	return nil
}

// event is a record in words; not told: it says what the one before says.
func event(e identity.Entry, r store.Record) (ev Event, told bool) {
	ev = Event{Seq: r.Seq, At: r.At, Change: e.Seq, Direction: e.Direction, Kind: e.Kind, Type: r.Type, Detail: r.Reason, Next: r.NextTry}
	from, to := "Active Directory", "JumpCloud"
	if e.Direction == identity.Sync {
		from, to = to, from
	}
	switch r.Type {
	case store.RecordIntent:
		ev.What, ev.Detail = intentWords(e, from), e.Actor
		if e.Kind.IsState() && e.Actor == "" {
			ev.Detail = e.Account.DN
		}
	case store.RecordAccepted:
		if e.Kind.IsState() {
			return ev, false
		}
		ev.What = "accepted by " + from
	case store.RecordRefused:
		ev.What = "refused by " + from
	case store.RecordUnknown:
		ev.What = from + " was asked, and no answer was seen"
	case store.RecordProbe:
		ev.What = "a bind with the new password asks whether " + from + " took it"
	case store.RecordAttempt:
		ev.What = "attempt to write it to " + to
		if e.Kind.IsState() {
			ev.Detail = r.Evidence
		}
	case store.RecordApplied:
		ev.What = to + " has it"
	case store.RecordLanded:
		ev.What = to + " has it, though a newer change had made it pointless meanwhile"
	case store.RecordDeferred:
		ev.What = "not written: there will be another attempt"
	case store.RecordUnanswered:
		ev.What = to + " did not answer: it is looked at again before another attempt"
	case store.RecordPostponed:
		ev.What = "put off: it cannot be written now"
	case store.RecordDead:
		ev.What = "refused by " + to + ": a dead letter"
	case store.RecordRetried:
		ev.What = "a person wants another attempt"
	case store.RecordDiscarded:
		ev.What = "given up"
	case store.RecordSuperseded:
		ev.What, ev.Detail = "made pointless by a newer change", fmt.Sprintf("change %d", r.By)
	case store.RecordHeld:
		ev.What = "held by the guard of " + r.Class
	case store.RecordApproved:
		ev.What = "let pass by a person"
	default:
		ev.What = string(r.Type)
	}
	return ev, true
}

func intentWords(e identity.Entry, from string) string {
	switch {
	case e.Kind.IsState() && e.Actor != "":
		return "to be compared on both sides, because a person asked"
	case e.Kind == identity.GroupChange:
		return "the group, or what it depends on, changed in " + from
	case e.Kind.IsState():
		return "the account, or what it depends on, changed in " + from
	case e.Kind == identity.PasswordReset:
		return "password reset"
	case e.Kind == identity.PasswordAdd:
		return "account made with a password"
	case e.Kind == identity.PasswordChange:
		return "password change"
	}
	return string(e.Kind)
}

// Why tells the story of a user.
func (c *Client) Why(ctx context.Context, domain, name string) (Story, error) {
	return call[Story](ctx, c, pathWhy, named{Domain: domain, Name: name})
}

// GroupWhy tells the story of a group.
func (c *Client) GroupWhy(ctx context.Context, domain, name string) (Story, error) {
	return call[Story](ctx, c, pathGroupWhy, named{Domain: domain, Name: name})
}
