package adsim

import (
	"sync"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// maxNotifications is how many watches a connection may have
// (MaxNotificationPerConn).
const maxNotifications = 5

// A watch is a search that goes on (MS-ADTS 3.1.1.3.4.1.9).
type watch struct {
	dir    *Directory
	id     Identity
	search Search
	base   *entry
	wake   chan struct{} // holds one
	stop   chan struct{}

	changed []guid // guarded by Directory.mu
}

// Watch begins to collect what changes.
func (d *Directory) Watch(id Identity, s Search) (*watch, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, refusal := d.actor(id); refusal != nil {
		return nil, refusal
	}
	base, refusal := d.resolve(s.Base)
	if refusal != nil {
		return nil, refusal
	}
	w := &watch{dir: d, id: id, search: s, base: base, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	d.watches[w] = struct{}{}
	return w, nil
}

// notify is given the lock.
func (d *Directory) notify(e *entry) {
	for w := range d.watches {
		if !d.inScope(e, w.base, w.search.Scope) {
			continue
		}
		w.changed = append(w.changed, e.guid)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// take returns what has changed since it was last called.
func (w *watch) take() []Entry {
	w.dir.mu.Lock()
	defer w.dir.mu.Unlock()
	guids := w.changed
	w.changed = nil
	actor, refusal := w.dir.actor(w.id)
	if refusal != nil {
		return nil
	}
	var out []Entry
	for _, g := range guids {
		e := w.dir.byGUID(g)
		if e == nil || e.deleted && !(w.search.ShowDeleted && w.dir.may(actor, maySeeDeleted)) {
			continue
		}
		out = append(out, w.dir.render([]guid{g}, w.search)...)
	}
	return out
}

func (w *watch) close() {
	w.dir.mu.Lock()
	delete(w.dir.watches, w)
	w.dir.mu.Unlock()
	close(w.stop)
}

// watches are those of a session, by the ID of their message.
type watches struct {
	byID map[int32]*watch
	done sync.WaitGroup
}

// notification registers a watch; it is answered only if it is refused.
func (s *session) notification(m ldapwire.Message, r ldapwire.SearchRequest, q Search) []byte {
	if string(r.Filter) != "\x87\x0bobjectClass" && string(r.Filter) != "\x87\x0bobjectclass" {
		return appendRefusal(nil, m, unwilling(0x20b9))
	}
	if len(s.watches.byID) >= maxNotifications {
		return appendRefusal(nil, m, &Refusal{Code: ldapwire.ResultAdminLimitExceeded,
			Text: "00002024: SvcErr: DSID-03200414, problem 5008 (ADMIN_LIMIT_EXCEEDED), data 0\n\x00"})
	}
	w, err := s.srv.Watch(s.identity(), q)
	if err != nil {
		return appendRefusal(nil, m, refusalOf(err))
	}
	if s.watches.byID == nil {
		s.watches.byID = make(map[int32]*watch)
	}
	s.watches.byID[m.ID] = w
	s.watches.done.Go(func() { s.pump(m.ID, w) })
	return nil
}

// pump sends what changes until the watch ends.
func (s *session) pump(id int32, w *watch) {
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
		}
		for _, e := range w.take() {
			if !s.write(ldapwire.AppendSearchEntry(nil, id, e.DN, encodable(e.Attributes))) {
				_ = s.conn.Close()
				return
			}
		}
	}
}

// abandon ends a watch. Other requests are served at once: there is nothing to
// abandon.
func (s *session) abandon(m ldapwire.Message) {
	target := int32(0)
	for _, b := range m.Body {
		target = target<<8 | int32(b)
	}
	if w := s.watches.byID[target]; w != nil {
		delete(s.watches.byID, target)
		w.close()
	}
}

func (s *session) endWatches() {
	for id, w := range s.watches.byID {
		delete(s.watches.byID, id)
		w.close()
	}
	s.watches.done.Wait()
}
