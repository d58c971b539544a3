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

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

const (
	pathUsers  = "/v1/users"
	pathGroups = "/v1/groups"
	pathGroup  = "/v1/group"
)

// What a user or group of AD is to an import.
const (
	Linked  = "linked"  // it has a user or group at JumpCloud
	Skipped = "skipped" // it gets none, for a reason that AD or the settings give
	Open    = "open"    // it has none, or none yet: JumpCloud's side decides
)

// MirrorQuery selects users or groups.
type MirrorQuery struct {
	Domain string `json:"domain,omitempty"` // empty: the only one
	Status string `json:"status,omitempty"` // empty: all
}

// UserRow is one account as the last import saw it, or a JumpCloud user of whom
// sync makes none.
type UserRow struct {
	GUID     identity.GUID `json:"guid"`     // zero without an account
	Username string        `json:"username"` // AD's
	Mail     string        `json:"mail,omitempty"`
	DN       string        `json:"dn,omitempty"`
	Status   string        `json:"status"`
	Reason   string        `json:"reason,omitempty"`
	// Of the link.
	JumpCloudID string    `json:"jumpcloudId,omitempty"`
	JumpCloud   string    `json:"jumpcloudUsername,omitempty"` // at the join
	LinkedAt    time.Time `json:"linkedAt,omitzero"`
}

// GroupRow is one group as the last import saw it, or a JumpCloud group of which
// sync makes none.
type GroupRow struct {
	GUID    identity.GUID `json:"guid"` // zero without an AD group
	Name    string        `json:"name"`
	DN      string        `json:"dn,omitempty"`
	Status  string        `json:"status"`
	Reason  string        `json:"reason,omitempty"`
	Members int           `json:"members"` // accounts in scope, in it and in the groups within it
	// Of the link.
	GroupID   string    `json:"jumpcloudId,omitempty"`
	JumpCloud string    `json:"jumpcloudName,omitempty"` // at the join
	LinkedAt  time.Time `json:"linkedAt,omitzero"`
}

// GroupView is a group with who is in it.
type GroupView struct {
	GroupRow
	Description string    `json:"description,omitempty"`
	Groups      []string  `json:"groups"` // names of its direct members that are groups
	People      []UserRow `json:"people"` // its Members
}

func serveMirror(mux *http.ServeMux, b Backend) {
	serve(mux, pathUsers, func(ctx context.Context, q MirrorQuery) ([]UserRow, error) { return b.Users(ctx, q) })
	serve(mux, pathGroups, func(ctx context.Context, q MirrorQuery) ([]GroupRow, error) { return b.Groups(ctx, q) })
	serve(mux, pathGroup, func(ctx context.Context, q named) (GroupView, error) { return b.Group(ctx, q.Domain, q.Name) })
}

// mirrored is the mirror of a domain, and why who is not linked is not.
type mirrored struct {
	store   *store.Store
	world   plan.World
	scope   *plan.Scope
	reasons map[identity.GUID]string
}

func (l *Local) mirror(domain string) (*mirrored, error) {
	d, err := l.pick(domain)
	if err != nil {
		return nil, err
	}
	w, err := reconcile.Known(l.Store, d, l.Now())
	if err != nil {
		return nil, err
	}
	return &mirrored{store: l.Store, world: w, scope: plan.NewScope(w.Tree), reasons: plan.Reasons(w)}, nil
}

// notSeen: a linked account or group that AD's mirror does not have.
const notSeen = "not seen in Active Directory by the last import"

// status is that of what has no link.
func (m *mirrored) status(guid identity.GUID) (status, reason string, err error) {
	if reason := m.reasons[guid]; reason != "" {
		return Skipped, reason, nil
	}
	e, err := m.store.NewestState(m.world.Domain, guid)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Open, "see `dirgate replicate plan`", nil
	case err != nil:
		return "", "", err
	case e.Reason != "":
		return Open, fmt.Sprintf("change %s is %s: %s", e.Seq, e.Status, e.Reason), nil
	}
	return Open, fmt.Sprintf("change %s is %s", e.Seq, e.Status), nil
}

func (m *mirrored) user(guid identity.GUID) (row UserRow, err error) {
	u, seen := m.world.Users[guid]
	link, linked := m.world.Links[guid]
	row = UserRow{GUID: guid, Username: link.Username, JumpCloudID: link.JumpCloudID, JumpCloud: link.Username, LinkedAt: link.At}
	if seen {
		row.Username, row.Mail, row.DN = u.Username, u.JoinMail(), u.DN
	}
	switch {
	case linked && !seen:
		row.Status, row.Reason = Linked, notSeen
	case linked:
		row.Status, row.Reason = Linked, ByUs(link)
	default:
		row.Status, row.Reason, err = m.status(guid)
	}
	return row, err
}

// ByUs says what replication did to a linked user that it also takes back;
// empty: nothing.
func ByUs(link identity.Link) string {
	switch {
	case link.DisabledByUs:
		return "disabled in Active Directory by sync: activating the user in JumpCloud enables the account"
	case link.SuspendedByUs:
		return "suspended at JumpCloud by the import: enabling the account in Active Directory activates the user"
	}
	return ""
}

func (m *mirrored) group(guid identity.GUID) (row GroupRow, err error) {
	g, seen := m.world.Groups[guid]
	link, linked := m.world.GroupLinks[guid]
	row = GroupRow{GUID: guid, Name: cmp.Or(g.Name, link.Name), DN: g.DN, Members: len(m.scope.Members(guid)),
		GroupID: link.GroupID, JumpCloud: link.Name, LinkedAt: link.At}
	switch {
	case linked && !seen:
		row.Status, row.Reason = Linked, notSeen
	case linked:
		row.Status = Linked
	default:
		row.Status, row.Reason, err = m.status(guid)
	}
	return row, err
}

// rows makes those of two maps' keys, in the order of their names.
func rows[A, B, R any](seen map[identity.GUID]A, linked map[identity.GUID]B, row func(identity.GUID) (R, error), keep func(R) bool, name func(R) string) ([]R, error) {
	var all []R
	add := func(guid identity.GUID) error {
		r, err := row(guid)
		if err == nil && keep(r) {
			all = append(all, r)
		}
		return err
	}
	for guid := range seen {
		if err := add(guid); err != nil {
			return nil, err
		}
	}
	for guid := range linked {
		if _, ok := seen[guid]; ok {
			continue
		}
		if err := add(guid); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b R) int { return strings.Compare(name(a), name(b)) })
	return all, nil
}

// order is that of people's lists; the objectGUID makes it whole.
func order(name string, guid identity.GUID) string {
	return strings.ToLower(name) + "\x00" + guid.String()
}

// Users lists the accounts that the last import saw, and those that are
// linked, by name.
func (l *Local) Users(_ context.Context, q MirrorQuery) ([]UserRow, error) {
	m, err := l.mirror(q.Domain)
	if err != nil {
		return nil, err
	}
	all, err := rows(m.world.Users, m.world.Links, m.user,
		func(UserRow) bool { return true }, func(r UserRow) string { return order(r.Username, r.GUID) })
	if err != nil {
		return nil, err
	}
	all, err = m.skippedUsers(all)
	return slices.DeleteFunc(all, func(r UserRow) bool { return q.Status != "" && q.Status != r.Status }), err
}

// Groups lists the groups that the last import saw, and those that are linked,
// by name.
func (l *Local) Groups(_ context.Context, q MirrorQuery) ([]GroupRow, error) {
	m, err := l.mirror(q.Domain)
	if err != nil {
		return nil, err
	}
	all, err := m.groups("")
	if err != nil {
		return nil, err
	}
	all, err = m.skippedGroups(all)
	return slices.DeleteFunc(all, func(r GroupRow) bool { return q.Status != "" && q.Status != r.Status }), err
}

func (m *mirrored) groups(status string) ([]GroupRow, error) {
	return rows(m.world.Groups, m.world.GroupLinks, m.group,
		func(r GroupRow) bool { return status == "" || status == r.Status },
		func(r GroupRow) string { return order(r.Name, r.GUID) })
}

// Group shows a group that is named by its sAMAccountName, DN or objectGUID.
func (l *Local) Group(_ context.Context, domain, name string) (GroupView, error) {
	m, err := l.mirror(domain)
	if err != nil {
		return GroupView{}, err
	}
	all, err := m.groups("")
	if err != nil {
		return GroupView{}, err
	}
	is := func(r GroupRow) bool {
		return strings.EqualFold(r.Name, name) || strings.EqualFold(r.DN, name) || strings.EqualFold(r.GUID.String(), name)
	}
	at := slices.IndexFunc(all, is)
	if at < 0 {
		return GroupView{}, fmt.Errorf("group %q of %s: the last import saw none of that name; see `dirgate group list`: %w", name, m.world.Domain, store.ErrNotFound)
	}
	return m.view(all[at])
}

func (m *mirrored) view(row GroupRow) (GroupView, error) {
	g := m.world.Groups[row.GUID]
	v := GroupView{GroupRow: row, Description: g.Description, Groups: []string{}, People: []UserRow{}}
	for _, member := range g.Members {
		if inner, ok := m.world.Groups[member]; ok {
			v.Groups = append(v.Groups, inner.Name)
		}
	}
	slices.Sort(v.Groups)
	for _, guid := range m.scope.Members(row.GUID) {
		u, err := m.user(guid)
		if err != nil {
			return v, err
		}
		v.People = append(v.People, u)
	}
	slices.SortFunc(v.People, func(a, b UserRow) int { return strings.Compare(order(a.Username, a.GUID), order(b.Username, b.GUID)) })
	return v, nil
}

// Users lists the accounts that the last import saw.
func (c *Client) Users(ctx context.Context, q MirrorQuery) ([]UserRow, error) {
	return call[[]UserRow](ctx, c, pathUsers, q)
}

// Groups lists the groups that the last import saw.
func (c *Client) Groups(ctx context.Context, q MirrorQuery) ([]GroupRow, error) {
	return call[[]GroupRow](ctx, c, pathGroups, q)
}

// Group shows one group.
func (c *Client) Group(ctx context.Context, domain, name string) (GroupView, error) {
	return call[GroupView](ctx, c, pathGroup, named{Domain: domain, Name: name})
}
