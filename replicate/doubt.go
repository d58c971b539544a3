package replicate

import (
	"sync"
	"time"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store/identity"
)

// doubts remembers since when plan.Password wants to wait with a change, for
// one and the same reason. It is kept in memory: after a restart the time
// begins anew, which destroys nothing.
type doubts struct {
	mu sync.Mutex
	of map[identity.Seq]doubt // guarded by mu
}

type doubt struct {
	reason      string
	since, last time.Time
}

// held returns for how long the decision has been this one; zero when it is
// another, or none to wait.
func (d *doubts) held(seq identity.Seq, decision plan.Decision, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if decision.Verb != plan.Wait {
		delete(d.of, seq)
		return 0
	}
	if d.of == nil {
		d.of = make(map[identity.Seq]doubt)
	}
	known, ok := d.of[seq]
	if !ok || known.reason != decision.Reason {
		known = doubt{reason: decision.Reason, since: now}
	}
	known.last = now
	d.of[seq] = known
	return now.Sub(known.since)
}

// prune forgets changes that were not looked at for an hour: they have been
// superseded or discarded, or there has been no answer to doubt.
func (d *doubts) prune(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for seq, known := range d.of {
		if now.Sub(known.last) > time.Hour {
			delete(d.of, seq)
		}
	}
}
