package jumpcloud

import (
	"context"
	"net/url"
	"slices"

	"github.com/dirgate/dirgate/store/identity"
)

// mark is called before a request whose answer tells of users.
func (w *Watcher) mark() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.marks.begin()
}

// took puts rows of users into the state. What was told of a user meanwhile is
// newer, or older, than the row: it is read again.
func (w *Watcher) took(rows []User, turn int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range rows {
		if id := rows[i].ID; w.marks.stale(id, turn) {
			w.urgent.add(toRead{kindUser, id})
		} else {
			w.draft.user(&rows[i], w.cfg.ADID)
		}
	}
}

// userList lists all users; then those that were not listed are asked for.
type userList struct {
	walk    userWalk
	seen    map[string]bool
	missing []string
}

func (r *userList) step(ctx context.Context, w *Watcher) (bool, error) {
	if len(r.missing) > 0 {
		if _, err := (userRead{r.missing[0]}).step(ctx, w); err != nil {
			return false, err
		}
		r.missing = r.missing[1:]
		w.mu.Lock()
		defer w.mu.Unlock()
		w.draft.missing = r.missing
		return len(r.missing) == 0, nil
	}
	if r.seen == nil {
		r.seen = make(map[string]bool)
	}
	turn := w.mark()
	rows, err := r.walk.next(ctx, w.client)
	for i := range rows {
		r.seen[rows[i].ID] = true
	}
	w.took(rows, turn)
	if err != nil {
		if r.walk.broken {
			*r = userList{}
		}
		return false, err
	}
	if !r.walk.done {
		return false, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.draft.Users {
		if !r.seen[id] {
			r.missing = append(r.missing, id)
		}
	}
	slices.Sort(r.missing)
	w.draft.missing = r.missing
	return len(r.missing) == 0, nil
}

// newUsers reads the end of the list of users, where new ones are.
type newUsers struct{ walk *userWalk }

func (r *newUsers) step(ctx context.Context, w *Watcher) (bool, error) {
	if r.walk == nil {
		r.walk = &userWalk{}
		w.mu.Lock()
		for id := range w.draft.Users {
			r.walk.last = max(r.walk.last, id)
		}
		r.walk.given = len(w.draft.Users)
		w.mu.Unlock()
		r.walk.skip = max(0, r.walk.given-1)
	}
	turn := w.mark()
	rows, err := r.walk.next(ctx, w.client)
	w.took(rows, turn)
	if r.walk.broken {
		return true, nil // users have gone, or were missed: the list will tell
	}
	return r.walk.done, err
}

// userRead reads one user by its id.
type userRead struct{ id string }

func (r userRead) step(ctx context.Context, w *Watcher) (bool, error) {
	turn := w.mark()
	u, err := w.client.User(ctx, r.id)
	switch {
	case NotFound(err):
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.marks.stale(r.id, turn) {
			w.urgent.add(toRead{kindUser, r.id})
		} else {
			w.gone(r.id)
		}
	case err != nil:
		return false, err
	case u.ID != r.id:
		return false, w.client.hollow("GET", "/api/systemusers/"+r.id, "the answer is about another user")
	default:
		w.took([]User{u}, turn)
	}
	return true, nil
}

// gone takes a user out of the state. Who had it as manager has none now, which
// no event tells. Callers hold mu.
func (w *Watcher) gone(id string) {
	w.draft.userGone(id)
	for other, u := range w.draft.Users {
		if u.Manager.ID == id {
			w.urgent.add(toRead{kindUser, other})
		}
	}
}

// groupList lists all groups; then those that were not listed are asked for.
type groupList struct {
	walk    *rowWalk[Group]
	missing []string
}

func (r *groupList) step(ctx context.Context, w *Watcher) (bool, error) {
	if len(r.missing) > 0 {
		if _, err := (groupRead{r.missing[0]}).step(ctx, w); err != nil {
			return false, err
		}
		r.missing = r.missing[1:]
		return len(r.missing) == 0, nil
	}
	if r.walk == nil {
		r.walk = newRowWalk(userGroups, sorted("id"), func(g Group) string { return g.ID })
	}
	rows, err := r.walk.next(ctx, w.client)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range rows {
		w.draft.group(&rows[i])
	}
	if err != nil {
		if r.walk.broken {
			r.walk = nil
		}
		return false, err
	}
	if !r.walk.done {
		return false, nil
	}
	for id := range w.draft.Groups {
		if !r.walk.seen[id] {
			r.missing = append(r.missing, id)
		}
	}
	slices.Sort(r.missing)
	return len(r.missing) == 0, nil
}

// groupRead reads one group by its id, and then its members if they are wanted.
type groupRead struct{ id string }

func (r groupRead) step(ctx context.Context, w *Watcher) (bool, error) {
	g, err := w.client.Group(ctx, r.id)
	if err == nil && g.ID != r.id {
		err = w.client.hollow("GET", userGroups+"/"+r.id, "the answer is about another group")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case NotFound(err):
		w.draft.groupGone(r.id)
	case err != nil:
		return false, err
	default:
		w.draft.group(&g)
		if w.wants(w.draft.Groups[r.id]) {
			w.urgent.add(toRead{kindMembers, r.id})
		}
	}
	return true, nil
}

// wants reports whether a group's members are read. Callers hold mu.
func (w *Watcher) wants(g identity.Group) bool {
	return w.draft.BoundGroups[g.ID] || w.cfg.Wanted(g)
}

// wantedNow are the groups whose members are wanted and not known: what is
// wanted changes. Callers hold mu.
func (w *Watcher) wantedNow() (ids []string) {
	if !w.draft.whole {
		return nil
	}
	for id, g := range w.draft.Groups {
		if !w.draft.Members[id] && w.wants(g) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// memberLists are the lists of the members of all groups that are wanted.
func (w *Watcher) memberLists() (all []reading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for id, g := range w.draft.Groups {
		if w.wants(g) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		all = append(all, w.memberList(id))
	}
	return all
}

// edgeList reads what an object's edges of one kind lead to. Where edges are
// missing that were known, all is read once more, and what either list has
// stays.
type edgeList struct {
	path   string
	query  url.Values
	target string
	known  func() []string    // callers hold mu
	apply  func(ids []string) // sorted; callers hold mu
	gone   func()             // JumpCloud does not have the object; callers hold mu

	walk  *rowWalk[connection]
	found map[string]bool
	again bool
}

func (r *edgeList) step(ctx context.Context, w *Watcher) (bool, error) {
	if r.walk == nil {
		r.walk = newRowWalk(r.path, r.query, func(c connection) string { return c.To.ID })
	}
	if r.found == nil {
		r.found = make(map[string]bool)
	}
	rows, err := r.walk.next(ctx, w.client)
	for _, row := range rows {
		if row.To.Type == r.target {
			r.found[row.To.ID] = true
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case NotFound(err) && r.gone != nil:
		r.gone()
		return true, nil
	case err != nil:
		if r.walk.broken {
			r.walk, r.found, r.again = nil, nil, false
		}
		return false, err
	case !r.walk.done:
		return false, nil
	}
	if lost := slices.ContainsFunc(r.known(), func(id string) bool { return !r.found[id] }); lost && !r.again {
		r.again, r.walk = true, nil
		return false, nil
	}
	r.apply(sortedKeys(r.found))
	return true, nil
}

// memberList reads a group's members.
func (w *Watcher) memberList(id string) *edgeList {
	return &edgeList{path: userGroups + "/" + id + "/members", target: targetUser,
		known: func() []string { return w.draft.Groups[id].MemberIDs },
		apply: func(ids []string) { w.draft.setMembers(id, ids) },
		gone:  func() { w.urgent.add(toRead{kindGroup, id}) }}
}

// boundList reads all users or groups that are bound to the AD object.
func (w *Watcher) boundList(target string) *edgeList {
	bound := func() map[string]bool {
		if target == targetGroup {
			return w.draft.BoundGroups
		}
		return w.draft.BoundUsers
	}
	set := w.draft.setBoundUser
	if target == targetGroup {
		set = w.draft.setBoundGroup
	}
	return &edgeList{path: directories + "/" + w.cfg.ADID + "/associations", target: target, query: url.Values{"targets": {target}},
		known: func() []string { return sortedKeys(bound()) },
		apply: func(ids []string) {
			for _, id := range sortedKeys(bound()) {
				if _, still := slices.BinarySearch(ids, id); !still {
					set(id, false)
				}
			}
			for _, id := range ids {
				set(id, true)
			}
		}}
}

// boundTo reads whether one user or group is bound to the AD object.
func (w *Watcher) boundTo(target, id string) *edgeList {
	bound, set, path, gone := func() bool { return w.draft.BoundUsers[id] }, w.draft.setBoundUser, usersV2, kindUser
	if target == targetGroup {
		bound, set, path, gone = func() bool { return w.draft.BoundGroups[id] }, w.draft.setBoundGroup, userGroups, kindGroup
	}
	return &edgeList{path: path + "/" + id + "/associations", target: targetDirectory, query: url.Values{"targets": {targetDirectory}},
		known: func() []string {
			if bound() {
				return []string{w.cfg.ADID}
			}
			return nil
		},
		apply: func(ids []string) { set(id, slices.Contains(ids, w.cfg.ADID)) },
		gone:  func() { w.urgent.add(toRead{gone, id}) }}
}

const (
	usersV2         = "/api/v2/users"
	targetDirectory = "active_directory"
)

// rulesRead reads the translation rules.
type rulesRead struct{}

func (rulesRead) step(ctx context.Context, w *Watcher) (bool, error) {
	rules, err := w.client.TranslationRules(ctx, w.cfg.ADID)
	if Refused(err) && !Temporary(err) {
		w.cfg.Log.Debug("JumpCloud gives no translation rules", "err", err)
		return true, nil
	}
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draft.setRules(rules)
	return true, nil
}
