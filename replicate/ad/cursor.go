package ad

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dirgate/dirgate/store/identity"
)

// A Cursor says how far a [Reader] has read, for the store to keep; what is in
// it is the Reader's own.
type Cursor []byte

// Controller is the dnsHostName of the controller that it was read from; empty
// when nothing was read.
func (c Cursor) Controller() string {
	p, err := parseCursor(c)
	if err != nil {
		return ""
	}
	return p.Host
}

// ErrFullCompare: what has changed since the cursor cannot be told without a
// gap, and a [Reader.Snapshot] must be taken. The text says why.
var ErrFullCompare = errors.New("a full compare is needed")

// position is what a Cursor holds.
type position struct {
	Version    int           `json:"v"`
	Host       string        `json:"host"`       // dnsHostName of the controller
	Service    string        `json:"service"`    // its dsServiceName
	Invocation identity.GUID `json:"invocation"` // of its database
	Method     Method        `json:"method"`
	USN        uint64        `json:"usn"`              // highestCommittedUSN before the read
	Cookie     []byte        `json:"cookie,omitempty"` // DirSync's
	MaxPwdAge  string        `json:"maxPwdAge,omitempty"`
	// What was read; with another root or scope group other users count.
	Root  string        `json:"root,omitempty"`
	Scope identity.GUID `json:"scope,omitzero"`
}

// positionVersion changes when a Reader reads more than before, so that what an
// older one left in the mirror is read anew. Since 2, Group.Privileged.
const positionVersion = 2

func (p *peer) position(m Method, at place) position {
	return position{Version: positionVersion, Host: p.host, Service: p.service, Invocation: p.invocation,
		Method: m, USN: p.usn, MaxPwdAge: p.maxPwdAge, Root: at.root, Scope: at.scope}
}

func (p position) cursor() (Cursor, error) { return json.Marshal(p) }

func parseCursor(c Cursor) (position, error) {
	var p position
	switch err := json.Unmarshal(c, &p); {
	case len(c) == 0:
		return p, fullCompare("nothing was read before")
	case err != nil:
		return p, fullCompare("the cursor cannot be read: %v", err)
	case p.Version != positionVersion:
		return p, fullCompare("the cursor is of version %d, and this program's of %d", p.Version, positionVersion)
	}
	return p, nil
}

// check compares a position with the controller of now (MS-ADTS 3.1.1.1.9 on
// USNs and invocation IDs).
func (p position) check(now *peer, at place, want Method) error {
	switch {
	case p.Host != now.host || p.Service != now.service:
		return fullCompare("the domain controller is %s now, and was %s: USNs are each controller's own", now.host, p.Host)
	case p.Invocation != now.invocation:
		return fullCompare("%s was restored from a backup: its invocationId is %s now, and was %s", now.host, now.invocation, p.Invocation)
	case now.usn < p.USN:
		return fullCompare("the database of %s was put back without a restore (USN rollback): highestCommittedUSN is %d now, and was %d; demote or restore this controller as Microsoft's documentation on USN rollback describes",
			now.host, now.usn, p.USN)
	case p.Root != at.root || p.Scope != at.scope:
		return fullCompare("the root container or the scope group is another one, or has been renamed")
	case p.MaxPwdAge != now.maxPwdAge:
		return fullCompare("the domain's maxPwdAge has changed, and with it when each password expires")
	case want != MethodAuto && want != p.Method:
		return fullCompare("changes are to be found by %s, and were by %s", want, p.Method)
	}
	return nil
}

func fullCompare(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrFullCompare}, args...)...)
}
