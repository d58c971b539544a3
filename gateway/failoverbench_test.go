package gateway

import (
	"log/slog"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// BenchmarkRelay is one Compare at a time through the gateway; what is measured
// is the gateway, the client and the DC together.
func BenchmarkRelay(b *testing.B) {
	for name, reconnect := range map[string]bool{"reconnect off": false, "reconnect on": true} {
		b.Run(name, func(b *testing.B) {
			r, _ := newRig(b, func(p *peer) {
				for {
					msg, err := p.in.Next()
					if err != nil || msg.Op == ldapwire.OpUnbindRequest {
						return
					}
					p.send(ldapwire.AppendResult(nil, msg.ID, msg.Op.Response(), ldapwire.ResultSuccess, "", ""))
				}
			}, func(c *Config) { c.Reconnect, c.Log = reconnect, slog.New(slog.DiscardHandler) })
			c := r.dial()
			c.bind(1)
			request := ldapwire.AppendCompareRequest(nil, 2, aliceDN, "cn", []byte("x"))
			b.ReportAllocs()
			for b.Loop() {
				c.send(request)
				if _, err := c.in.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
