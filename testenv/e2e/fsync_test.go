package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// call is one line of a trace: a call that began there, or one that ended.
type call struct {
	name   string
	peers  string // "local->remote" of a socket
	begins bool
	ends   bool
}

var (
	wholeCall   = regexp.MustCompile(`^\d+ +(\w+)\(([^,)]*).* = (-?\d+|\?)`)
	begunCall   = regexp.MustCompile(`^\d+ +(\w+)\(([^,)]*).*<unfinished \.\.\.>`)
	resumedCall = regexp.MustCompile(`^\d+ +<\.\.\. (\w+) resumed>.* = (-?\d+|\?)`)
	socketPeers = regexp.MustCompile(`TCP(?:v6)?:\[(.*->.*)\]`)
)

// readTrace reads what strace -f -yy wrote. Calls that failed are left out:
// nothing was synced or sent by them.
func readTrace(text string) (calls []call) {
	peers := func(arg string) string {
		m := socketPeers.FindStringSubmatch(arg)
		if m == nil {
			return ""
		}
		return m[1]
	}
	for line := range strings.Lines(text) {
		if m := resumedCall.FindStringSubmatch(line); m != nil {
			if !strings.HasPrefix(m[2], "-") {
				calls = append(calls, call{name: m[1], ends: true})
			}
		} else if m := wholeCall.FindStringSubmatch(line); m != nil {
			if !strings.HasPrefix(m[3], "-") {
				calls = append(calls, call{name: m[1], peers: peers(m[2]), begins: true, ends: true})
			}
		} else if m := begunCall.FindStringSubmatch(line); m != nil {
			calls = append(calls, call{name: m[1], peers: peers(m[2]), begins: true})
		}
	}
	return calls
}

// order is what a trace of one password change says: how many syncs of the log
// were complete between the gateway's last question before the change and the
// change itself, and between the change and the client's answer.
type order struct{ beforeDC, beforeClient int }

// orderOf reads the order from a trace that begins before the client asks and
// ends after it was answered. dc is the session's connection to the DC, as
// "local->remote", gateway the gateway's address.
func orderOf(calls []call, dc, gateway string) (o order, ok bool) {
	isWrite := func(c call) bool {
		return c.begins && slices.Contains([]string{"write", "writev", "sendto", "sendmsg"}, c.name)
	}
	toClient := slices.IndexFunc(calls, func(c call) bool { return isWrite(c) && strings.HasPrefix(c.peers, gateway+"->") })
	if toClient < 0 {
		return o, false
	}
	var toDC []int
	for i, c := range calls[:toClient] {
		if isWrite(c) && c.peers == dc {
			toDC = append(toDC, i)
		}
	}
	if len(toDC) < 2 {
		return o, false
	}
	change, question := toDC[len(toDC)-1], toDC[len(toDC)-2]
	syncs := func(calls []call) (n int) {
		for _, c := range calls {
			if c.ends && c.name == "msync" {
				n++
			}
		}
		return n
	}
	return order{syncs(calls[question:change]), syncs(calls[change:toClient])}, true
}

// TestG5_SyncedBeforeTheAnswer follows the daemon's system calls: the intent
// is on disk before the DC is sent the change, and the outcome before the
// client is sent the answer.
func TestG5_SyncedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, nil, 1, 1)
	m.serve()
	m.wantReady()
	c, err := m.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dn := m.dns[0]
	if err := c.Bind(dn, before); err != nil {
		t.Fatal(err)
	}
	if err := m.modify(c, dn, before, "First-Of-Two-1"); err != nil { // opens what is opened once
		t.Fatal(err)
	}
	m.drain(2 * patience)
	m.verify()
	tr := m.attach(func(int) {}, "-yy", "-e", "trace=write,writev,sendto,sendmsg,"+syncCalls)
	if err := m.modify(c, dn, "First-Of-Two-1", "Second-Of-Two-2"); err != nil {
		t.Fatal(err)
	}
	m.drain(2 * patience)
	tr.detach()
	o, ok := orderOf(readTrace(tr.said.String()), m.dcs.lastChange.Load().(string), m.ldaps)
	if !ok {
		t.Fatalf("the trace lacks a write to the DC or to the client:\n%s", tr.said.String())
	}
	t.Logf("complete syncs between the last question to the DC and the change: %d; between the change and the client's answer: %d", o.beforeDC, o.beforeClient)
	if o.beforeDC == 0 {
		t.Errorf("the DC was sent the change before the intent was on disk:\n%s", tr.said.String())
	}
	if o.beforeClient == 0 {
		t.Errorf("the client was answered before the outcome was on disk:\n%s", tr.said.String())
	}
}

// TestOrderOf: the proof sees an order that is wrong.
func TestOrderOf(t *testing.T) {
	t.Parallel()
	const (
		health   = "7 write(4<TCP:[127.0.0.1:4000->127.0.0.1:636]>, \"\"..., 90) = 90\n"
		question = "7 write(9<TCP:[127.0.0.1:5000->127.0.0.1:636]>, \"\"..., 90) = 90\n"
		change   = "7 write(9<TCP:[127.0.0.1:5000->127.0.0.1:636]>, \"\"..., 200) = 200\n"
		begun    = "8 msync(0x7f0000000000, 4096, MS_SYNC <unfinished ...>\n"
		synced   = "8 <... msync resumed>) = 0\n"
		failed   = "8 <... msync resumed>) = -1 EIO (Input/output error)\n"
		whole    = "8 msync(0x7f0000000000, 4096, MS_SYNC) = 0\n"
		answer   = "7 write(5<TCP:[127.0.0.1:700->127.0.0.1:6000]>, \"\"..., 40 <unfinished ...>\n"
	)
	for name, tt := range map[string]struct {
		trace string
		want  order
		ok    bool
	}{
		"right":              {question + whole + change + begun + synced + answer, order{1, 1}, true},
		"a health read":      {question + whole + change + health + whole + answer, order{1, 1}, true},
		"intent too late":    {question + begun + change + synced + whole + answer, order{0, 2}, true},
		"outcome too late":   {question + whole + change + begun + answer + synced, order{1, 0}, true},
		"a sync that failed": {question + whole + change + begun + failed + answer, order{1, 0}, true},
		"nothing was sent":   {whole + answer, order{}, false},
	} {
		if got, ok := orderOf(readTrace(tt.trace), "127.0.0.1:5000->127.0.0.1:636", "127.0.0.1:700"); got != tt.want || ok != tt.ok {
			t.Errorf("%s: got %+v, %t, want %+v, %t", name, got, ok, tt.want, tt.ok)
		}
	}
}
