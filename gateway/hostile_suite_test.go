package gateway

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// What an attack may cost: heap that is still in use after a collection, with
// both ends of every connection in this process, and the time until an honest
// client, who comes in the middle of it, is bound.
const (
	heapAllowed = 32 << 20
	honestTime  = time.Second
)

const attackDN = "CN=attack"

// An attack is run against a whole gateway. What run returns is what it still
// holds open; it is closed once the honest client was served.
type attack struct {
	name string
	// dc is what the DC does when it is asked about attackDN, and how a hostile
	// one behaves; it is not for other connections. nil: it is silent.
	dc  func(*peer, ldapwire.Message)
	run func(*testing.T, *siege)
}

// siege is a gateway with both listeners and what an attack holds.
type siege struct {
	*rig
	plain string
	held  []io.Closer
}

func (s *siege) hold(c net.Conn) net.Conn {
	s.held = append(s.held, c)
	return c
}

// client is bound and held open.
func (s *siege) client() *peer {
	c := s.dial()
	s.held = append(s.held, c.conn)
	c.bind(1)
	return c
}

// tcp opens connections that say something and then nothing. They come from
// another address than the honest client.
func (s *siege) tcp(t *testing.T, n int, say []byte) {
	t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	for range n {
		conn, err := from.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.hold(conn).Write(say) // it may be closed already
	}
}

// attackSearch asks about attackDN.
func attackSearch(id int32) []byte {
	return ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: attackDN, Scope: ldapwire.ScopeSubtree})
}

// honestUntilAsked serves as answerAll does, up to attackDN.
func honestUntilAsked(turn func(*peer, ldapwire.Message)) func(*peer) {
	return func(p *peer) {
		for msg := range p.requests() {
			switch {
			case !bytes.Contains(msg.Body, []byte(attackDN)):
				p.send(plainAnswer(msg))
			case turn != nil:
				turn(p, msg)
			}
		}
	}
}

// nested is a search with a filter of n nested nots.
func nested(n int) []byte {
	filter := []byte("\x87\x01a")
	for range n {
		size := len(filter)
		filter = append([]byte{0xa2, 0x84, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}, filter...)
	}
	return ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{Filter: filter})
}

// malformedMessages are all owed a Notice of Disconnection with protocolError.
func malformedMessages() map[string][]byte {
	op := "\x42\x00"
	return map[string][]byte{
		"HTTP":                         []byte("GET / HTTP/1.1\r\n\r\n"),
		"zeroes":                       make([]byte, 100),
		"a set":                        []byte("\x31\x05\x02\x01\x01" + op),
		"indefinite length":            []byte("\x30\x80\x02\x01\x01" + op + "\x00\x00"),
		"indefinite length inside":     []byte("\x30\x09\x02\x01\x01\x60\x80\x02\x01\x03\x00"),
		"five length octets":           []byte("\x30\x85\x00\x00\x00\x00\x05\x02\x01\x01" + op),
		"126 length octets":            []byte("\x30\xfe\x00\x00\x00"),
		"4 GiB":                        []byte("\x30\x84\xff\xff\xff\xff"),
		"2 GiB":                        []byte("\x30\x84\x7f\xff\xff\xff\x02\x01\x01"),
		"above the limit of strangers": []byte("\x30\x84\x00\x04\x00\x01"),
		"no contents":                  []byte("\x30\x00"),
		"a long tag":                   []byte("\x30\x08\x02\x01\x01\x7f\x81\x01\x01\x00"),
		"no message ID":                []byte("\x30\x05" + op + "\x02\x01\x01"),
		"negative message ID":          []byte("\x30\x05\x02\x01\xff" + op),
		"message ID of five octets":    []byte("\x30\x09\x02\x05\x00\x00\x00\x00\x01" + op),
		"message ID of no octet":       []byte("\x30\x06\x02\x00" + op + "\x04\x00"),
		"message ID 0":                 ldapwire.AppendSearchRequest(nil, 0, ldapwire.SearchParams{}),
		"an element longer than all":   []byte("\x30\x07\x02\x01\x01\x60\x7f\x02\x01"),
		"bytes behind the operation":   []byte("\x30\x06\x02\x01\x01" + op + "\x04"),
		"controls twice":               []byte("\x30\x09\x02\x01\x01" + op + "\xa0\x00\xa0\x00"),
		"a universal operation":        []byte("\x30\x05\x02\x01\x01\x04\x00"),
		"an unknown operation":         []byte("\x30\x05\x02\x01\x01\x5f\x00"),
		"a response":                   ldapwire.AppendResult(nil, 1, ldapwire.OpBindResponse, ldapwire.ResultSuccess, "", ""),
		"10,000 nested filters":        nested(10_000),
		"101 nested filters":           nested(101),
	}
}

func clientAttacks() []attack {
	return []attack{
		{name: "half-open handshakes", run: func(t *testing.T, s *siege) {
			s.tcp(t, 150, nil)
			s.tcp(t, 150, []byte("\x16\x03\x01\x02\x00\x01\x00"))
		}},
		{name: "no TLS on the TLS port", run: func(t *testing.T, s *siege) {
			s.tcp(t, 100, ldapwire.AppendBindRequest(nil, 1, "CN=alice", []byte("Secret-1")))
			s.tcp(t, 100, []byte("GET / HTTP/1.0\r\n\r\n"))
		}},
		{name: "more connections than one address may have", run: func(t *testing.T, s *siege) { s.tcp(t, 600, nil) }},
		{name: "byte by byte", run: func(t *testing.T, s *siege) {
			for range 8 {
				c := s.dial()
				s.hold(c.conn)
				for _, b := range ldapwire.AppendBindRequest(nil, 1, "CN=alice", []byte("Secret-1")) {
					c.send([]byte{b})
				}
				c.wantResult(ldapwire.OpBindResponse, 1, ldapwire.ResultSuccess)
			}
		}},
		{name: "most of a message and silence", run: func(t *testing.T, s *siege) {
			most := append([]byte("\x30\x84\x00\x03\xff\xf0"), make([]byte, 200<<10)...)
			for range 60 {
				c := s.dial()
				s.hold(c.conn)
				c.send(most)
			}
		}},
		{name: "searches that are never answered", run: func(t *testing.T, s *siege) {
			c := s.client()
			var all []byte
			for id := range int32(DefaultMaxOutstanding * 20) {
				all = append(all, attackSearch(id+2)...)
			}
			_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
			s.flood(t, c, all)
			receiveUntil(t, func() bool { return s.server.outstanding() == DefaultMaxOutstanding })
		}},
		{name: "one message ID for all", run: func(t *testing.T, s *siege) {
			c := s.client()
			s.flood(t, c, bytes.Repeat(attackSearch(7), 1000))
			c.wantNotice(ldapwire.ResultProtocolError)
		}},
		{name: "a thousand binds at once", run: func(t *testing.T, s *siege) {
			c := s.client()
			var all []byte
			for id := range int32(1000) {
				all = ldapwire.AppendBindRequest(all, id+2, "CN=alice", []byte("Secret-1"))
			}
			s.flood(t, c, all)
			for id := range int32(1000) {
				c.wantResult(ldapwire.OpBindResponse, id+2, ldapwire.ResultSuccess)
			}
		}},
		{name: "abandons of everything", run: func(t *testing.T, s *siege) {
			c := s.client()
			var all []byte
			for id := int32(2); id < 20_000; id += 2 {
				all = ldapwire.AppendAbandonRequest(append(all, attackSearch(id)...), id+1, id)
			}
			s.flood(t, c, all)
			c.send(ldapwire.AppendDelRequest(nil, 1, aliceDN))
			c.wantResult(ldapwire.OpDelResponse, 1, ldapwire.ResultSuccess)
		}},
		{name: "an answer of 100 MB that nobody reads", dc: func(p *peer, msg ldapwire.Message) {
			entry := ldapwire.AppendSearchEntry(nil, msg.ID, attackDN, []ldapwire.AttributeValues{{Type: "jpegPhoto", Values: [][]byte{make([]byte, 100_000)}}})
			for range 1000 {
				_ = p.conn.SetWriteDeadline(time.Now().Add(2 * patience))
				if _, err := p.conn.Write(entry); err != nil {
					return
				}
			}
		}, run: func(t *testing.T, s *siege) {
			c := s.client()
			c.send(attackSearch(2))
			c.want(ldapwire.OpSearchResultEntry)
		}},
		{name: "bytes behind StartTLS", run: func(t *testing.T, s *siege) {
			for range 50 {
				c := dialClear(t, s.plain)
				c.send(startTLSRequest(1), ldapwire.AppendBindRequest(nil, 2, "CN=alice", []byte("Secret-1")))
				c.wantEnd()
			}
		}},
	}
}

// flood writes while the gateway may have stopped reading.
func (s *siege) flood(t *testing.T, c *peer, all []byte) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.conn.Write(all) // the connection may be ended in the middle
	}()
	t.Cleanup(func() {
		_ = c.conn.Close()
		<-done
	})
}

// upstreamAttacks: a client searches, and this is what the DC says.
func upstreamAttacks() []attack {
	gone := func(t *testing.T, c *peer) { c.wantNotice(ldapwire.ResultUnavailable) }
	after := func(name string, want func(*testing.T, *peer), say func(id int32) []byte, end bool) attack {
		return attack{name: name, dc: func(p *peer, msg ldapwire.Message) {
			_, _ = p.conn.Write(say(msg.ID))
			if end {
				_ = p.conn.Close()
			}
		}, run: func(t *testing.T, s *siege) {
			c := s.client()
			c.send(attackSearch(2))
			if want != nil {
				want(t, c)
			}
		}}
	}
	text := func(s string) func(int32) []byte { return func(int32) []byte { return []byte(s) } }
	half := func(id int32) []byte { return plainAnswer(ldapwire.Message{ID: id, Op: ldapwire.OpSearchRequest})[:30] }
	return []attack{
		after("garbage", gone, text("\x15\x03\x03garbage"), false),
		after("a length of 2 GiB", gone, text("\x30\x84\x7f\xff\xff\xff\x02\x01\x02"), false),
		after("indefinite length", gone, text("\x30\x80\x02\x01\x02\x65\x00\x00\x00"), false),
		after("10,000 levels", gone, func(int32) []byte { return nested(10_000) }, false),
		after("a request", gone, func(int32) []byte { return ldapwire.AppendDelRequest(nil, 1, aliceDN) }, false),
		after("half an answer and silence", nil, half, false),
		after("half an answer and the end", gone, half, true),
		after("the end", gone, text(""), true),
		after("a notice of disconnection", func(_ *testing.T, c *peer) { c.wantNotice(ldapwire.ResultBusy) },
			func(int32) []byte { return ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultBusy, "") }, true),
		after("10,000 answers to nobody", func(_ *testing.T, c *peer) { c.wantResult(ldapwire.OpSearchResultDone, 2, ldapwire.ResultSuccess) },
			func(id int32) (b []byte) {
				for n := range int32(10_000) {
					b = ldapwire.AppendSearchEntry(b, 1000+n, victimDN, nil)
				}
				return ldapwire.AppendSearchDone(b, id, ldapwire.ResultSuccess, "", "")
			}, false),
		{name: "an answer without an end", dc: func(p *peer, msg ldapwire.Message) {
			entries := bytes.Repeat(ldapwire.AppendSearchEntry(nil, msg.ID, attackDN, nil), 500)
			for {
				_ = p.conn.SetWriteDeadline(time.Now().Add(2 * patience))
				if _, err := p.conn.Write(entries); err != nil {
					return
				}
			}
		}, run: func(t *testing.T, s *siege) {
			c := s.client()
			c.send(attackSearch(2))
			for range 20_000 {
				c.want(ldapwire.OpSearchResultEntry)
			}
		}},
	}
}

// TestG8_Hostile runs every attack against a whole gateway, with an honest
// client in the middle of each.
func TestG8_Hostile(t *testing.T) {
	attacks := slices.Concat(clientAttacks(), upstreamAttacks())
	for name, frame := range malformedMessages() {
		attacks = append(attacks, attack{name: "malformed: " + name, run: func(t *testing.T, s *siege) {
			c := s.dial()
			s.hold(c.conn)
			_, _ = c.conn.Write(frame)
			c.wantNotice(ldapwire.ResultProtocolError)
		}})
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			before := heapInUse()
			s := &siege{}
			s.rig, _, s.plain = plainRig(t, honestUntilAsked(a.dc), func(c *Config) {
				c.RoomTimeout = time.Second
				c.Log = slog.New(slog.DiscardHandler) // a flood of lines is not what is measured
				c.MaxPerAddress = 400
			})
			defer s.lift()
			a.run(t, s)
			s.wantHonestBind(t)
			grown := heapInUse() - before
			t.Logf("heap in use: %+d KiB", grown>>10)
			if grown > heapAllowed {
				t.Errorf("the heap has grown by %d MiB, more than %d", grown>>20, heapAllowed>>20)
			}
			s.lift()
			for until := time.Now().Add(patience); len(s.server.snapshot()) > 0; runtime.Gosched() {
				if time.Now().After(until) {
					t.Fatal("sessions are left")
				}
			}
			s.wantHonestBind(t)
		})
	}
}

// lift ends the attack.
func (s *siege) lift() {
	for _, c := range s.held {
		_ = c.Close()
	}
	s.held = nil
}

// wantHonestBind binds on a connection of its own, from connect to answer.
func (s *siege) wantHonestBind(t *testing.T) {
	t.Helper()
	until := time.Now().Add(honestTime)
	d := tls.Dialer{NetDialer: &net.Dialer{Deadline: until}, Config: s.ca.Client("127.0.0.1")}
	conn, err := d.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal("an honest client:", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(until)
	_, err = conn.Write(ldapwire.AppendBindRequest(nil, 1, "CN=bob", []byte("Secret-2")))
	msg, readErr := ldapwire.NewReader(conn, 0).Next()
	if err := errors.Join(err, readErr); err != nil {
		t.Fatal("an honest client's bind:", err)
	}
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil || res.Code != ldapwire.ResultSuccess {
		t.Fatalf("an honest client's bind: %s, %v", res.Code, err)
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestG8_HalfAnswerToAChange: the DC begins to answer a password change and
// ends; nobody knows whether it was made, and nothing else is recorded.
func TestG8_HalfAnswerToAChange(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(ldapwire.Message) []byte
	}{
		{"half", func(msg ldapwire.Message) []byte { return plainAnswer(msg)[:6] }},
		{"a success to another ID", func(msg ldapwire.Message) []byte { msg.ID++; return plainAnswer(msg) }},
		{"a success to another operation", func(msg ldapwire.Message) []byte { msg.Op = ldapwire.OpDelRequest; return plainAnswer(msg) }},
		{"a notice", func(ldapwire.Message) []byte {
			return ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultUnavailable, strings.Repeat("x", 10))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := newRig(t, func(p *peer) {
				for msg := range p.requests() {
					if msg.Op == ldapwire.OpModifyRequest {
						p.send(tt.answer(msg))
						return
					}
					p.send(plainAnswer(msg))
				}
			})
			c := r.dial()
			c.bind(1)
			c.send(changePassword(t, 2, "old", "New.Pass1"))
			c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultUnavailable)
			if o := r.recorder.outcome(1); o != "unknown" {
				t.Errorf("recorded as %q, want unknown", o)
			}
		})
	}
}
