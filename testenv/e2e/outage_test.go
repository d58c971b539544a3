package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
)

var (
	sayPending = regexp.MustCompile(`(?m)^dirgate_changelog_pending\{direction="import"\} (\d+)`)
	sayPeak    = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB`)
)

func (in *installation) pending() int {
	in.t.Helper()
	m := sayPending.FindStringSubmatch(in.metrics())
	if m == nil {
		in.t.Fatal("metrics lack dirgate_changelog_pending")
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// peak is the most memory that the daemon has had, in bytes.
func (in *installation) peak() int {
	in.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", in.daemon.Process.Pid))
	if err != nil {
		in.t.Fatal(err)
	}
	m := sayPeak.FindSubmatch(text)
	if m == nil {
		in.t.Fatalf("no VmHWM in %s", text)
	}
	kB, _ := strconv.Atoi(string(m[1]))
	return kB << 10
}

// outageMemory bounds the daemon during an outage, in bytes. What is pending
// is on disk: only its numbers are in memory.
const outageMemory = 256 << 20

// longestBackoff is how long a change may wait for its next attempt.
const longestBackoff = 5 * time.Minute

// TestL2_Outage: JumpCloud is away while every account's password changes
// twice. Then it is back, slowly at first. Of each account the newest password
// arrives, once, and nothing is lost.
func TestL2_Outage(t *testing.T) {
	t.Parallel()
	accounts := 100
	if *crashRounds > 0 {
		accounts = 5000
	}
	m := newMatrix(t, nil, accounts, 10)
	m.serve()
	m.wantReady()
	m.cloud.Fail(jcsim.Fault{PathPrefix: "/api", Times: 1 << 30, Kind: jcsim.Status, Code: 500})
	for range 2 {
		m.load(nil, accounts/m.clients)
	}
	waiting := 0
	for _, p := range m.book.pages() {
		if len(p.accepted) > 1 {
			waiting++
		}
	}
	if waiting < accounts*9/10 {
		t.Fatalf("the passwords of %d accounts were changed, want most of %d", waiting, accounts)
	}
	if n := m.pending(); n < waiting || n > accounts {
		t.Errorf("%d changes are pending, want one for each of %d to %d accounts", n, waiting, accounts)
	}
	t.Logf("%d changes acknowledged, %d pending, peak of memory %d MiB", m.changes.Load(), m.pending(), m.peak()>>20)
	m.cloud.Heal()
	m.cloud.Fail(jcsim.Fault{Method: "POST", PathPrefix: "/api", Times: accounts / 4, Kind: jcsim.Status, Code: 429, RetryAfter: "2"})
	m.drain(longestBackoff + 2*patience)
	m.verify()
	for _, p := range m.book.pages() {
		if len(p.written) > 1 || len(p.written) == 1 && p.written[0] != p.accepted[len(p.accepted)-1] {
			t.Errorf("%s: JumpCloud was given %d passwords, want the newest alone", p.name, len(p.written))
		}
	}
	t.Logf("drained; peak of memory %d MiB", m.peak()>>20)
	if peak := m.peak(); raceFlag == nil && peak > outageMemory {
		t.Errorf("peak of memory %d MiB, want at most %d", peak>>20, outageMemory>>20)
	}
	m.verifyPasswords()
}
