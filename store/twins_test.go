package store

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// TestP2_NewestOfBothDirections: of a linked pair the newest accepted password
// of both directions alone is open.
func TestP2_NewestOfBothDirections(t *testing.T) {
	t.Parallel()
	const (
		pending    = identity.StatusPending
		superseded = identity.StatusSuperseded
	)
	for _, tt := range []struct {
		name         string
		useCase      identity.UseCase // "": not registered
		linked       bool
		syncFirst    bool
		spoil        func(*testing.T, *fixture, identity.Seq) // the older one, before the newer
		older, newer identity.Status
	}{
		{"JumpCloud's is newer", identity.UseTwoWay, true, false, nil, superseded, pending},
		{"AD's is newer", identity.UseTwoWay, true, true, nil, superseded, pending},
		{"not registered", "", true, true, nil, superseded, pending},
		{"AD's is newer, and nothing is imported", identity.UseJumpCloud, true, true, nil, pending, pending},
		{"JumpCloud's is newer, and replicates alone", identity.UseJumpCloud, true, false, nil, superseded, pending},
		{"JumpCloud's is newer, and nothing is synced", identity.UseAD, true, false, nil, pending, pending},
		{"not linked", identity.UseTwoWay, false, false, nil, pending, pending},
		{"a dead one too", identity.UseTwoWay, true, true, func(t *testing.T, f *fixture, seq identity.Seq) {
			ok(t, f.MarkDead(t.Context(), seq, "too short"))
		}, superseded, pending},
		{"an applied one stays", identity.UseTwoWay, true, true, func(t *testing.T, f *fixture, seq identity.Seq) {
			ok(t, f.MarkApplied(t.Context(), seq, nil))
		}, identity.StatusApplied, pending},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newStore(t)
			if tt.useCase != "" {
				ok(t, f.PutDomain(t.Context(), Domain{Name: "corp.example", UseCase: string(tt.useCase)}, nil))
			}
			if tt.linked {
				f.link(t, 1, "u1")
			}
			pend := []func() identity.Seq{
				func() identity.Seq { return f.pend(t, 1, "of AD") },
				func() identity.Seq { return f.pendSync(t, "u1", "of JumpCloud") },
			}
			if tt.syncFirst {
				pend[0], pend[1] = pend[1], pend[0]
			}
			older := pend[0]()
			if tt.spoil != nil {
				tt.spoil(t, f, older)
			}
			newer := pend[1]()
			if a, b := f.status(t, older), f.status(t, newer); a != tt.older || b != tt.newer {
				t.Errorf("older %s, newer %s; want %s and %s", a, b, tt.older, tt.newer)
			}
			f.check(t)
			f.verified(t)
		})
	}
}

// TestP2_AcceptedLate: a password whose intent is older than one that the other
// side accepted meanwhile is not applied; one that was given up does not count.
func TestP2_AcceptedLate(t *testing.T) {
	for _, discard := range []bool{false, true} {
		f := newStore(t)
		f.link(t, 1, "u1")
		first := f.pend(t, 1, "first")
		late := f.intend(t, 1, "late")
		newer := f.pendSync(t, "u1", "newer")
		want := identity.StatusSuperseded
		if discard {
			ok(t, f.Discard(t.Context(), newer, "not wanted"))
			want = identity.StatusPending
		}
		ok(t, f.Settle(t.Context(), late, identity.OutcomeAccepted, ""))
		if got := f.status(t, late); got != want {
			t.Errorf("the late one is %s, want %s (newer one discarded: %v)", got, want, discard)
		}
		if got := f.status(t, first); got != identity.StatusSuperseded {
			t.Errorf("the first one is %s", got)
		}
		f.check(t)
	}
}

// TestP2_LinkedLate: two that have an open password each are linked.
func TestP2_LinkedLate(t *testing.T) {
	link := identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "u1"}
	for name, join := range map[string]func(*testing.T, *fixture){
		"by PutLink": func(t *testing.T, f *fixture) { ok(t, f.PutLink(t.Context(), link)) },
		"by MarkApplied": func(t *testing.T, f *fixture) {
			other := f.pend(t, 2, "of another account")
			ok(t, f.MarkApplied(t.Context(), other, &link))
		},
	} {
		for _, syncFirst := range []bool{false, true} {
			f := newStore(t)
			var imported, synced identity.Seq
			if syncFirst {
				synced, imported = f.pendSync(t, "u1", "a"), f.pend(t, 1, "b")
			} else {
				imported, synced = f.pend(t, 1, "a"), f.pendSync(t, "u1", "b")
			}
			join(t, f)
			older, newer := min(imported, synced), max(imported, synced)
			if a, b := f.status(t, older), f.status(t, newer); a != identity.StatusSuperseded || b != identity.StatusPending {
				t.Errorf("%s: older %s, newer %s", name, a, b)
			}
			f.check(t)
			f.verified(t)
		}
	}
	f := newStore(t) // the newer was given up: the older is all there is
	synced := f.pendSync(t, "u1", "a")
	ok(t, f.Discard(t.Context(), f.pend(t, 1, "b"), "nobody's"))
	f.link(t, 1, "u1")
	if got := f.status(t, synced); got != identity.StatusPending {
		t.Errorf("the only one left is %s", got)
	}
}

// TestP2_Echo: a password that was written to a side is not learnt there by a
// bind, and a newer one is.
func TestP2_Echo(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	f.link(t, 1, "u1")
	bind := func(date time.Time) identity.Change {
		c := syncChange("u1")
		c.Kind, c.PasswordDate = identity.PasswordBind, date
		return c
	}
	prove := func(date time.Time) error {
		_, err := f.AppendProven(ctx, bind(date), secret.New([]byte("proven")))
		if check := f.CheckProven(bind(date)); err != nil && (errors.Is(check, ErrInSync) != errors.Is(err, ErrInSync) || check == nil) {
			t.Errorf("CheckProven says %v, AppendProven %v", check, err)
		}
		return err
	}
	// AD's password is written to JumpCloud.
	imported := f.pend(t, 1, "of AD")
	if err := prove(start); !errors.Is(err, ErrOpenChange) {
		t.Errorf("while AD's is pending: %v", err)
	}
	link := identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "u1", PasswordSeq: imported, PasswordAt: start}
	ok(t, f.MarkApplied(ctx, imported, &link))
	for date, want := range map[time.Time]error{start.Add(-time.Hour): ErrInSync, start.Add(provenSkew): ErrInSync} {
		if err := prove(date); !errors.Is(err, want) {
			t.Errorf("password_date %v: %v, want %v", date, err, want)
		}
	}
	ok(t, f.ChangeLink(ctx, "corp.example", guid(1), func(l *identity.Link) { l.PasswordDate = start.Add(time.Second) }))
	if err := prove(start.Add(time.Second)); !errors.Is(err, ErrInSync) {
		t.Errorf("the password that JumpCloud was given: %v", err)
	}
	// A newer one of JumpCloud is learnt, and written to AD.
	date := start.Add(2 * time.Second)
	ok(t, prove(date))
	pending, err := f.Pending(identity.Sync, 10, 0)
	ok(t, err)
	if len(pending) != 1 || pending[0].Kind != identity.PasswordBind || !pending[0].PasswordDate.Equal(date) {
		t.Fatalf("pending: %+v", pending)
	}
	set := setAt(start.Add(10 * time.Minute))
	synced := pending[0].Seq
	link.PasswordSeq, link.PasswordAt, link.PasswordSet, link.PasswordDate = synced, start, set, date
	if _, err := f.prove(t, 1, set, "too early"); !errors.Is(err, ErrOpenChange) {
		t.Errorf("while JumpCloud's is pending: %v", err)
	}
	ok(t, f.MarkApplied(ctx, synced, &link))
	if _, err := f.prove(t, 1, set, "proven"); !errors.Is(err, ErrInSync) {
		t.Errorf("the password that AD was given: %v, want ErrInSync", err)
	}
	if err := prove(date); !errors.Is(err, ErrInSync) {
		t.Errorf("the password that JumpCloud had: %v, want ErrInSync", err)
	}
	if _, err := f.prove(t, 1, set+1, "newer"); err != nil {
		t.Errorf("a newer one of AD: %v", err)
	}
	f.check(t)
	bad := bind(time.Time{})
	if _, err := f.AppendProven(ctx, bad, secret.New([]byte("pw"))); err == nil || errors.Is(err, ErrInSync) || errors.Is(err, ErrOpenChange) {
		t.Errorf("without password_date: %v", err)
	}
}

// TestL1_LinkKeepsOthers: whoever puts a link, or applies a password with one
// that was read before, takes nothing away that others keep there.
func TestL1_LinkKeepsOthers(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	stale := identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "j1", Username: "u", At: start}
	ok(t, f.PutLink(ctx, stale))
	want := stale
	keep := func(l *identity.Link) {
		l.SuspendedByUs, l.SudoGiven, l.ExpiredFor = true, true, start
		l.DisabledByUs, l.MadeInAD, l.Agreed = true, true, map[string]string{"firstname": "A"}
	}
	keep(&want)
	ok(t, f.ChangeLink(ctx, "corp.example", guid(1), keep))
	seq := f.pend(t, 1, "pw")
	stale.PasswordSeq, stale.PasswordAt, stale.PasswordSet, stale.PasswordDate = seq, start, 5, start
	want.PasswordSeq, want.PasswordAt, want.PasswordSet, want.PasswordDate = seq, start, 5, start
	ok(t, f.MarkApplied(ctx, seq, &stale))
	check := func(after string) {
		t.Helper()
		if got, err := f.LinkByGUID("corp.example", guid(1)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("after %s:\n%+v, %v, want\n%+v", after, got, err, want)
		}
	}
	check("MarkApplied")
	ok(t, f.PutLink(ctx, identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "j1", Username: "u", At: start}))
	check("PutLink by who looked for a pair")
	want.Agreed, want.ExpiredFor = map[string]string{"firstname": "B"}, start.Add(time.Hour)
	ok(t, f.PutLink(ctx, identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "j1", Agreed: want.Agreed, ExpiredFor: want.ExpiredFor}))
	check("PutLink with what it sets")
	want.DisabledByUs = false
	ok(t, f.ChangeLink(ctx, "corp.example", guid(1), func(l *identity.Link) { l.DisabledByUs = false }))
	check("ChangeLink")

	group := identity.GroupLink{Domain: "corp.example", GUID: guid(9), GroupID: "g1", Name: "staff", Agreed: []string{"j1"}, AgreedName: "staff"}
	ok(t, f.PutGroupLink(ctx, group))
	ok(t, f.ChangeGroupLink(ctx, "CORP.example", guid(9), func(l *identity.GroupLink) { l.MadeInAD, l.AgreedName = true, "crew" }))
	group.MadeInAD, group.AgreedName = true, "crew"
	if got, err := f.GroupLinkByJumpCloudID("g1"); err != nil || !reflect.DeepEqual(got, group) {
		t.Errorf("group: %+v, %v, want %+v", got, err, group)
	}
	if err := f.ChangeGroupLink(ctx, "corp.example", guid(9), func(l *identity.GroupLink) { l.GroupID = "g2" }); !errors.Is(err, ErrLinkConflict) {
		t.Errorf("another group: %v", err)
	}
	if err := f.ChangeGroupLink(ctx, "corp.example", guid(8), func(*identity.GroupLink) {}); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a link: %v", err)
	}
}
