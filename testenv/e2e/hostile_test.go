package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// rssAllowed is how much the daemon's resident memory may grow while it is
// attacked, all attacks together, in KiB; the race detector multiplies it.
func rssAllowed() int {
	if len(raceFlag) > 0 {
		return 512 << 10
	}
	return 96 << 10
}

// rss is the daemon's resident memory in KiB.
func (in *installation) rss() (kib int) {
	in.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", in.daemon.Process.Pid))
	if err != nil {
		in.t.Fatal("the daemon is gone:", err)
	}
	_, line, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscanf(line, "%d", &kib); err != nil {
		in.t.Fatal(err)
	}
	return kib
}

// TestG8_HostileClients: whatever clients do to the built binary, it stays
// alive and small, and an honest client that comes meanwhile is bound while the
// hostile ones are there. The full list of attacks is run in package gateway.
func TestG8_HostileClients(t *testing.T) {
	w := newWorld(t)
	w.serve()
	w.bindAs(t, before, true)
	pem, err := os.ReadFile(w.ca)
	if err != nil {
		t.Fatal(err)
	}
	conf := clientTLS(t, pem)
	bound := func(t *testing.T) *peer {
		p := dialPeer(t, w.ldaps, conf)
		p.send(t, ldapwire.AppendBindRequest(nil, 1, w.dn, []byte(before)))
		p.receive(t, 1)
		return p
	}
	schema := func(id int32) []byte {
		return ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: "CN=Schema,CN=Configuration," + w.base, Scope: ldapwire.ScopeOneLevel, Filter: filter(t, "(objectClass=*)")})
	}
	// wantCode asks once and looks at the code.
	wantCode := func(t *testing.T, frame []byte, code ldapwire.ResultCode) {
		t.Helper()
		p := bound(t)
		p.send(t, frame)
		answers := p.receive(t, 0)
		msg, err := ldapwire.ParseMessage(answers[len(answers)-1])
		if err != nil {
			t.Fatal(err)
		}
		if res, err := ldapwire.ParseResult(msg.Body); err != nil || res.Code != code {
			t.Errorf("got %s, %v, want %s", res.Code, err, code)
		}
	}
	open := func(t *testing.T, n int, say string) {
		t.Helper()
		for range n {
			conn, err := net.Dial("tcp", w.ldaps)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = conn.Write([]byte(say))
		}
	}
	mods := make([]ldapwire.Mod, 0, 10_001)
	for range 10_000 {
		mods = append(mods, ldapwire.Mod{Op: ldapwire.ModReplace, Type: "description", Values: [][]byte{[]byte("x")}})
	}
	long := ldapwire.Mod{Op: ldapwire.ModReplace, Type: "unicodePwd", Values: [][]byte{bytes.Repeat([]byte("x\x00"), 1<<19)}}
	members := ldapwire.Mod{Op: ldapwire.ModAdd, Type: "member"}
	for range 100_000 {
		members.Values = append(members.Values, []byte("CN=x"))
	}
	attacks := []struct {
		name string
		run  func(*testing.T)
	}{
		{"half-open handshakes", func(t *testing.T) { open(t, 200, ""); open(t, 200, "\x16\x03\x01\x02\x00\x01\x00") }},
		{"no TLS", func(t *testing.T) { open(t, 200, "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00") }},
		{"malformed", func(t *testing.T) {
			for _, frame := range []string{"\x30\x80\x02\x01", "\x30\x84\xff\xff\xff\xff", "\x30\x85\x00\x00\x00\x00\x05", "\x15\x15", "\x30\x05\x02\x01\x00\x42\x00"} {
				p := dialPeer(t, w.ldaps, conf)
				p.send(t, []byte(frame))
				p.receive(t, 0) // the notice
			}
		}},
		{"half of messages", func(t *testing.T) {
			for range 50 {
				dialPeer(t, w.ldaps, conf).send(t, append([]byte("\x30\x84\x00\x03\xff\xf0"), make([]byte, 200<<10)...))
			}
		}},
		{"byte by byte", func(t *testing.T) {
			p := dialPeer(t, w.ldaps, conf)
			for _, b := range ldapwire.AppendBindRequest(nil, 1, w.dn, []byte(before)) {
				p.send(t, []byte{b})
			}
			p.receive(t, 1)
		}},
		{"a password of a megabyte", func(t *testing.T) {
			wantCode(t, ldapwire.AppendModifyRequest(nil, 2, w.dn, long), ldapwire.ResultConstraintViolation)
		}},
		{"10,001 modifications", func(t *testing.T) {
			wantCode(t, ldapwire.AppendModifyRequest(nil, 2, w.dn, append(mods, mods[0])...), ldapwire.ResultAdminLimitExceeded)
		}},
		{"100,000 values", func(t *testing.T) {
			wantCode(t, ldapwire.AppendModifyRequest(nil, 2, w.dn, members), ldapwire.ResultAdminLimitExceeded)
		}},
		{"answers that nobody reads", func(t *testing.T) {
			for range 2 {
				p := bound(t)
				for id := int32(2); id < 10; id++ {
					p.send(t, schema(id))
				}
			}
			// Samba works on all of them first; what counts is the gateway's time.
			direct, err := ldap.DialURL(w.url, ldap.DialWithTLSConfig(w.dc.TLS()))
			if err != nil {
				t.Fatal(err)
			}
			defer direct.Close()
			direct.SetTimeout(patience)
			if err := direct.Bind(w.dn, before); err != nil {
				t.Fatal("a bind at the DC itself:", err)
			}
		}},
		{"one message ID", func(t *testing.T) {
			p := bound(t)
			p.send(t, bytes.Repeat(schema(7), 50))
		}},
	}
	start := w.rss()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			a.run(t)
			wantHonestBind(t, w.ldaps, conf, w.dn)
			t.Logf("resident memory: %+d KiB", w.rss()-start)
		})
	}
	if grown := w.rss() - start; grown > rssAllowed() {
		t.Errorf("resident memory has grown by %d KiB, more than %d", grown, rssAllowed())
	}
	w.bindAs(t, before, true)
}

// honest bounds an honest client's bind, from connect to answer. It takes
// milliseconds, and on a machine under load a second and more; one that waits
// for hostile clients to be timed out takes ten, the gateway's handshake timeout.
const honest = 6 * time.Second

// wantHonestBind binds while others attack.
func wantHonestBind(t *testing.T, address string, conf *tls.Config, dn string) {
	t.Helper()
	start := time.Now()
	d := tls.Dialer{NetDialer: &net.Dialer{Deadline: start.Add(honest)}, Config: conf}
	raw, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal("an honest client:", err)
	}
	conn := ldap.NewConn(raw, true)
	conn.Start()
	defer conn.Close()
	conn.SetTimeout(time.Until(start.Add(honest)))
	if err := conn.Bind(dn, before); err != nil {
		t.Fatal("an honest client's bind:", err)
	}
}
