package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// object is an account or a group that a name stands for.
type object struct {
	guid    identity.GUID
	cloudID string // of JumpCloud; empty: none, or not known
	name    string // the present one in AD, as far as it is known
	dn      string
	group   bool
	seen    bool // Active Directory had it when it was last read
}

// found is an object by the way in which a name is its own: the lower the
// nearer.
type found struct {
	object
	rank int
}

const (
	byID = iota
	byName
	byUPN
	byDN
	byMail
	byLink
	byVerdict
)

// find says which user, or group, of a domain a name means: an objectGUID, a
// sAMAccountName, userPrincipalName, DN or mail address, or the username or id
// at JumpCloud. Who is not there any more is found by what the log says of
// him. AD is asked only for what the last import did not see.
func (l *Local) find(ctx context.Context, d store.Domain, name string, group bool) (object, error) {
	all, err := l.candidates(d, name, group)
	if err != nil {
		return object{}, err
	}
	if len(all) == 0 {
		return l.findElsewhere(ctx, d, name, group)
	}
	best := slices.MinFunc(all, func(a, b found) int { return cmp.Compare(a.rank, b.rank) })
	all = slices.DeleteFunc(all, func(f found) bool { return f.rank != best.rank || f.guid == best.guid && f.cloudID == best.cloudID })
	if len(all) > 0 {
		return object{}, fmt.Errorf("several of %s have the name %q: give an objectGUID: %s, %s", d.Name, name, best.guid, all[0].guid)
	}
	return best.object, nil
}

// candidates are those that the store has under a name.
func (l *Local) candidates(d store.Domain, name string, group bool) (all []found, err error) {
	is := func(value string) bool { return value != "" && strings.EqualFold(value, name) }
	asked, _ := identity.ParseGUID(name)
	add := func(o object, rank int) { all = append(all, found{o, rank}) }
	linked := func(guid identity.GUID, id, username string) {
		o := object{guid: guid, cloudID: id, name: username, group: group}
		switch {
		case id == name || guid == asked:
			add(o, byID)
		case is(username):
			add(o, byLink)
		}
	}
	if group {
		links, err := l.Store.GroupLinks(d.Name)
		if err != nil {
			return nil, err
		}
		for _, g := range links {
			linked(g.GUID, g.GroupID, g.Name)
		}
	} else {
		links, err := l.Store.Links(d.Name)
		if err != nil {
			return nil, err
		}
		for _, u := range links {
			linked(u.GUID, u.JumpCloudID, u.Username)
		}
	}
	err = l.Store.EachMirrored(d.Name, func(u *identity.User, g *identity.Group) {
		if u == nil || group {
			if g != nil && group {
				rankOf(object{guid: g.GUID, name: g.Name, dn: g.DN, group: true}, "", "", asked, is, add)
			}
			return
		}
		rankOf(object{guid: u.GUID, name: u.Username, dn: u.DN}, u.UPN, u.Mail, asked, is, add)
	})
	if err != nil || len(all) > 0 {
		return l.complete(d, all), err
	}
	err = l.Store.EachVerdict(d.Name, func(v store.Verdict) {
		if v.GUID.IsZero() && (v.CloudID == name || is(v.Name)) {
			add(object{cloudID: v.CloudID, name: v.Name}, byVerdict)
		}
	})
	return all, err
}

// rankOf adds a mirrored object, if the name is one of its own.
func rankOf(o object, upn, mail string, asked identity.GUID, is func(string) bool, add func(object, int)) {
	switch {
	case o.guid == asked:
		add(o, byID)
	case is(o.name):
		add(o, byName)
	case is(upn):
		add(o, byUPN)
	case is(o.dn):
		add(o, byDN)
	case is(mail):
		add(o, byMail)
	}
}

// complete joins what link and mirror say.
func (l *Local) complete(d store.Domain, all []found) []found {
	for n := range all {
		o := &all[n].object
		if o.group {
			if g, err := l.Store.MirrorGroup(d.Name, o.guid); err == nil {
				o.name, o.dn, o.seen = g.Name, g.DN, true
			}
			if link, err := l.Store.GroupLink(d.Name, o.guid); err == nil {
				o.cloudID = link.GroupID
			}
			continue
		}
		if u, err := l.Store.MirrorUser(d.Name, o.guid); err == nil {
			o.name, o.dn, o.seen = u.Username, u.DN, true
		}
		if link, err := l.Store.LinkByGUID(d.Name, o.guid); err == nil {
			o.cloudID = link.JumpCloudID
		}
	}
	return all
}

// findElsewhere asks AD, and then the log.
func (l *Local) findElsewhere(ctx context.Context, d store.Domain, name string, group bool) (object, error) {
	var away error
	if !group && l.Peers != nil {
		peers, err := l.Peers(d.Name)
		if err == nil {
			var u identity.User
			if u, err = peers.AD.FindUser(ctx, d.BaseDN, name); err == nil {
				return l.complete(d, []found{{object: object{guid: u.GUID, name: u.Username, dn: u.DN, seen: true}}})[0].object, nil
			}
		}
		if !errors.Is(err, ad.ErrNotFound) {
			away = err
		}
	}
	asked, _ := identity.ParseGUID(name)
	e, err := l.Store.Newest(d.Name, func(e identity.Entry) bool {
		a := e.Account
		return (e.Kind == identity.GroupChange) == group &&
			(strings.EqualFold(a.SAM, name) || strings.EqualFold(a.DN, name) || e.CloudID == name || !asked.IsZero() && a.GUID == asked)
	})
	switch {
	case err == nil && e.Account.GUID.IsZero():
		return object{cloudID: e.CloudID, name: e.Account.SAM, dn: e.Account.DN, group: group}, nil
	case err == nil:
		return l.complete(d, []found{{object: object{guid: e.Account.GUID, cloudID: e.CloudID, name: e.Account.SAM, dn: e.Account.DN, group: group}}})[0].object, nil
	case !errors.Is(err, store.ErrNotFound):
		return object{}, err
	}
	what := "user"
	if group {
		what = "group"
	}
	err = fmt.Errorf("%s %q of %s: no import saw one of that name, and the change log has none; see `dirgate %s list`: %w", what, name, d.Name, what, store.ErrNotFound)
	if away != nil {
		err = fmt.Errorf("%w; Active Directory could not be asked: %w", err, away)
	}
	return object{}, err
}
