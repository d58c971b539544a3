package gateway

import (
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// A session may add so many refusals to the log in a span of time: a client
// that repeats itself is told of often enough, and cannot fill the disk.
const (
	toldAtMost = 10
	toldSpan   = 10 * time.Second
)

// told counts the refusals of a session that the log has told of.
type told struct {
	since time.Time
	n     int
}

// worth reports whether an answer that the gateway made itself is one to tell
// an administrator of: a bind or a write was refused. That no DC could be
// reached is told elsewhere, with the reason.
func (t *told) worth(op ldapwire.Op, code ldapwire.ResultCode, now time.Time) bool {
	switch op {
	case ldapwire.OpBindRequest, ldapwire.OpModifyRequest, ldapwire.OpAddRequest, ldapwire.OpExtendedRequest:
	default:
		return false
	}
	if code == ldapwire.ResultSuccess || code == ldapwire.ResultUnavailable {
		return false
	}
	if now.Sub(t.since) >= toldSpan {
		t.since, t.n = now, 0
	}
	t.n++
	return t.n <= toldAtMost
}
