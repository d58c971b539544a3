package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// refusals is a log of what the gateway answered itself.
type refusals struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *refusals) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *refusals) lines() (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, `msg="answered by the gateway"`) {
			found = append(found, line)
		}
	}
	return found
}

// TestRefusalsAreLogged: at the default level the log says what was refused
// without the DC, to whom and why, and a client cannot fill it.
func TestRefusalsAreLogged(t *testing.T) {
	log := new(refusals)
	r, _ := newRig(t, newGuardedDC("Secret-1").serve, guarded, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	c := r.dial()
	c.tryBind(1, "alice@corp.example.test", "stale")
	if got := log.lines(); len(got) != 0 {
		t.Fatalf("the DC refused this one: %q", got)
	}
	c.tryBind(2, "alice@corp.example.test", "stale")
	c.send(ldapwire.AppendSASLBindRequest(nil, 3, "", "GSSAPI", nil))
	c.want(ldapwire.OpBindResponse)
	if res := c.tryBind(4, "alice@corp.example.test", "Secret-1"); res.Code != ldapwire.ResultSuccess {
		t.Fatal(res.Code)
	}
	c.send(ldapwire.AppendModifyRequest(nil, 5, aliceDN, ldapwire.Mod{
		Op: ldapwire.ModReplace, Type: "userPassword", Values: [][]byte{[]byte("{SSHA}hidden-hash")},
	}))
	c.want(ldapwire.OpModifyResponse)
	got := log.lines()
	for i, want := range [][]string{
		{"level=INFO", "op=bind", "result=invalidCredentials", "name=alice@corp.example.test", "guard=repeated", "client=127.0.0.1:"},
		{"level=INFO", "op=bind", "result=authMethodNotSupported", "only simple binds can cross the gateway"},
		{"level=INFO", "op=modify", "result=unwillingToPerform", "a hashed password cannot be used"},
	} {
		if i >= len(got) {
			t.Errorf("not logged: %q", want)
			continue
		}
		for _, w := range want {
			if !strings.Contains(got[i], w) {
				t.Errorf("%q lacks %q", got[i], w)
			}
		}
	}
	for id := range int32(100) {
		c.tryBind(6+id, "alice@corp.example.test", "stale")
	}
	if n := len(log.lines()); n > 2*toldAtMost {
		t.Errorf("%d lines of one session at once, want about %d", n, toldAtMost)
	}
}

func TestTold(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var s told
	for _, tt := range []struct {
		op   ldapwire.Op
		code ldapwire.ResultCode
		want bool
	}{
		{ldapwire.OpBindRequest, ldapwire.ResultInvalidCredentials, true},
		{ldapwire.OpExtendedRequest, ldapwire.ResultConstraintViolation, true},
		{ldapwire.OpSearchRequest, ldapwire.ResultAdminLimitExceeded, false},
		{ldapwire.OpModifyRequest, ldapwire.ResultUnavailable, false},
		{ldapwire.OpExtendedRequest, ldapwire.ResultSuccess, false},
	} {
		if got := s.worth(tt.op, tt.code, now); got != tt.want {
			t.Errorf("%s, %s: %t, want %t", tt.op, tt.code, got, tt.want)
		}
	}
	for range toldAtMost - 2 {
		s.worth(ldapwire.OpBindRequest, ldapwire.ResultBusy, now)
	}
	if s.worth(ldapwire.OpBindRequest, ldapwire.ResultBusy, now.Add(toldSpan-1)) {
		t.Error("told of more than the limit within the span")
	}
	if !s.worth(ldapwire.OpBindRequest, ldapwire.ResultBusy, now.Add(toldSpan)) {
		t.Error("not told of after the span")
	}
}
