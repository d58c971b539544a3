package gateway

import (
	"errors"
	"time"

	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// A DC that hangs, or that the network was cut from, keeps its connections:
// nobody says that they are dead. The health reads find such a DC out, and
// then its connections on which an answer is due are given up, so that their
// sessions are moved. Those on which nothing is outstanding are left: the DC
// may go on before they are used.

// outages is a Dialer that knows which controllers do not answer; *dc.Set is
// one.
type outages interface {
	Outages() []dc.Outage
}

const (
	// watchInterval is how often the outages are looked at. Nothing else is
	// done while there is none.
	watchInterval = 500 * time.Millisecond
	// outPatience is how long a controller is out of rotation before its
	// connections are given up; a short fit is not worth losing answers for.
	outPatience = 1500 * time.Millisecond
	// alonePatience is the same where no other controller is in rotation, so
	// that moving helps nobody: the clients are told after this time.
	alonePatience = 30 * time.Second
)

var errSilent = errors.New("the domain controller does not answer any more")

// watch gives up connections to controllers that do not answer, until done is
// closed.
func (s *Server) watch(done <-chan struct{}) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.giveUpSilent(now)
		case <-done:
			return
		}
	}
}

func (s *Server) giveUpSilent(now time.Time) {
	for _, d := range s.cfg.Domains() {
		o, ok := d.DCs.(outages)
		if !ok {
			continue
		}
		for _, out := range o.Outages() {
			patience := outPatience
			if !out.Others {
				patience = alonePatience
			}
			if now.Sub(out.Since) < patience {
				continue
			}
			for _, sess := range s.snapshot() {
				if up := sess.upNow.Load(); up != nil && up.domain == d && up.name == out.Controller {
					sess.giveUpIfSilent(up)
				}
			}
		}
	}
}

// giveUpIfSilent makes the answer loop end if an answer is due and nothing
// came since the last look. It is called by another goroutine than the
// session's two.
func (s *session) giveUpIfSilent(up *upstream) {
	if up.heard.Swap(false) || !s.flight.isWaiting() {
		return
	}
	up.silent.Store(true)
	up.out.stop()
	_ = up.conn.SetReadDeadline(time.Unix(1, 0))
}

// isWaiting reports whether an answer is due. A change of a password has its
// own time: giving it up makes an unknown outcome of what a DC may only be slow
// with.
func (f *flight) isWaiting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.pending {
		if r.answer != nil && r.op != ldapwire.OpBindRequest && r.op != ldapwire.OpSearchRequest {
			return false
		}
	}
	return len(f.pending) > 0
}
