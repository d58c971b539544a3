package dc

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"
)

// nameServer answers SRV questions over UDP until the test ends, and gives the
// standard library's resolver that asks it.
func nameServer(t *testing.T, z *zone) *net.Resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(z.reply(buf[:n]), from)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// reply answers one query (RFC 1035 section 4.1, RFC 2782).
func (z *zone) reply(query []byte) []byte {
	var name strings.Builder
	end := 12
	for query[end] != 0 {
		label := query[end+1 : end+1+int(query[end])]
		name.Write(label)
		name.WriteByte('.')
		end += 1 + len(label)
	}
	end += 5 // the root, type and class
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked = append(z.asked, name.String())
	records := z.records[name.String()]

	flags := uint16(0x8180)
	if len(records) == 0 {
		flags |= 3 // NXDOMAIN
	}
	out := append([]byte(nil), query[:end]...)
	for i, v := range []uint16{flags, 1, uint16(len(records)), 0, 0} {
		binary.BigEndian.PutUint16(out[2+2*i:], v)
	}
	for _, srv := range records {
		data := binary.BigEndian.AppendUint16(nil, srv.Priority)
		data = binary.BigEndian.AppendUint16(data, srv.Weight)
		data = binary.BigEndian.AppendUint16(data, srv.Port)
		for label := range strings.SplitSeq(strings.TrimSuffix(srv.Target, "."), ".") {
			data = append(append(data, byte(len(label))), label...)
		}
		data = append(data, 0)
		out = append(out, 0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60) // the name asked for, SRV, IN, 60 s
		out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
		out = append(out, data...)
	}
	return out
}

// The names asked for and the answers survive the standard resolver and the
// wire.
func TestG9_DiscoverByDNS(t *testing.T) {
	z := new(zone)
	z.put(siteName, "p.corp.test. 0 100")
	z.put(domainName, "a.corp.test. 0 100", "p.corp.test. 0 100", "z.corp.test. 7 100")
	n := newNetwork(t, "a.corp.test")
	s := n.set(Config{Discover: "corp.test", Site: "Paris", Resolver: nameServer(t, z)})
	conn, name, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.NetConn().Close()
	if name != "ldaps://a.corp.test" {
		t.Errorf("Dial gave %s, want a.corp.test", name)
	}
	wantEqual(t, "controllers", s.Names(), []string{"ldaps://p.corp.test", "ldaps://a.corp.test", "ldaps://z.corp.test"})
	wantEqual(t, "asked", z.questions(), []string{siteName, domainName})
	if _, err := s.Lookup(); err != nil {
		t.Errorf("complaint %v, want none", err)
	}

	// NXDOMAIN for the site is told apart from failure.
	z.put(siteName)
	s = n.set(Config{Discover: "corp.test", Site: "Paris", Resolver: nameServer(t, z)})
	if conn, _, err = s.Dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = conn.NetConn().Close()
	if _, err := s.Lookup(); err == nil || !strings.Contains(err.Error(), "check its name") {
		t.Errorf("complaint %v, want one about the site's name", err)
	}
}
