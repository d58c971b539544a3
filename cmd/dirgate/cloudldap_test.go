package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// TestG5_CloudBind: one bind at JumpCloud's LDAP tells right from wrong; all
// else is an error that names no password.
func TestG5_CloudBind(t *testing.T) {
	w, _ := newBothSides(t)
	b := cloudBinder{addrDialer{strings.TrimPrefix(w.cloud.LDAPURL(), "ldaps://"), w.ca(t)}, "ou=Users,o=" + w.cloud.OrgID() + ",dc=jumpcloud,dc=com"}
	if _, err := w.cloud.AddUser(jcsim.User{Username: "bob", Email: "bob@corp.test", LDAPBound: true, Password: secret.New([]byte("Canary.Pass1"))}); err != nil {
		t.Fatal(err)
	}
	announced := 0
	announce := func() error { announced++; return nil }
	full := errors.New("disk full")
	for _, tt := range []struct {
		name, user, password string
		binder               cloudBinder
		before               func() error
		right                bool
		err                  string
		announced            int
	}{
		{"right", "bob", "Canary.Pass1", b, announce, true, "", 1},
		{"wrong", "bob", "Canary.Pass2", b, announce, false, "", 1},
		{"empty proves nothing", "bob", "", b, announce, false, "no password", 0},
		{"not announced, so not made", "bob", "Canary.Pass1", b, func() error { return full }, false, "disk full", 0},
		{"no connection", "bob", "Canary.Pass1", cloudBinder{unusable{errors.New("refused")}, b.base}, announce, false, "dial JumpCloud's LDAP", 0},
		{"no answer", "bob", "Canary.Pass1", cloudBinder{answering(t, ""), b.base}, announce, false, `as "bob"`, 1},
		{"not an answer", "bob", "Canary.Pass1", cloudBinder{answering(t, "HTTP/1.1 400\r\n\r\n"), b.base}, announce, false, `as "bob"`, 1},
		// A bindResponse (RFC 4511 section 4.2.2) to message 1 with busy (51), and one to message 2.
		{"busy", "bob", "Canary.Pass1", cloudBinder{answering(t, "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x33\x04\x00\x04\x00"), b.base}, announce, false, "the answer is", 1},
		{"another's answer", "bob", "Canary.Pass1", cloudBinder{answering(t, "\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00"), b.base}, announce, false, "not one to a bind", 1},
	} {
		announced = 0
		right, err := tt.binder.TestPassword(t.Context(), tt.user, secret.New([]byte(tt.password)), tt.before)
		if right != tt.right || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || announced != tt.announced {
			t.Errorf("%s: %v, %v, announced %d times; want %v, %q, %d", tt.name, right, err, announced, tt.right, tt.err, tt.announced)
		}
		if err != nil && strings.Contains(err.Error(), "Canary") {
			t.Errorf("%s: the error tells the password: %v", tt.name, err)
		}
	}
	if newCloudBinder(nil) != nil {
		t.Error("there is a binder where there is no LDAP")
	}
	if got := newCloudBinder(&gateway.Domain{BaseDN: "o=1,dc=jumpcloud,dc=com"}).(cloudBinder).base; got != "ou=Users,o=1,dc=jumpcloud,dc=com" {
		t.Errorf("users are below %s", got)
	}
}

// ca trusts JumpCloud's simulator.
func (w *bothSides) ca(t *testing.T) *tls.Config {
	t.Helper()
	conf, err := certs.Client(w.reg.JumpCloud.CAPEM, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// addrDialer dials one address.
type addrDialer struct {
	addr string
	conf *tls.Config
}

func (d addrDialer) Dial(ctx context.Context) (*tls.Conn, string, error) {
	dialer := tls.Dialer{Config: d.conf}
	conn, err := dialer.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, "", err
	}
	return conn.(*tls.Conn), d.addr, nil
}

// answering is a server that reads a request and says answer, whatever it was
// asked.
func answering(t *testing.T, answer string) gateway.Dialer {
	t.Helper()
	ca := certstest.New(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", ca.Server("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 512))
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return addrDialer{ln.Addr().(*net.TCPAddr).String(), ca.Client("127.0.0.1")}
}
