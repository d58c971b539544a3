package jumpcloud

import "time"

// kind of something to be read.
type kind int

const (
	kindUser kind = iota
	kindGroup
	kindMembers
	kindBoundUser
	kindBoundGroup
	kindRules    // all
	kindNewUsers // the end of the list
)

// toRead is something that is to be read soon.
type toRead struct {
	kind kind
	id   string // of the kinds that have one
}

func (w *Watcher) reading(r toRead) reading {
	switch r.kind {
	case kindUser:
		return userRead{r.id}
	case kindGroup:
		return groupRead{r.id}
	case kindMembers:
		return w.memberList(r.id)
	case kindBoundUser:
		return w.boundTo(targetUser, r.id)
	case kindBoundGroup:
		return w.boundTo(targetGroup, r.id)
	case kindNewUsers:
		return &newUsers{}
	}
	return rulesRead{}
}

// urgent is what was named to be read. Each thing is named once, until it is
// begun.
type urgent struct {
	all    bool // everything, by new lists
	queue  []toRead
	queued map[toRead]bool
	later  map[string]time.Time // users, and from when on
}

func (u *urgent) add(r toRead) {
	if u.queued == nil {
		u.queued = make(map[toRead]bool)
	}
	if !u.queued[r] {
		u.queued[r] = true
		u.queue = append(u.queue, r)
	}
}

func (u *urgent) pop() (toRead, bool) {
	if len(u.queue) == 0 {
		return toRead{}, false
	}
	r := u.queue[0]
	u.queue = u.queue[1:]
	delete(u.queued, r)
	return r, true
}

func (u *urgent) empty() bool { return len(u.queue) == 0 && !u.all }

// due moves what was put off.
func (u *urgent) due(now time.Time) {
	for id, at := range u.later {
		if !now.Before(at) {
			u.add(toRead{kindUser, id})
			delete(u.later, id)
		}
	}
}

func (u *urgent) putOff(userID string, until time.Time) {
	if u.later == nil {
		u.later = make(map[string]time.Time)
	}
	if _, ok := u.later[userID]; !ok {
		u.later[userID] = until
	}
}
