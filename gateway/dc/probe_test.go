package dc

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// script makes a link to a server that plays the steps: it reads one request
// before each and gives its ID.
func script(t *testing.T, steps ...func(conn net.Conn, id int32)) *link {
	ca := certstest.New(t)
	client, server := net.Pipe()
	conf := ca.Server("a.test")
	conf.SessionTicketsDisabled = true
	go func() {
		conn := tls.Server(server, conf)
		defer server.Close()
		in := ldapwire.NewReader(conn, 0)
		for _, step := range steps {
			msg, err := in.Next()
			if err != nil {
				return
			}
			step(conn, msg.ID)
		}
		_, _ = in.Next()
	}()
	conn := tls.Client(client, ca.Client("a.test"))
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return newLink(conn)
}

func send(frames ...[]byte) func(net.Conn, int32) {
	return func(conn net.Conn, _ int32) {
		for _, f := range frames {
			_, _ = conn.Write(f)
		}
	}
}

func good(id int32) []byte {
	frame := ldapwire.AppendSearchEntry(nil, id, "", []ldapwire.AttributeValues{{Type: "isSynchronized", Values: [][]byte{[]byte("TRUE")}}})
	return ldapwire.AppendSearchDone(frame, id, ldapwire.ResultSuccess, "", "")
}

func TestAsk(t *testing.T) {
	tests := []struct {
		name string
		step func(net.Conn, int32)
		want string // "" is success
		ends bool   // the connection is broken
	}{
		{"good", func(c net.Conn, id int32) { _, _ = c.Write(good(id)) }, "", false},
		{"in pieces", func(c net.Conn, id int32) {
			for _, b := range good(id) {
				_, _ = c.Write([]byte{b})
			}
		}, "", false},
		{"other attributes alone", func(c net.Conn, id int32) {
			_, _ = c.Write(ldapwire.AppendSearchDone(ldapwire.AppendSearchEntry(nil, id, "", nil), id, ldapwire.ResultSuccess, "", ""))
		}, "", false},
		{"answer to another request first", func(c net.Conn, id int32) {
			_, _ = c.Write(ldapwire.AppendSearchDone(nil, id+7, ldapwire.ResultBusy, "", ""))
			_, _ = c.Write(good(id))
		}, "", false},
		{"answers to others alone", func(c net.Conn, id int32) { _, _ = c.Write(good(id + 1)) }, "did not answer", false},
		{"notice", send(ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultUnavailable, "")), "with a notice", true},
		{"closed", func(c net.Conn, _ int32) { _ = c.(*tls.Conn).Close() }, "closed the connection", true},
		{"too large", func(c net.Conn, id int32) {
			_, _ = c.Write(ldapwire.AppendSearchEntry(nil, id, strings.Repeat("x", maxRootDSE), nil))
		}, "larger than the limit", true},
		{"other operation", func(c net.Conn, id int32) {
			_, _ = c.Write(ldapwire.AppendBindResponse(nil, id, ldapwire.ResultSuccess, "", "", nil))
		}, "with a bind response", false},
		{"nothing", send(), "did not answer", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := script(t, test.step)
				defer l.close(false)
				begin := time.Now()
				root, err := l.ask(t.Context(), time.Second)
				if test.want == "" && (err != nil || !root.seen) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("got %+v, %v, want error %q", root, err, test.want)
				}
				if time.Since(begin) > time.Second {
					t.Errorf("took %v, want at most 1s", time.Since(begin))
				}
				if l.broken() != test.ends {
					t.Errorf("broken is %v, want %v", l.broken(), test.ends)
				}
			})
		})
	}
}

// A request that cannot be sent says that the connection is broken, unless the
// peer only does not take it.
func TestAskCannotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The reader is stuck with an answer that nobody asked for, so it does
		// not see the end of the connection.
		l := script(t, func(c net.Conn, id int32) {
			_, _ = c.Write(append(good(id), good(id+100)...))
		})
		if _, err := l.ask(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = l.conn.NetConn().Close()
		if _, err := l.ask(t.Context(), time.Second); err == nil || !l.broken() {
			t.Errorf("got %v, broken %v, want an error and a broken connection", err, l.broken())
		}
		l.close(true)
	})
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		l := script(t, func(net.Conn, int32) { <-block })
		defer l.close(false)
		defer close(block)
		for range 2 { // the second is not even taken
			if _, err := l.ask(t.Context(), time.Second); err == nil || l.broken() {
				t.Errorf("got %v, broken %v, want an error and a connection that hangs", err, l.broken())
			}
		}
	})
}

func TestAskIDsStayInRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []int32
		step := func(c net.Conn, id int32) { ids = append(ids, id); _, _ = c.Write(good(id)) }
		l := script(t, step, step)
		defer l.close(true)
		l.id = ldapwire.MaxMessageID - 1
		for range 2 {
			if _, err := l.ask(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if len(ids) != 2 || ids[0] != ldapwire.MaxMessageID || ids[1] != 1 {
			t.Errorf("IDs %d, want 2147483647 and 1", ids)
		}
	})
}

// FuzzRootDSE feeds the decoder whole messages; it must judge, not panic, and
// call only a root DSE that was there a good one.
func FuzzRootDSE(f *testing.F) {
	f.Add(good(1))
	f.Add(ldapwire.AppendSearchDone(nil, 1, ldapwire.ResultSuccess, "", ""))
	f.Add(ldapwire.AppendSearchEntry(nil, 1, "", []ldapwire.AttributeValues{
		{Type: "supportedCapabilities", Values: [][]byte{[]byte(capabilityReadOnly)}}, {Type: "ISSYNCHRONIZED", Values: [][]byte{[]byte("false")}}}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var root rootDSE
		in := ldapwire.NewReader(strings.NewReader(string(stream)), maxRootDSE)
		for {
			msg, err := in.Next()
			if err != nil {
				return
			}
			switch msg.Op {
			case ldapwire.OpSearchResultEntry:
				_ = root.entry(msg.Body)
			case ldapwire.OpSearchResultDone:
				if err := root.done(msg.Body); err == nil && (!root.seen || root.notSynchronized) {
					t.Errorf("%+v is called good", root)
				} else if errors.Is(err, errNotSynchronized) && !root.notSynchronized {
					t.Errorf("%+v is called not synchronised", root)
				}
			}
		}
	})
}
