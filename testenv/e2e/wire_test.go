package e2e

import (
	"bytes"
	"crypto/tls"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// peer is one LDAP connection on which frames are sent as they are.
type peer struct {
	conn *tls.Conn
	in   *ldapwire.Reader
}

func dialPeer(t *testing.T, address string, conf *tls.Config) *peer {
	t.Helper()
	conn, err := tls.Dial("tcp", address, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &peer{conn: conn, in: ldapwire.NewReader(conn, 64<<20)}
}

func (p *peer) send(t *testing.T, frame []byte) {
	t.Helper()
	_ = p.conn.SetDeadline(time.Now().Add(patience))
	if _, err := p.conn.Write(frame); err != nil {
		t.Fatal(err)
	}
}

// receive reads n messages, or up to the final one of a request when n is 0.
func (p *peer) receive(t *testing.T, n int) (frames [][]byte) {
	t.Helper()
	for {
		msg, err := p.in.Next()
		if err != nil {
			t.Fatalf("after %d messages: %v", len(frames), err)
		}
		frames = append(frames, bytes.Clone(msg.Raw))
		if len(frames) == n || n == 0 && msg.Op.IsFinalResponse() {
			return frames
		}
	}
}

// pair is a connection to the DC and one through the gateway. Both use the
// same message IDs, so that nothing at all may differ between their answers.
type pair struct {
	direct, through *peer
	id              int32
}

// step is one request, and what its answer must be for the comparison to mean
// something.
type step struct {
	name    string
	frame   func(id int32) []byte
	code    ldapwire.ResultCode
	entries int // at least
}

// run plays steps on one connection, all with IDs from first.
func run(t *testing.T, p *peer, first int32, steps []step) (answers [][][]byte) {
	t.Helper()
	for i, s := range steps {
		p.send(t, s.frame(first+int32(i)))
		answers = append(answers, p.receive(t, 0))
	}
	return answers
}

// equal plays all steps directly, then all of them through the gateway.
func (p *pair) equal(t *testing.T, steps ...step) {
	t.Helper()
	first := p.id + 1
	p.id += int32(len(steps))
	direct, through := run(t, p.direct, first, steps), run(t, p.through, first, steps)
	for i, s := range steps {
		wantMeaning(t, s, direct[i])
		wantEqual(t, s.name, through[i], direct[i])
	}
}

// wantMeaning holds a script against asking for nothing.
func wantMeaning(t *testing.T, s step, frames [][]byte) {
	t.Helper()
	msg, err := ldapwire.ParseMessage(frames[len(frames)-1])
	if err != nil {
		t.Fatal(err)
	}
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.Code != s.code || len(frames)-1 < s.entries {
		t.Errorf("%s: the DC says %v %q after %d messages, want %v after at least %d", s.name, res.Code, res.Diagnostic, len(frames)-1, s.code, s.entries)
	}
}

func wantEqual(t *testing.T, name string, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d messages through the gateway, %d directly", name, len(got), len(want))
		return
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("%s: message %d of %d differs\n through %x\n directly %x", name, i+1, len(want), clipped(got[i]), clipped(want[i]))
			return
		}
	}
}

func clipped(b []byte) []byte { return b[:min(len(b), 600)] }

// tlv is one BER element.
func tlv(tag byte, contents ...[]byte) []byte {
	all := bytes.Join(contents, nil)
	n := len(all)
	head := []byte{tag, byte(n)}
	switch {
	case n >= 1<<8:
		head = []byte{tag, 0x82, byte(n >> 8), byte(n)}
	case n >= 0x80:
		head = []byte{tag, 0x81, byte(n)}
	}
	return append(head, all...)
}

// control is a control to send; a nil value is absent.
func control(oid string, critical bool, value []byte) []byte {
	parts := [][]byte{tlv(0x04, []byte(oid))}
	if critical {
		parts = append(parts, tlv(0x01, []byte{0xff}))
	}
	if value != nil {
		parts = append(parts, tlv(0x04, value))
	}
	return tlv(0x30, parts...)
}

// with adds controls to a message.
func with(frame []byte, controls ...[]byte) []byte {
	head := 2
	if frame[1] >= 0x80 {
		head += int(frame[1] & 0x7f)
	}
	return tlv(0x30, frame[head:], tlv(0xa0, controls...))
}

func filter(t *testing.T, text string) []byte {
	t.Helper()
	p, err := ldap.CompileFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	return p.Bytes()
}

func search(name string, code ldapwire.ResultCode, entries int, p ldapwire.SearchParams, controls ...[]byte) step {
	return step{name: name, code: code, entries: entries, frame: func(id int32) []byte {
		frame := ldapwire.AppendSearchRequest(nil, id, p)
		if len(controls) > 0 {
			frame = with(frame, controls...)
		}
		return frame
	}}
}

func newPair(t *testing.T, w *world) *pair {
	t.Helper()
	pem, err := os.ReadFile(w.ca)
	if err != nil {
		t.Fatal(err)
	}
	dc, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{direct: dialPeer(t, dc.Host, w.dc.TLS()), through: dialPeer(t, w.ldaps, clientTLS(t, pem))}
	p.equal(t, step{name: "bind", frame: func(id int32) []byte {
		return ldapwire.AppendBindRequest(nil, id, w.adminName, w.adminPassword.Expose())
	}})
	return p
}

// windowsSearch writes lengths as Windows does, not as short as they can be.
func windowsSearch(id int32, dn string) []byte {
	long := func(tag byte, contents ...[]byte) []byte {
		all := bytes.Join(contents, nil)
		n := len(all)
		return append([]byte{tag, 0x84, 0, 0, byte(n >> 8), byte(n)}, all...)
	}
	number := []byte{0x02, 4, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
	return long(0x30, number, long(0x63, long(0x04, []byte(dn)), tlv(0x0a, []byte{0}), tlv(0x0a, []byte{0}),
		tlv(0x02, []byte{0}), tlv(0x02, []byte{0}), tlv(0x01, []byte{0}), tlv(0x87, []byte("objectClass")), long(0x30)))
}

// cookieOf reads the last field of a response control's value.
func cookieOf(t *testing.T, frame []byte, oid string) []byte {
	t.Helper()
	message, err := ber.DecodePacketErr(frame)
	if err != nil || len(message.Children) < 3 {
		t.Fatalf("no controls in the answer: %v", err)
	}
	for _, c := range message.Children[2].Children {
		if c.Children[0].Data.String() != oid {
			continue
		}
		value, err := ber.DecodePacketErr(c.Children[len(c.Children)-1].Data.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return value.Children[len(value.Children)-1].Data.Bytes()
	}
	t.Fatal("no such control in the answer")
	return nil
}
