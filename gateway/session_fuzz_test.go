package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/prometheus/client_golang/prometheus"
)

// FuzzSession lets bytes decide what a client and a domain controller say, and
// holds a session to what must be true whatever they say:
//
//   - it ends, with every goroutine of it (else synctest reports a deadlock);
//   - the client gets whole messages, under IDs that it used, at most one final
//     answer for each request, and those of one ID in the order of the DC;
//   - a password is recorded as accepted only if the DC said success to the
//     request that carried it, after it had that request.
//
// Time is synctest's: a silent side costs nothing.
func FuzzSession(f *testing.F) {
	for _, seed := range [][2]string{
		{"\x00\x01\x03\x02\x02\x05", "\x00\x00\x00\x00\x00"},
		{"\x00\x01\x03\x02\x03\x03\x03\x04", "\x00\x00\x00\x03\x01\x00\x00\x02\x00\x00"},
		{"\x00\x01\x04\x02\x07\x03\x06\x01\x08\x0230\x02\x01", "\x80\x00\x00\x01\x00\x04\x00\x05\x00\x0a\x00\x0b"},
		{"\x00\x01\x02\x05\x05\x05\x03\x05\x00\x05", "\x00\x0c\x00\x0c\x00\x00\x06\x07\x08\x09"},
		{"\x02\x02\x02\x03\x02\x04\x0b\x00\x0d\x00", "\x00\x0b\x00\x0b\x00\x06"},
		{"\x00\x01\x03\x02\x0d\x00\x03\x03", "\x00\x00\x00\x02\x00\x02"},
		{"\x00\x01\x09\x02\x03\x02\x00\x01\x03\x04", "\x80\x00\x00\x00\x09\x00\x00\x00\x0a"},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	metrics, ca, now := NewMetrics(prometheus.NewRegistry()), certstest.New(f), time.Now()
	server, client := ca.Server("127.0.0.1"), ca.Client("127.0.0.1")
	for _, conf := range []*tls.Config{server, client} {
		conf.Time = func() time.Time { return now } // certificates are of today
		conf.SessionTicketsDisabled = true
	}
	f.Fuzz(func(t *testing.T, says, dcSays []byte) {
		says, dcSays = says[:min(len(says), 400)], dcSays[:min(len(dcSays), 400)]
		synctest.Test(t, func(t *testing.T) {
			reconnect := len(dcSays) > 0 && dcSays[0]&0x80 != 0
			dc := &fuzzDC{pipeDC: pipeDC{tb: t, server: server, client: client}, script: dcSays, proven: map[string]bool{}}
			dc.serve = dc.converse
			srv, err := New(Config{
				TLS: server, Capture: dc, Metrics: metrics, Log: slog.New(slog.DiscardHandler),
				Domains:  func() []*Domain { return just(&Domain{Name: "corp.example.test", DCs: dc, Capture: true}) },
				PoolSize: -1, Reconnect: reconnect, LockoutGuard: len(says)%2 == 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			c := &fuzzClient{t: t, script: says}
			c.converse(srv)
			dc.wg.Wait()
			c.check()
			dc.check()
		})
	})
}

// script gives a test its next decision; 0 when there is none left.
type script []byte

func (s *script) next() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

type fuzzClient struct {
	t      *testing.T
	script script
	sent   []byte // all that was written
	got    []byte // all that was read
}

func (c *fuzzClient) converse(srv *Server) {
	mine, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { _ = runPiped(srv, theirs) })
	wg.Go(func() { c.got, _ = io.ReadAll(mine) })
	for n := 0; len(c.script) > 0; n++ {
		frame, pause := c.frame(n)
		if pause {
			time.Sleep(time.Second)
		}
		if _, err := mine.Write(frame); err != nil {
			break
		}
		c.sent = append(c.sent, frame...)
	}
	time.Sleep(time.Hour) // whatever is outstanding is answered or given up
	_ = mine.Close()
	wg.Wait()
}

// frame is what the client says next.
func (c *fuzzClient) frame(n int) (frame []byte, pause bool) {
	what, id := c.script.next(), int32(c.script.next()%8)
	password := fmt.Appendf(nil, "Fuzz.Pass.%d", n)
	mod := func(op ldapwire.ModOp, value []byte) ldapwire.Mod {
		quoted, err := ldapwire.AppendUnicodePwd(nil, value)
		if err != nil {
			c.t.Fatal(err)
		}
		return ldapwire.Mod{Op: op, Type: "unicodePwd", Values: [][]byte{quoted}}
	}
	switch what % 15 {
	case 0, 14:
		return ldapwire.AppendBindRequest(nil, id, aliceDN, []byte("Secret-1")), false
	case 1:
		return ldapwire.AppendBindRequest(nil, id, "", nil), false
	case 2:
		return ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: aliceDN, Scope: ldapwire.ScopeSubtree}), false
	case 3:
		return ldapwire.AppendModifyRequest(nil, id, aliceDN, mod(ldapwire.ModDelete, []byte("old")), mod(ldapwire.ModAdd, password)), false
	case 4:
		return ldapwire.AppendModifyRequest(nil, id, aliceDN, mod(ldapwire.ModReplace, password)), false
	case 5:
		return ldapwire.AppendAbandonRequest(nil, id, int32(c.script.next()%8)), false
	case 6:
		return ldapwire.AppendExtendedRequest(nil, id, ldapwire.OIDWhoAmI, nil, false), false
	case 7:
		value := append([]byte{0x30, byte(len(password) + 2), 0x82, byte(len(password))}, password...)
		return ldapwire.AppendExtendedRequest(nil, id, ldapwire.OIDPasswordModify, value, true), false
	case 8:
		size := min(int(id), len(c.script))
		raw := c.script[:size]
		c.script = c.script[size:]
		return raw, false
	case 9:
		return ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{}), false // the root DSE
	case 10:
		return ldapwire.AppendAddRequest(nil, id, aliceDN, []ldapwire.AttributeValues{{Type: "unicodePwd", Values: mod(0, password).Values}}), false
	case 11:
		return ldapwire.AppendDelRequest(nil, id, aliceDN)[:8], false
	case 12:
		return ldapwire.AppendDelRequest(nil, id, aliceDN), false
	}
	return nil, true
}

// check looks at what the client got.
func (c *fuzzClient) check() {
	requests, finals, newest := map[int32]int{}, map[int32]int{}, map[int32]int{}
	for in := ldapwire.NewReader(bytes.NewReader(c.sent), 0); ; {
		msg, err := in.Next()
		if err != nil {
			break
		}
		requests[msg.ID]++
	}
	for in := ldapwire.NewReader(bytes.NewReader(c.got), 0); ; {
		msg, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			c.t.Fatalf("the client got something that is not LDAP: %v", err)
		}
		if msg.ID == 0 {
			continue
		}
		if msg.Op.IsFinalResponse() {
			finals[msg.ID]++
		}
		if requests[msg.ID] == 0 || finals[msg.ID] > requests[msg.ID] {
			c.t.Fatalf("%s: the client has sent %d requests with this ID and got %d final answers", msg, requests[msg.ID], finals[msg.ID])
		}
		var stamp int
		if i := bytes.Index(msg.Raw, []byte("stamp=")); i >= 0 {
			_, _ = fmt.Sscanf(string(msg.Raw[i:]), "stamp=%d;", &stamp)
			if stamp <= newest[msg.ID] {
				c.t.Fatalf("%s: answer %d of the DC came after %d", msg, stamp, newest[msg.ID])
			}
			newest[msg.ID] = stamp
		}
	}
}

// fuzzDC is the domain controller, and the store that passwords are recorded in.
type fuzzDC struct {
	pipeDC

	mu      sync.Mutex
	script  script          // guarded by mu
	stamps  int             // guarded by mu
	intents []string        // the passwords; guarded by mu
	settled []int           // indices of those accepted; guarded by mu
	proven  map[string]bool // passwords to which the DC said success; guarded by mu
}

func (d *fuzzDC) decide() byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.script.next()
}

// fuzzConn is one connection of the DC.
type fuzzConn struct {
	dc   *fuzzDC
	conn net.Conn
	said []byte           // not yet a whole message
	held map[int32]string // passwords of requests without an answer
	late []byte
}

func (d *fuzzDC) converse(p *peer) {
	c := &fuzzConn{dc: d, conn: p.conn, held: map[int32]string{}}
	for { // without p's patience: the client is as slow as the script says
		msg, err := p.in.Next()
		if err != nil {
			return
		}
		if password := passwordIn(msg); password != "" {
			c.held[msg.ID] = password
		}
		if !c.answer(msg) {
			return
		}
	}
}

// passwordIn finds the password that a request sets; the fuzzer's are marked.
func passwordIn(msg ldapwire.Message) string {
	if msg.Op != ldapwire.OpModifyRequest && msg.Op != ldapwire.OpAddRequest {
		return ""
	}
	plain := bytes.ReplaceAll(msg.Raw, []byte{0}, nil) // UTF-16 of ASCII
	_, rest, found := bytes.Cut(plain, []byte(`"Fuzz.Pass.`))
	number, _, _ := bytes.Cut(rest, []byte(`"`))
	if !found {
		return ""
	}
	return "Fuzz.Pass." + string(number)
}

// answer does what the script says about one request; false: no more.
func (c *fuzzConn) answer(msg ldapwire.Message) bool {
	what := c.dc.decide()
	op := msg.Op.Response()
	switch what & 0x7f % 16 {
	case 1:
		return c.say(c.result(msg.ID, op, ldapwire.ResultInsufficientAccessRights))
	case 2:
		return true // silence
	case 3:
		return c.say(c.result(msg.ID+1, op, 0), c.result(msg.ID, op, 0))
	case 4:
		return c.say([]byte{0x30, what, c.dc.decide(), c.dc.decide()})
	case 5:
		half := c.result(msg.ID, op, 0)
		return c.say(half[:len(half)/2])
	case 6:
		return false
	case 7:
		return c.say(ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultBusy, ""))
	case 8:
		return c.say(ldapwire.AppendDelRequest(nil, msg.ID, aliceDN))
	case 9:
		return c.say(c.result(msg.ID, ldapwire.OpDelResponse, 0))
	case 10:
		return c.say(c.result(msg.ID, op, 0), c.result(msg.ID, op, ldapwire.ResultBusy))
	case 11: // with the next one
		c.late = append(c.late, c.result(msg.ID, op, 0)...)
		return true
	case 12:
		return c.say(c.result(int32(c.dc.decide()%8)+1, op, 0))
	case 13:
		return c.say(c.result(ldapwire.MaxMessageID, ldapwire.OpSearchResultDone, 0))
	}
	if msg.Op == ldapwire.OpSearchRequest {
		return c.say(c.entry(msg.ID), c.result(msg.ID, op, 0))
	}
	return c.say(c.result(msg.ID, op, 0))
}

func (c *fuzzConn) stamp() string {
	c.dc.mu.Lock()
	defer c.dc.mu.Unlock()
	c.dc.stamps++
	return fmt.Sprintf("stamp=%d;", c.dc.stamps)
}

func (c *fuzzConn) result(id int32, op ldapwire.Op, code ldapwire.ResultCode) []byte {
	if op == 0 || id <= 0 {
		return nil
	}
	return ldapwire.AppendResult(nil, id, op, code, "", c.stamp())
}

func (c *fuzzConn) entry(id int32) []byte {
	return ldapwire.AppendSearchEntry(nil, id, aliceDN, []ldapwire.AttributeValues{
		{Type: "objectGUID", Values: [][]byte{aliceGUID[:]}},
		{Type: "description", Values: [][]byte{[]byte(c.stamp())}}})
}

// say sends what waited and the frames, and notes which passwords it says
// success to. false: the connection is over.
func (c *fuzzConn) say(frames ...[]byte) bool {
	all := append(c.late, bytes.Join(frames, nil)...)
	c.late = nil
	c.said = append(c.said, all...)
	for {
		size, err := ldapwire.FrameSize(c.said, 1<<20)
		if err != nil || size == 0 || size > len(c.said) {
			break
		}
		if msg, err := ldapwire.ParseMessage(c.said[:size]); err == nil {
			c.note(msg)
		}
		c.said = c.said[size:]
	}
	_, err := c.conn.Write(all)
	return err == nil
}

func (c *fuzzConn) note(msg ldapwire.Message) {
	res, err := ldapwire.ParseResult(msg.Body)
	if err != nil || res.Code != 0 || msg.Op != ldapwire.OpModifyResponse && msg.Op != ldapwire.OpAddResponse {
		return
	}
	if password, ok := c.held[msg.ID]; ok {
		c.dc.mu.Lock()
		c.dc.proven[password] = true
		c.dc.mu.Unlock()
	}
}

func (d *fuzzDC) AppendIntent(_ context.Context, _ identity.Change, password secret.Bytes) (identity.Seq, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.intents = append(d.intents, string(password.Expose()))
	return identity.Seq(len(d.intents)), nil
}

func (d *fuzzDC) Settle(_ context.Context, seq identity.Seq, o identity.Outcome, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o == identity.OutcomeAccepted {
		d.settled = append(d.settled, int(seq)-1)
	}
	return nil
}

func (d *fuzzDC) SettleAccount(ctx context.Context, seq identity.Seq, _ identity.Account, reason string) error {
	return d.Settle(ctx, seq, identity.OutcomeAccepted, reason)
}

// check looks at what was recorded.
func (d *fuzzDC) check() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range d.settled {
		if password := d.intents[i]; !d.proven[password] {
			d.tb.Errorf("%q was recorded as accepted, and the DC did not say so", password)
		}
	}
}
