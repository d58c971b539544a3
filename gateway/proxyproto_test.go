package gateway

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func proxyHeader(command, family byte, rest string) []byte {
	h := append([]byte(proxySignature), command, family)
	return append(binary.BigEndian.AppendUint16(h, uint16(len(rest))), rest...)
}

// proxyFrom is the header for a client of that IPv4 address and port 1234.
func proxyFrom(client string) []byte {
	ip := netip.MustParseAddr(client).As4()
	return proxyHeader(0x21, 0x11, string(ip[:])+"\x7f\x00\x00\x01\x04\xd2\x02\x7c")
}

func TestReadProxyHeader(t *testing.T) {
	v6 := strings.Repeat("\x20\x01\x0d\xb8", 4)
	mapped := strings.Repeat("\x00", 10) + "\xff\xff\xc0\x00\x02\x07"
	tests := []struct {
		name  string
		input []byte
		want  string // address and port; empty: none
		err   error
	}{
		{"IPv4", proxyFrom("192.0.2.7"), "192.0.2.7:1234", nil},
		{"IPv6", proxyHeader(0x21, 0x21, v6+v6+"\x00\x01\x00\x02"), "[2001:db8:2001:db8:2001:db8:2001:db8]:1", nil},
		{"IPv4 in IPv6", proxyHeader(0x21, 0x21, mapped+v6+"\x00\x01\x00\x02"), "192.0.2.7:1", nil},
		{"vectors behind the addresses", proxyHeader(0x21, 0x11, "\xc0\x00\x02\x07\x00\x00\x00\x00\x00\x01\x00\x02\x04\x00\x01x"), "192.0.2.7:1", nil},
		{"health check", proxyHeader(0x20, 0x00, ""), "", nil},
		{"health check with addresses", proxyHeader(0x20, 0x11, "\xc0\x00\x02\x07\x00\x00\x00\x00\x00\x01\x00\x02"), "", nil},
		{"unspecified", proxyHeader(0x21, 0x00, "whatever"), "", nil},
		{"unix socket", proxyHeader(0x21, 0x31, strings.Repeat("x", 216)), "", nil},
		{"version 1", []byte("PROXY TCP4 192.0.2.7 127.0.0.1 1234 636\r\n"), "", errProxyV1},
		{"TLS", []byte("\x16\x03\x01"), "", errProxyAbsent},
		{"LDAP", ldapwire.AppendUnbindRequest(nil, 1), "", errProxyAbsent},
		{"almost the signature", []byte("\r\n\r\n\x00\r\nQUIT\r\x21\x11\x00\x00"), "", errProxyAbsent},
		{"version 3", proxyHeader(0x31, 0x11, "123456789012"), "", errProxyMalformed},
		{"unknown command", proxyHeader(0x22, 0x11, "123456789012"), "", errProxyMalformed},
		{"unknown family", proxyHeader(0x21, 0x41, "123456789012"), "", errProxyMalformed},
		{"too short for IPv4", proxyHeader(0x21, 0x11, "12345678901"), "", errProxyMalformed},
		{"too short for IPv6", proxyHeader(0x21, 0x21, strings.Repeat("x", 35)), "", errProxyMalformed},
		{"too long", proxyHeader(0x21, 0x11, strings.Repeat("x", proxyLongest+1)), "", errProxyMalformed},
		{"ends in the fixed part", proxyFrom("192.0.2.7")[:9], "", io.ErrUnexpectedEOF},
		{"ends in the addresses", proxyFrom("192.0.2.7")[:20], "", io.ErrUnexpectedEOF},
		{"nothing", nil, "", io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := bytes.NewReader(append(bytes.Clone(tt.input), "rest"...))
			if errors.Is(tt.err, io.EOF) || errors.Is(tt.err, io.ErrUnexpectedEOF) {
				in = bytes.NewReader(tt.input)
			}
			got, err := readProxyHeader(in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("got error %v, want %v", err, tt.err)
			}
			text := ""
			if got.IsValid() {
				text = got.String()
			}
			if text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
			if rest, _ := io.ReadAll(in); err == nil && string(rest) != "rest" {
				t.Errorf("left %q to read, want %q", rest, "rest")
			}
		})
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add(proxyFrom("192.0.2.7"))
	f.Add(proxyHeader(0x20, 0, ""))
	f.Add([]byte("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		addr, err := readProxyHeader(in)
		if err != nil {
			if addr.IsValid() {
				t.Errorf("address %v with error %v", addr, err)
			}
			return
		}
		used := len(b) - in.Len()
		if want := proxyFixed + int(binary.BigEndian.Uint16(b[14:])); used != want {
			t.Errorf("read %d bytes, want %d", used, want)
		}
	})
}

func trustLoopback(c *Config) {
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// behindProxy connects as a client whose load balancer sends header.
func (r *rig) behindProxy(header []byte) (*peer, error) {
	r.tb.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(header); err != nil {
		return nil, err
	}
	tc := tls.Client(conn, r.ca.Client("127.0.0.1"))
	if err := tc.Handshake(); err != nil {
		return nil, err
	}
	return newPeer(r.tb, tc), nil
}

func TestG8_ProxyAddressCounts(t *testing.T) {
	r, _ := newRig(t, answerAll, trustLoopback, func(c *Config) { c.MaxPerAddress = 2 })
	for _, client := range []string{"192.0.2.7", "192.0.2.7", "192.0.2.8"} {
		c, err := r.behindProxy(proxyFrom(client))
		if err != nil {
			t.Fatal(client, err)
		}
		c.bind(1)
	}
	if _, err := r.behindProxy(proxyFrom("192.0.2.7")); err == nil {
		t.Error("a third connection of one client was accepted, want it closed")
	}
	for range 3 { // the load balancer's own are nobody's
		c, err := r.behindProxy(proxyHeader(0x20, 0, ""))
		if err != nil {
			t.Fatal("health check:", err)
		}
		c.bind(1)
	}
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(r.server.clients); n != 0 {
		t.Errorf("%d addresses still counted, want none", n)
	}
}

func TestG8_ProxyHeaderRefused(t *testing.T) {
	trusted, _ := newRig(t, answerAll, trustLoopback)
	distrustful, _ := newRig(t, answerAll, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	for _, tt := range []struct {
		name   string
		rig    *rig
		header []byte
	}{
		{"version 1", trusted, []byte("PROXY TCP4 192.0.2.7 127.0.0.1 1234 636\r\n")},
		{"none", trusted, nil},
		{"malformed", trusted, proxyHeader(0x21, 0x11, "short")},
		{"from an untrusted address", distrustful, proxyFrom("192.0.2.7")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.rig.behindProxy(tt.header); err == nil {
				t.Error("the connection was accepted, want it closed")
			}
		})
	}
	distrustful.dial().bind(1)
}

// TestG8_ProxyHeaderDeadline: half a header does not hold a connection.
func TestG8_ProxyHeaderDeadline(t *testing.T) {
	r, _ := newRig(t, answerAll, trustLoopback, func(c *Config) { c.HandshakeTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(proxyFrom("192.0.2.7")[:18]); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// TestProxyShutdown: one that waits for its header ends with the server.
func TestProxyShutdown(t *testing.T) {
	r, _ := newRig(t, answerAll, trustLoopback, func(c *Config) { c.HandshakeTimeout = time.Hour })
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	receiveUntil(t, func() bool { return len(r.server.snapshot()) == 1 })
	ctx := t.Context()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
