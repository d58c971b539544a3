package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// setAt is a pwdLastSet.
func setAt(t time.Time) int64 { return t.UnixNano()/100 + 116_444_736_000_000_000 }

// provenChange is what a bind of account n proved.
func provenChange(n byte, set int64) identity.Change {
	c := change(n)
	c.Kind, c.PwdLastSet = identity.PasswordBind, set
	return c
}

func (f *fixture) prove(t testing.TB, n byte, set int64, password string) (identity.Seq, error) {
	t.Helper()
	c := provenChange(n, set)
	check := f.CheckProven(c)
	seq, err := f.AppendProven(t.Context(), c, secret.New([]byte(password)))
	if (check == nil) != (err == nil) || check != nil && !errors.Is(err, errors.Unwrap(check)) && !errors.Is(err, check) {
		t.Errorf("CheckProven says %v, AppendProven %v", check, err)
	}
	return seq, err
}

// TestG6_Proven: a proven password is pending at once, and applied like others.
func TestG6_Proven(t *testing.T) {
	f := newStore(t)
	set := setAt(start.Add(-2 * time.Hour))
	seq, err := f.prove(t, 1, set, "proven")
	ok(t, err)
	e, err := f.Entry(seq)
	ok(t, err)
	if e.Status != identity.StatusPending || e.Kind != identity.PasswordBind || e.PwdLastSet != set {
		t.Errorf("got %+v", e)
	}
	password, err := f.Secret(seq, f.opener)
	ok(t, err)
	if string(password.Expose()) != "proven" {
		t.Error("another password was sealed")
	}
	records, err := f.Records(0, 10)
	ok(t, err)
	if len(records) != 2 || records[0].Type != RecordIntent || records[1].Type != RecordAccepted {
		t.Errorf("records %+v, want intent and accepted", records)
	}
	ok(t, f.MarkApplied(t.Context(), seq, &identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "a1", PasswordSeq: seq, PasswordAt: start, PasswordSet: set}))
	f.reopen(t)
	f.check(t)
	if _, err := f.prove(t, 1, set, "proven"); !errors.Is(err, ErrInSync) {
		t.Errorf("the same once more: %v, want ErrInSync", err)
	}
	if _, err := f.prove(t, 1, set-1, "older"); !errors.Is(err, ErrInSync) {
		t.Errorf("an older one: %v, want ErrInSync", err)
	}
	if _, err := f.prove(t, 1, set+1, "newer"); err != nil {
		t.Errorf("a newer one: %v", err)
	}
}

// TestG6_ProvenNeverInTheWay: while a change of the account is open, in either
// direction, nothing is sealed or written.
func TestG6_ProvenNeverInTheWay(t *testing.T) {
	set := setAt(start.Add(-2 * time.Hour))
	for _, tt := range []struct {
		name string
		open func(*testing.T, *fixture) identity.Seq
		want error
	}{
		{"unsettled", func(t *testing.T, f *fixture) identity.Seq { return f.intend(t, 1, "other") }, ErrOpenChange},
		{"pending", func(t *testing.T, f *fixture) identity.Seq { return f.pend(t, 1, "other") }, ErrOpenChange},
		{"dead", func(t *testing.T, f *fixture) identity.Seq {
			seq := f.pend(t, 1, "other")
			ok(t, f.MarkDead(t.Context(), seq, "no"))
			return seq
		}, ErrOpenChange},
		{"of the other direction", func(t *testing.T, f *fixture) identity.Seq {
			ok(t, f.PutLink(t.Context(), identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "a1"}))
			c := syncChange("a1")
			seq, err := f.AppendIntent(t.Context(), c, secret.New([]byte("other")))
			ok(t, err)
			return seq
		}, ErrOpenChange},
		{"proven by another bind", func(t *testing.T, f *fixture) identity.Seq {
			seq, err := f.prove(t, 1, set, "other")
			ok(t, err)
			return seq
		}, ErrOpenChange},
		{"refused", func(t *testing.T, f *fixture) identity.Seq {
			seq := f.intend(t, 1, "other")
			ok(t, f.Settle(t.Context(), seq, identity.OutcomeRefused, "no"))
			return seq
		}, nil},
		{"discarded", func(t *testing.T, f *fixture) identity.Seq {
			seq := f.pend(t, 1, "other")
			ok(t, f.Discard(t.Context(), seq, "no"))
			return seq
		}, nil},
		{"of another account", func(t *testing.T, f *fixture) identity.Seq { return f.pend(t, 2, "other") }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newStore(t)
			other := tt.open(t, f)
			before, err := f.Stats()
			ok(t, err)
			status := f.status(t, other)
			_, err = f.prove(t, 1, set, "proven")
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			after, err := f.Stats()
			ok(t, err)
			if tt.want != nil && after.LastSeq != before.LastSeq {
				t.Errorf("%d records were written", after.LastSeq-before.LastSeq)
			}
			if now := f.status(t, other); now != status {
				t.Errorf("the other change became %s, and was %s", now, status)
			}
			f.check(t)
		})
	}
}

// TestG6_LinkKnowsItsPassword: what JumpCloud has is known by pwdLastSet, or by
// when it was given.
func TestG6_LinkKnowsItsPassword(t *testing.T) {
	set := setAt(start)
	for _, tt := range []struct {
		name string
		link identity.Link
		has  bool
	}{
		{"no password was given", identity.Link{PasswordSet: set}, false},
		{"this one", identity.Link{PasswordSeq: 1, PasswordSet: set}, true},
		{"a newer one", identity.Link{PasswordSeq: 1, PasswordSet: set + 1}, true},
		{"an older one", identity.Link{PasswordSeq: 1, PasswordSet: set - 1, PasswordAt: start.Add(time.Hour)}, false},
		{"unknown, given later", identity.Link{PasswordSeq: 1, PasswordAt: start.Add(time.Second)}, true},
		{"unknown, given within the skew before", identity.Link{PasswordSeq: 1, PasswordAt: start.Add(-provenSkew)}, true},
		{"unknown, given before", identity.Link{PasswordSeq: 1, PasswordAt: start.Add(-provenSkew - time.Second)}, false},
	} {
		if got := linkHas(tt.link, provenChange(1, set)); got != tt.has {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.has)
		}
	}
	f := newStore(t)
	link := identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "a1", PasswordSeq: 9, PasswordSet: set}
	ok(t, f.PutLink(t.Context(), link))
	link.PasswordSeq, link.PasswordSet = 4, set-100 // an answer that came late
	ok(t, f.PutLink(t.Context(), link))
	if got, err := f.LinkByGUID("corp.example", guid(1)); err != nil || got.PasswordSeq != 9 || got.PasswordSet != set {
		t.Errorf("got %+v, %v; want the newer password", got, err)
	}
}

func TestG6_ProvenWantsProof(t *testing.T) {
	f := newStore(t)
	good := provenChange(1, setAt(start))
	for name, spoil := range map[string]func(*identity.Change){
		"another kind": func(c *identity.Change) { c.Kind = identity.PasswordChange },
		"no GUID":      func(c *identity.Change) { c.Account.GUID = identity.GUID{} },
		"no time":      func(c *identity.Change) { c.PwdLastSet = 0 },
		"temporary":    func(c *identity.Change) { c.MustChange = true },
		"no domain":    func(c *identity.Change) { c.Account.Domain = "" },
	} {
		c := good
		spoil(&c)
		if _, err := f.AppendProven(t.Context(), c, secret.New([]byte("pw"))); err == nil || f.CheckProven(c) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

const childProve = "DIRGATE_STORE_TEST_PROVE"

// TestG6_KilledWhileProving: after a kill at any moment a proven password is
// pending with its secret, or was never there: an intent of that kind that
// waits for an answer would wait for ever.
func TestG6_KilledWhileProving(t *testing.T) {
	if root := os.Getenv(childProve); root != "" {
		proveUntilKilled(t, root)
		return
	}
	f := newStore(t)
	ok(t, f.Close())
	f.Store = nil
	root := t.TempDir()
	f.dir = filepath.Join(root, "log")
	ok(t, os.Symlink(f.keys.dir, filepath.Join(root, "keys")))
	ok(t, os.Symlink(filepath.Join(filepath.Dir(f.keys.dir), "master.key"), filepath.Join(root, "master.key")))
	acknowledged := make(map[identity.Seq]bool)
	for _, lines := range []int{1, 7, 60} {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestG6_KilledWhileProving$")
		child.Env = append(os.Environ(), childProve+"="+root)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		ok(t, err)
		ok(t, child.Start())
		scanner, n := bufio.NewScanner(out), 0
		for scanner.Scan() {
			var seq identity.Seq
			if _, err := fmt.Sscanf(scanner.Text(), "proven %d", &seq); err != nil {
				t.Fatalf("the child says %q", scanner.Text())
			}
			acknowledged[seq] = true
			if n++; n == lines {
				ok(t, child.Process.Kill())
			}
		}
		_ = child.Wait() // killed
	}
	f.reopen(t)
	f.check(t)
	if len(acknowledged) < 68 {
		t.Fatalf("%d were acknowledged, want 68 at least", len(acknowledged))
	}
	unsettled, err := f.Unsettled(10, 0)
	ok(t, err)
	if len(unsettled) > 0 {
		t.Errorf("%d intents wait for an answer", len(unsettled))
	}
	for seq := range acknowledged {
		if got := f.status(t, seq); got != identity.StatusPending {
			t.Errorf("change %d is %s", seq, got)
		}
		if password, err := f.Secret(seq, f.opener); err != nil || !strings.HasPrefix(string(password.Expose()), "proven") {
			t.Errorf("password of change %d: %v", seq, err)
		}
	}
}

func proveUntilKilled(t *testing.T, root string) {
	sealer, err := secret.OpenSealer(filepath.Join(root, "keys"))
	ok(t, err)
	master, err := secret.ReadMasterKey(filepath.Join(root, "master.key"))
	ok(t, err)
	logKey, err := secret.NewLogKey(master)
	ok(t, err)
	st, err := Open(Options{Dir: filepath.Join(root, "log"), Sealer: sealer, LogKey: logKey, Log: slog.New(slog.DiscardHandler)})
	ok(t, err)
	stats, err := st.Stats()
	ok(t, err)
	for n := uint64(stats.LastSeq); ; n++ {
		c := provenChange(1, setAt(start))
		c.Account.GUID = identity.GUID{0: byte(n), 1: byte(n >> 8), 2: byte(n >> 16), 15: 1}
		seq, err := st.AppendProven(context.Background(), c, secret.New(fmt.Appendf(nil, "proven %d", n)))
		ok(t, err)
		fmt.Printf("proven %d\n", seq)
	}
}

// TestS4_ProvenPastAnUnknownOutcome: a change at JumpCloud whose answer was
// never seen does not keep newer passwords from being learnt; an older one of
// AD, and any while the answer may come, it does.
func TestS4_ProvenPastAnUnknownOutcome(t *testing.T) {
	for _, tt := range []struct {
		name    string
		learnt  func(at time.Time) identity.Change
		age     time.Duration
		refused bool
	}{
		{"JumpCloud's, soon", cloudBind, answered - time.Minute, true},
		{"JumpCloud's", cloudBind, answered, false},
		{"AD's, set before", func(at time.Time) identity.Change { return provenChange(1, setAt(at.Add(-time.Hour))) }, 48 * time.Hour, true},
		{"AD's, set after", func(at time.Time) identity.Change { return provenChange(1, setAt(at.Add(time.Hour))) }, 48 * time.Hour, false},
	} {
		f := newStore(t)
		ok(t, f.PutLink(t.Context(), identity.Link{Domain: change(1).Account.Domain, GUID: change(1).Account.GUID, JumpCloudID: cloudID}))
		made := change(1)
		made.Direction, made.CloudID = identity.Sync, cloudID
		seq, err := f.AppendIntent(t.Context(), made, secret.New([]byte("unseen")))
		ok(t, err)
		e, err := f.Entry(seq)
		ok(t, err)
		ok(t, f.Close())
		later := f.options()
		later.Now = func() time.Time { return start.Add(tt.age) }
		f.Store, err = Open(later)
		ok(t, err)
		c := tt.learnt(e.At)
		check := f.CheckProven(c)
		_, err = f.AppendProven(t.Context(), c, secret.New([]byte("learnt")))
		if errors.Is(err, ErrOpenChange) != tt.refused || !tt.refused && err != nil || (check == nil) != (err == nil) {
			t.Errorf("%s: %v, and the check says %v", tt.name, err, check)
		}
		ok(t, f.Close())
	}
}

const cloudID = "64b0c0ffee64b0c0ffee0001"

func cloudBind(at time.Time) identity.Change {
	c := change(1)
	c.Kind, c.Direction, c.CloudID, c.PasswordDate = identity.PasswordBind, identity.Sync, cloudID, at
	return c
}
