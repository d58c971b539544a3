package jumpcloud

import (
	"context"
	"errors"
	"strings"
	"time"
)

// poll asks Directory Insights what was changed, unless that would take more
// than its part of the share. w.told is when it last told everything since the
// poll before; zero: everything is to be listed. A failure is no obstacle.
func (w *Watcher) poll(ctx context.Context, now time.Time) error {
	if w.cfg.Insights == nil || now.Before(w.pollAt) {
		return nil
	}
	before := w.used
	ok, err := w.ask(ctx, now)
	perSecond := w.cfg.Share * w.cfg.Client.cfg.RequestsPerSecond
	w.pollAt = now.Add(time.Duration(pollCost * float64(w.used-before) / perSecond * float64(time.Second)))
	if w.told = now; !ok {
		w.told, w.pollAt = time.Time{}, now.Add(w.cfg.Interval)
	}
	return err
}

// pollCost is how much of the share is left for others, for each request for
// events: as much again.
const pollCost = 2

// ask queues what events say was changed; ok: they are all since the last ones.
func (w *Watcher) ask(ctx context.Context, now time.Time) (ok bool, err error) {
	i := w.cfg.Insights
	i.client = w.client.at(i.client.base, i.client.basePath)
	events, err := i.events(ctx)
	var first *offError
	switch {
	case errors.Is(err, errTooMany):
		w.mu.Lock()
		w.urgent.all = true
		w.mu.Unlock()
		return false, nil
	case errors.As(err, &first):
		return false, err
	case errors.Is(err, errOff):
		return false, nil
	case err != nil:
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range events {
		w.heard(&events[k], now)
	}
	// Reading users one by one costs a request each, and a list one for a
	// hundred.
	if users := len(w.draft.Users); w.draft.whole && len(w.urgent.queue) > 50+users/50 {
		w.urgent = urgent{all: true, later: w.urgent.later}
	}
	return true, nil
}

// heard queues what an event says was changed. Types and values that are not
// known say nothing. Callers hold mu.
func (w *Watcher) heard(e *event, now time.Time) {
	switch kind := strings.ToLower(e.Type); {
	case kind == "association_change":
		w.heardEdge(node(e.Association.Connection.From), node(e.Association.Connection.To))
	case strings.HasPrefix(kind, "user_"):
		if e.Resource.ID == "" {
			w.urgent.all = true
			return
		}
		if !strings.EqualFold(e.AuthMethod, "session") && w.marks.mine(e.Resource.ID, now) {
			w.urgent.putOff(e.Resource.ID, now.Add(ownAfter))
			return
		}
		w.urgent.add(toRead{kindUser, e.Resource.ID})
	case strings.HasPrefix(kind, "group_"):
		if e.Resource.ID == "" {
			w.urgent.all = true
			return
		}
		w.urgent.add(toRead{kindGroup, e.Resource.ID})
	case strings.HasPrefix(kind, "integrationattribute_"):
		w.urgent.add(toRead{kind: kindRules})
	case strings.HasPrefix(kind, "activedirectory_"):
		if e.Resource.ID == w.cfg.ADID {
			w.urgent.all = true
		}
	}
}

// end is one end of an edge: a type as the API spells it, and an id.
type end struct{ kind, id string }

func node(n edgeNode) end { return end{strings.ToLower(n.Type), n.ID} }

// heardEdge queues an edge that came or went. It may be told from either end.
func (w *Watcher) heardEdge(a, b end) {
	if a.kind == "" || b.kind == "" || a.id == "" || b.id == "" {
		w.urgent.all = true
		return
	}
	for _, edge := range [][2]end{{a, b}, {b, a}} {
		from, to := edge[0], edge[1]
		user := to.kind == targetUser || to.kind == "systemuser"
		switch {
		case from.kind == targetGroup && user:
			if g, known := w.draft.Groups[from.id]; !known {
				w.urgent.add(toRead{kindGroup, from.id})
			} else if w.wants(g) {
				w.urgent.add(toRead{kindMembers, from.id})
			}
		case from.kind == targetDirectory && from.id == w.cfg.ADID && user:
			w.urgent.add(toRead{kindBoundUser, to.id})
		case from.kind == targetDirectory && from.id == w.cfg.ADID && to.kind == targetGroup:
			w.urgent.add(toRead{kindBoundGroup, to.id})
		}
	}
}
