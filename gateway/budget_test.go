package gateway

import (
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// TestG8_StrangersShareMemory: clients that have not bound and hold back the
// end of their messages get no more than the budget together. Small messages
// pass meanwhile, those of bound sessions are not counted, and what is given up
// is there for others.
func TestG8_StrangersShareMemory(t *testing.T) {
	const (
		budget  = 1 << 20
		clients = 40
		sent    = 200 << 10 // of a message of 250 KiB, each
	)
	half := append([]byte("\x30\x83\x03\xe8\x00\x02\x01\x01\x77\x83\x03\xe7\xf8"), make([]byte, sent)...)
	r, _ := newRig(t, answerAll, func(c *Config) { c.UnboundMemory = budget })
	bound := r.dial()
	bound.bind(1)
	before := heapInUse()
	var held []*peer
	refused := 0
	for range clients {
		c := r.dial()
		used := r.server.strangers.Used()
		_, _ = c.conn.Write(half) // the gateway may end it in the middle
		// It is either held or refused; a refusal gives back what was counted.
		receiveUntil(t, func() bool {
			return r.server.strangers.Used() >= used+sent || r.server.sessionCount() == 1+len(held)
		})
		if r.server.sessionCount() == 1+len(held) {
			c.wantNotice(ldapwire.ResultBusy)
			refused++
			continue
		}
		held = append(held, c)
	}
	t.Logf("%d held, %d refused, %d KiB counted, heap in use %+d KiB", len(held), refused, r.server.strangers.Used()>>10, (heapInUse()-before)>>10)
	if used := r.server.strangers.Used(); used > budget || used < budget-2*sent || refused < clients-budget/sent {
		t.Errorf("%d of %d refused, %d bytes counted, the budget is %d", refused, clients, used, budget)
	}

	honest := r.dial()
	honest.bind(1)
	large := ldapwire.AppendCompareRequest(nil, 2, aliceDN, "cn", make([]byte, 2*budget))
	for _, c := range []*peer{honest, bound} {
		c.send(large)
		c.wantResult(ldapwire.OpCompareResponse, 2, ldapwire.ResultSuccess)
	}
	// A bound session that begins to bind again is a stranger, with what it has.
	honest.send(ldapwire.AppendBindRequest(nil, 3, "", nil))
	honest.wantResult(ldapwire.OpBindResponse, 3, ldapwire.ResultSuccess)
	_, _ = honest.conn.Write(half)
	honest.wantNotice(ldapwire.ResultBusy)

	for _, c := range held {
		_ = c.conn.Close()
	}
	receiveUntil(t, func() bool { return r.server.strangers.Used() == 0 })
	late := r.dial()
	late.send(ldapwire.AppendCompareRequest(nil, 1, aliceDN, "cn", make([]byte, sent)))
	late.wantResult(ldapwire.OpCompareResponse, 1, ldapwire.ResultSuccess)
}
