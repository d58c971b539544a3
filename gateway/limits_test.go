package gateway

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// TestG8_SetLimits: new sessions have the new limits, and those that exist go
// on with theirs.
func TestG8_SetLimits(t *testing.T) {
	r, _, plain := plainRig(t, answerAll, func(c *Config) { c.MaxMessage = 1 << 20 })
	old, inClear := r.dial(), dialClear(t, plain)
	old.bind(1)
	inClear.send(ldapwire.AppendBindRequest(nil, 9, "", nil)) // accepted, and no sooner sure
	inClear.wantResult(ldapwire.OpBindResponse, 9, ldapwire.ResultSuccess)
	big := ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: string(make([]byte, 300<<10))})
	if err := r.server.SetLimits(Limits{MaxMessage: 100 << 10, MaxPerAddress: 3, AllowPlaintextBind: true}); err != nil {
		t.Fatal(err)
	}
	fresh := r.dial()
	fresh.bind(1)
	fresh.send(big[:16]) // its header is enough
	fresh.wantNotice(ldapwire.ResultProtocolError)
	old.send(big)
	old.want(ldapwire.OpSearchResultEntry)
	old.wantResult(ldapwire.OpSearchResultDone, 2, ldapwire.ResultSuccess)
	inClear.send(ldapwire.AppendBindRequest(nil, 1, "CN=alice", []byte("Secret-1")))
	inClear.wantResult(ldapwire.OpBindResponse, 1, ldapwire.ResultConfidentialityRequired)
	receiveUntil(t, func() bool { return len(r.server.snapshot()) == 2 }) // fresh is gone
	dialClear(t, plain).bind(1)

	// More than the limit exist: no new one, and the old ones stay.
	if err := r.server.SetLimits(Limits{MaxConnections: 1}); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("a connection beyond the limit was not closed")
	}
	old.bind(3)

	for _, l := range []Limits{{MaxMessage: -1}, {MaxConnections: -1}, {MaxPerAddress: -1}, {IdleTimeout: -1}} {
		if err := r.server.SetLimits(l); err == nil {
			t.Errorf("%+v: accepted, want an error", l)
		}
	}
	if err := r.server.SetLimits(Limits{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}); err != nil {
		t.Fatal(err)
	}
	c, err := r.behindProxy(proxyFrom("192.0.2.7"))
	if err != nil {
		t.Fatal(err)
	}
	c.bind(1)
	old.bind(4)
}
