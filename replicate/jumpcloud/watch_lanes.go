package jumpcloud

import (
	"context"
	"errors"
	"time"
)

// reading is something that is read with one request or several.
type reading interface {
	// step makes one request. done: nothing is left to ask for.
	step(ctx context.Context, w *Watcher) (done bool, err error)
}

// lap is a set of lists that are read one after another, again and again.
type lap struct {
	first func() []reading
	then  func() []reading // what comes after those is known; nil: nothing

	queue  []reading
	second bool // the queue has what then gave
	errors int  // in a row
	failed bool // something could not be read
	begun  time.Time
	whole  time.Time // when the last one that ended well was begun
}

func (l *lap) start(now time.Time) {
	l.queue, l.second, l.failed, l.errors, l.begun = l.first(), false, false, 0, now
}

func (l *lap) head() reading {
	if len(l.queue) == 0 {
		return nil
	}
	return l.queue[0]
}

// maxErrors is how often a reading that fails is tried again before the rest
// goes on without it.
const maxErrors = 10

// stepped takes the outcome of a step of the head.
func (l *lap) stepped(done bool, err error) {
	switch {
	case err == nil && !done:
		l.errors = 0
		return
	case err != nil:
		if l.errors++; l.errors < maxErrors && !Refused(err) || Temporary(err) {
			return
		}
		l.failed = true
	}
	l.queue, l.errors = l.queue[1:], 0
	if len(l.queue) == 0 && !l.second && l.then != nil {
		l.second, l.queue = true, l.then()
	}
	if len(l.queue) == 0 && !l.failed {
		l.whole = l.begun
	}
}

// lanes are what a Refresh works on side by side.
type lanes struct {
	w                   *Watcher
	users, links, rules lap
	current             reading // of what is urgent
	currentKey          toRead
	polled              time.Time // when Insights told everything up to then; zero: it did not
}

// rulesEvery is how often the translation rules are read.
const rulesEvery = 5 * time.Minute

func newLanes(w *Watcher) lanes {
	return lanes{w: w,
		users: lap{first: func() []reading { return []reading{&userList{}} }},
		links: lap{first: func() []reading {
			return []reading{&groupList{}, w.boundList(targetUser), w.boundList(targetGroup)}
		}, then: w.memberLists},
		rules: lap{first: func() []reading { return []reading{rulesRead{}} }},
	}
}

// begin starts what is due. told: Insights said by then what was changed; zero:
// it did not.
func (l *lanes) begin(now, told time.Time) {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks.forget(now)
	all := w.urgent.all
	w.urgent.all = false
	l.polled = told
	polled := !told.IsZero()
	for _, lap := range []*lap{&l.users, &l.links} {
		busy := lap.head() != nil
		if all || !busy && (!polled || lap.whole.IsZero() || now.Sub(lap.begun) >= w.cfg.ListEvery) {
			lap.start(now)
		} else if busy && lap == &l.users && !lap.whole.IsZero() && !polled {
			w.urgent.add(toRead{kind: kindNewUsers})
		}
	}
	if l.rules.head() == nil && (all || l.rules.begun.IsZero() || now.Sub(l.rules.begun) >= rulesEvery) {
		l.rules.start(now)
	}
	for _, id := range w.wantedNow() {
		w.urgent.add(toRead{kindMembers, id})
	}
	w.urgent.due(now)
}

// run makes steps until nothing is left, the budget is used up, or nothing
// works.
func (l *lanes) run(ctx context.Context, budget func() bool) error {
	const urgent = 3 // steps of what is urgent for one of each lap
	var errs []error
	stuck := make(map[*lap]bool)
	for progress := true; progress && budget(); {
		progress = false
		for n := 0; n < urgent && budget() && !stuck[nil]; n++ {
			ok, err := l.stepUrgent(ctx)
			if progress = progress || ok; !ok {
				break
			}
			if err != nil {
				stuck[nil], errs = true, append(errs, err)
				if hopeless(ctx, err) {
					return errors.Join(errs...)
				}
			}
		}
		for _, lap := range []*lap{&l.links, &l.users, &l.rules} {
			head := lap.head()
			if head == nil || stuck[lap] || !budget() {
				continue
			}
			progress = true
			done, err := head.step(ctx, l.w)
			lap.stepped(done, err)
			if err != nil {
				stuck[lap], errs = true, append(errs, err)
				if hopeless(ctx, err) {
					return errors.Join(errs...)
				}
			}
		}
		if !l.users.whole.IsZero() && !l.links.whole.IsZero() {
			l.w.mu.Lock()
			l.w.draft.whole = true
			l.w.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

// hopeless reports whether the next request would fail too.
func hopeless(ctx context.Context, err error) bool {
	_, wait := RetryAfter(err)
	return wait || ctx.Err() != nil || Unauthorized(err) || is(err, func(e *apiError) bool { return e.code == 0 })
}

// stepUrgent works on what is urgent; ok: there was something.
func (l *lanes) stepUrgent(ctx context.Context) (ok bool, err error) {
	w := l.w
	if l.current == nil {
		w.mu.Lock()
		l.currentKey, ok = w.urgent.pop()
		w.mu.Unlock()
		if !ok {
			return false, nil
		}
		l.current = w.reading(l.currentKey)
	}
	done, err := l.current.step(ctx, w)
	if err != nil || done {
		l.current = nil
	}
	if err != nil { // once more, after the others
		w.mu.Lock()
		w.urgent.add(l.currentKey)
		w.mu.Unlock()
	}
	return true, err
}

// idle reports whether no list is half read.
func (l *lanes) idle() bool {
	return l.current == nil && l.users.head() == nil && l.links.head() == nil && !l.users.failed && !l.links.failed
}

// asOf is as Delta says.
func (l *lanes) asOf() time.Time {
	switch {
	case l.users.whole.IsZero() || l.links.whole.IsZero():
		return time.Time{}
	case !l.polled.IsZero():
		return l.polled
	case l.links.whole.Before(l.users.whole):
		return l.links.whole
	}
	return l.users.whole
}
