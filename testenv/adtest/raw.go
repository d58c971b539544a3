package adtest

import (
	"crypto/tls"
	"net/url"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// A rawConn sends bytes of the test's own making.
type rawConn struct {
	t      testing.TB
	conn   *tls.Conn
	reader *ldapwire.Reader
}

func (s *suite) raw(t testing.TB) *rawConn {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", u.Host, s.TLS)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		t.Fatal(err)
	}
	return &rawConn{t, conn, ldapwire.NewReader(conn, 0)}
}

func (c *rawConn) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// final reads up to the next final answer.
func (c *rawConn) final() (id int32, o outcome) {
	c.t.Helper()
	for {
		m, err := c.reader.Next()
		if err != nil {
			c.t.Fatalf("receive: %v", err)
		}
		if !m.Op.IsFinalResponse() {
			continue
		}
		r, err := ldapwire.ParseResult(m.Body)
		if err != nil {
			c.t.Fatalf("receive: %v", err)
		}
		o := outcome{code: uint16(r.Code)}
		if reason, ok := ldapwire.SubCode(r.Diagnostic); ok {
			o.reason = reason
		}
		return m.ID, o
	}
}

// frames: what cannot be said with go-ldap.
func (s *suite) frames(t *testing.T) {
	password := s.AdminPassword.Expose()
	head := func(id int32) []byte {
		return ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: s.BaseDN, Attributes: []string{"dc"}})
	}
	t.Run("pipelined", func(t *testing.T) {
		// A bind, and behind it in the same segment what needs it, a failed
		// bind, and again what needs the first.
		c := s.raw(t)
		b := ldapwire.AppendBindRequest(nil, 1, s.AdminDN, password)
		b = append(b, head(2)...)
		b = ldapwire.AppendBindRequest(b, 3, s.AdminDN, []byte("wrong"))
		b = append(b, head(4)...)
		c.send(b)
		for i, want := range []outcome{success, success, refused(0x52e), success} {
			id, got := c.final()
			if id != int32(i+1) || got != want {
				t.Errorf("answer %d is to message %d: %v, want %v", i+1, id, got, want)
			}
		}
	})
	t.Run("critical control", func(t *testing.T) {
		// go-ldap writes TRUE as 01, which Samba takes for FALSE.
		c := s.raw(t)
		c.send(ldapwire.AppendBindRequest(nil, 1, s.AdminDN, password))
		c.final()
		for i, control := range []ldapwire.Control{{OID: []byte("1.2.3.4.5.6"), Criticality: true}, {OID: []byte("1.2.3.4.5.6")}} {
			m, err := ldapwire.ParseMessage(head(int32(i + 2)))
			if err != nil {
				t.Fatal(err)
			}
			c.send(ldapwire.AppendWithControls(nil, m, control))
			want := success
			if control.Criticality {
				want = outcome{code: ldap.LDAPResultUnavailableCriticalExtension}
			}
			if _, got := c.final(); got.code != want.code {
				t.Errorf("%v: %v, want %v", control, got, want)
			}
		}
	})
	t.Run("long lengths", func(t *testing.T) {
		// Windows clients write every length in four octets.
		c := s.raw(t)
		c.send(ldapwire.AppendBindRequest(nil, 1, s.AdminDN, password))
		c.final()
		short := ldapwire.AppendDelRequest(nil, 2, "CN=nobody,"+s.BaseDN)
		long := append([]byte{0x30, 0x84, 0, 0, 0, short[1]}, short[2:]...)
		c.send(long)
		if id, got := c.final(); id != 2 || got.code != ldap.LDAPResultNoSuchObject {
			t.Errorf("answer to %d: %v, want to 2: no such object", id, got)
		}
	})
	t.Run("SASL", func(t *testing.T) {
		c := s.raw(t)
		c.send(ldapwire.AppendSASLBindRequest(nil, 1, "", "NO-SUCH-MECHANISM", nil))
		_, got := c.final()
		s.check(t, "unknown mechanism", got, differs(outcome{code: ldap.LDAPResultAuthMethodNotSupported}, outcome{code: ldap.LDAPResultOperationsError}, "other code"))
	})
	t.Run("garbage ends the connection", func(t *testing.T) {
		c := s.raw(t)
		c.send([]byte("GET / HTTP/1.0\r\n\r\n"))
		for {
			m, err := c.reader.Next()
			if err != nil {
				break
			}
			if m.ID != 0 {
				t.Errorf("answered as message %d", m.ID)
			}
		}
		s.check(t, "bind on another connection", s.bind(t, s.AdminDN, string(password)), both(success))
	})
}
