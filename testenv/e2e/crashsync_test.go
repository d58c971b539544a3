package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store"
)

// TestL3_KilledAtEverySync kills the daemon as it begins the first sync of a
// change, then as it begins the second of the next change, and so on until a
// change is applied before there is another: no durable step is left out.
func TestL3_KilledAtEverySync(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, nil, 1, 1)
	done := false
	for n := 1; !done; n++ {
		if n > 60 {
			t.Fatal("a change takes more than 60 syncs")
		}
		done = !m.killedAtSync(n)
	}
	m.serve()
	m.verifyPasswords()
	var reached []store.RecordType
	for at := range m.hits {
		for _, r := range syncSteps {
			if at == afterRecord(r) {
				reached = append(reached, r)
			}
		}
	}
	m.report(nil)
	// The first sync is the intent's; what follows the last record is not the
	// change's any more.
	for _, r := range []store.RecordType{store.RecordIntent, store.RecordAccepted, store.RecordAttempt} {
		if !slices.Contains(reached, r) {
			t.Errorf("never killed with %q as the last record of the change", r)
		}
	}
}

var syncSteps = []store.RecordType{"", store.RecordIntent, store.RecordAccepted, store.RecordAttempt, store.RecordApplied}

func afterRecord(r store.RecordType) moment {
	if r == "" {
		return "sync: nothing of the change is in the log"
	}
	return moment("sync: the change's last record is " + string(r))
}

// killedAtSync makes one change and kills the daemon at its n-th sync; false:
// it had no more than n-1.
func (m *matrix) killedAtSync(n int) bool {
	m.t.Helper()
	m.rounds++
	m.serve()
	m.wantReady()
	dn := m.dns[0]
	now, to := m.book.present(dn), fmt.Sprintf("Sync-Pass-%06d", m.serial.Add(1))
	c, err := m.dial()
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(dn, now); err != nil {
		m.t.Fatal(err)
	}
	m.drain(2 * patience)
	m.verify()
	kill, dead := m.killer(), make(chan struct{})
	// The delay is the time in which the kill arrives while the call has not
	// been carried out.
	tr := m.attach(func(i int) {
		if i == n {
			kill()
			close(dead)
		}
	}, "-e", "trace="+syncCalls, "-e", "inject="+syncCalls+":delay_enter=20000")
	answered := make(chan error, 1)
	go func() { answered <- m.modify(c, dn, now, to) }()
	killed := false
	for until := time.Now().Add(patience); !killed && !m.appliedHere(dn, to); {
		select {
		case <-dead:
			killed = true
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(until) {
			m.t.Fatalf("neither sync %d nor the end of the change comes", n)
		}
	}
	if !killed { // the record of the end may still be on its way to the disk
		select {
		case <-dead:
			killed = true
		case <-time.After(time.Second):
		}
	}
	tr.detach()
	_ = m.stop(syscall.SIGKILL)
	told := <-answered
	m.quiet()
	if told == nil && !m.book.isAccepted(dn, to) {
		m.t.Errorf("sync %d: the client was told of a change that the DC did not make", n)
	}
	if killed {
		before := m.replay.last
		m.follow()
		m.note(afterRecord(m.replay.lastOf(before)))
	}
	m.serve()
	m.drain(2 * patience)
	m.verify()
	_ = m.stop(syscall.SIGKILL)
	return killed
}

// appliedHere reports whether JumpCloud has the password.
func (m *matrix) appliedHere(dn, password string) bool {
	_, behind := m.book.behind(nil)
	return !behind && m.book.present(dn) == password
}
