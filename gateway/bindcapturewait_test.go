package gateway

import (
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// newSlowDC is a teaching DC that answers nothing between a Compare and the
// call of answer: it works on one request after the other.
func newSlowDC() (dc *teachingDC, serve func(*peer), answer func()) {
	dc, held := newTeachingDC(24*time.Hour), make(chan struct{})
	return dc, func(p *peer) {
		for {
			msg, err := p.read()
			if err != nil || msg.Op == ldapwire.OpUnbindRequest {
				return
			}
			switch msg.Op {
			case ldapwire.OpCompareRequest:
				<-held
				fallthrough
			default:
				p.send(plainAnswer(msg))
			case ldapwire.OpSearchRequest:
				p.send(dc.search(msg))
			}
		}
	}, sync.OnceFunc(func() { close(held) })
}

// isLeft reports whether a lesson was left to the next bind.
func (l *lessons) isLeft() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, until := range l.known {
		if !l.now().Before(until) {
			return true
		}
	}
	return false
}

// TestG6_NotBetweenRequestAndAnswer: while the client waits for an answer its
// connection is not used for a lesson, which is left to the next bind.
func TestG6_NotBetweenRequestAndAnswer(t *testing.T) {
	dc, serve, answer := newSlowDC()
	r, _ := newRig(t, serve, func(c *Config) { c.Binds = newTaught() })
	t.Cleanup(answer)
	c := r.dial()
	c.bind(1)
	c.send(compare(2))
	receiveUntil(t, r.server.lessons.isLeft)
	answer()
	c.wantResult(ldapwire.OpCompareResponse, 2, ldapwire.ResultSuccess)
	c.wantSilence(3)
	if n := dc.searches.Load(); n != 0 {
		t.Errorf("the DC was asked %d times, want never", n)
	}
}

// TestG6_BindDuringRequest: a bind that comes while an answer is due takes
// nothing from the one before it, and is not taken for it.
func TestG6_BindDuringRequest(t *testing.T) {
	dc, serve, answer := newSlowDC()
	taught := newTaught()
	r, _ := newRig(t, serve, func(c *Config) { c.Binds = taught })
	t.Cleanup(answer)
	c := r.dial()
	c.send(ldapwire.AppendBindRequest(nil, 1, "CN=alice", []byte("Secret-1")))
	c.wantResult(ldapwire.OpBindResponse, 1, ldapwire.ResultSuccess)
	c.send(compare(2), ldapwire.AppendBindRequest(nil, 3, "", nil))
	answer()
	c.wantResult(ldapwire.OpCompareResponse, 2, ldapwire.ResultSuccess)
	c.wantResult(ldapwire.OpBindResponse, 3, ldapwire.ResultSuccess)
	if got, want := receive(t, taught.told, "the lesson"), dc.lesson("Secret-1"); got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
	c.wantSilence(4)
	if n := dc.searches.Load(); n != 2 {
		t.Errorf("the DC was asked %d times, want twice", n)
	}
}
