package ad

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/go-ldap/ldap/v3"
)

// TestI2_NoGap: another database than the cursor's leads to a full compare.
func TestI2_NoGap(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		w := d.world(t)
		revert, restore := d.save()
		mirrors := make(map[Method]*mirror)
		w.addUser("later", w.people)
		for _, m := range methods() {
			mirrors[m] = w.mirror(w.newReader(m))
		}
		each := func(what, words string) {
			t.Helper()
			for method, m := range mirrors {
				_, err := m.r.Changes(t.Context(), m.cursor)
				wantReason(t, what+", "+string(method), err, words)
			}
		}
		revert()
		each("USN rollback", "USN rollback")
		for i := range 20 { // more than were lost
			w.addUser(fmt.Sprintf("more%d", i), w.people)
		}
		restore()
		each("restored", "invocationId")
		for _, m := range mirrors {
			again := w.mirror(m.r)
			compare(t, "after a restore", again, w.mirror(w.newReader(MethodUSN)))
		}
		m := mirrors[MethodDirSync]
		for name, bad := range map[string]Cursor{"none": nil, "garbage": Cursor("x"), "another version": Cursor(`{"v":99}`)} {
			_, err := m.r.Changes(t.Context(), bad)
			wantReason(t, "cursor "+name, err, "")
		}
		pos, err := parseCursor(w.mirror(m.r).cursor)
		w.must("parse", err)
		for words, change := range map[string]func(*position){
			"domain controller is":    func(p *position) { p.Host = "dc9.corp.example.test" },
			"root container":          func(p *position) { p.Root = w.base },
			"maxPwdAge":               func(p *position) { p.MaxPwdAge = "-1" },
			"refuses the DirSync":     func(p *position) { p.Cookie = []byte("garbage") },
			"changes are to be found": func(p *position) { p.Method = MethodUSN },
		} {
			other := pos
			change(&other)
			cursor, err := other.cursor()
			w.must("encode", err)
			_, err = m.r.Changes(t.Context(), cursor)
			wantReason(t, words, err, words)
		}
	})
}

// TestI2_OtherController: a reader that reaches another controller says so; one
// that can reach the old one goes on with it.
func TestI2_OtherController(t *testing.T) {
	d := simulated(t)
	w := d.world(t)
	other := simulated(t)
	dials := &switchable{to: d.dial}
	m := w.mirror(w.newReader(MethodAuto, func(c *ReaderConfig) { c.DCs = dials; c.RootDN, c.ScopeGroupGUID = "", identity.GUID{} }))
	m.r.drop()
	if _, err := m.update(t.Context()); err != nil {
		t.Fatalf("the same controller: %v", err)
	}
	m.r.drop()
	dials.set(other.dial)
	_, err := m.r.Changes(t.Context(), m.cursor)
	wantReason(t, "another controller", err, "invocationId") // the simulators share a name
}

// TestI2_Range: a group of 1,600 is read whole, also where the server answers
// with ranges unasked.
func TestI2_Range(t *testing.T) {
	onBoth(t, func(t *testing.T, d *domain) {
		const n = 1600
		d.addUsers("many", n)
		w := d.world(t)
		members := make([]string, n)
		for i := range members {
			members[i] = w.dn(fmt.Sprintf("many%05d", i))
		}
		m := w.mirror(w.newReader(MethodAuto))
		w.addGroup("large", w.people, members...)
		large := w.guid(w.dn("large"))
		changes, err := m.update(t.Context())
		w.must("changes", err)
		i := slices.IndexFunc(changes, func(c Change) bool { return c.GUID == large })
		if i < 0 || len(changes[i].Group.Members) != n || !slices.IsSortedFunc(changes[i].Group.Members, compareGUID) {
			t.Fatalf("members of the large group: %+v", changes[max(i, 0)].Group)
		}
		compare(t, "large group", m, w.mirror(w.newReader(MethodUSN)))
	})
}

// TestRangesOfAChangingGroup: what is put together of two states is no answer.
func TestRangesOfAChangingGroup(t *testing.T) {
	entry := func(name, usn string, values ...string) *ldap.Entry {
		return ldap.NewEntry("CN=g", map[string][]string{name: values, "uSNChanged": {usn}})
	}
	for _, tt := range []struct {
		name   string
		e      *ldap.Entry
		values int
		low    int
		last   bool
		bad    bool
	}{
		{"plain", entry("member", "1", "a", "b"), 2, 0, true, false},
		{"none", entry("cn", "1", "x"), 0, 0, true, false},
		{"first range", entry("member;range=0-1", "1", "a", "b"), 2, 0, false, false},
		{"last range", entry("member;Range=2-*", "1", "c"), 1, 2, true, false},
		{"a range of another length", entry("member;range=0-2", "1", "a", "b"), 0, 0, false, true},
		{"a range of nothing", entry("member;range=0--1", "1"), 0, 0, false, true},
		{"no number", entry("member;range=x-1", "1", "a"), 0, 0, false, true},
	} {
		values, low, last, err := memberValues(tt.e)
		if (err != nil) != tt.bad || !tt.bad && (len(values) != tt.values || low != tt.low || last != tt.last) {
			t.Errorf("%s: got %q from %d, last %v, %v", tt.name, values, low, last, err)
		}
	}
}

// TestI8_IncompleteReads: whichever search of a snapshot is answered short, the
// snapshot is an error.
func TestI8_IncompleteReads(t *testing.T) {
	d := simulated(t)
	w := d.world(t)
	try := func(fault adsim.Fault, skip int) (Snapshot, error) {
		r := w.newReader(MethodUSN)
		defer r.Close()
		fault.Op, fault.Skip, fault.Times = ldapwire.OpSearchRequest, skip, 1
		defer d.sim.Inject(fault)()
		return r.Snapshot(t.Context())
	}
	limit := adsim.Fault{Kind: adsim.Answer, Code: ldapwire.ResultSizeLimitExceeded}
	total := 0
	for _, err := try(limit, 0); err != nil; _, err = try(limit, total) {
		if total++; total > 100 {
			t.Fatalf("there is no end of searches: %v", err)
		}
	}
	if total < 10 {
		t.Fatalf("a snapshot of %d searches, want those for the domain, the scope, groups, users, members", total)
	}
	for name, fault := range map[string]adsim.Fault{
		"time limit":                   {Kind: adsim.Answer, Code: ldapwire.ResultTimeLimitExceeded},
		"referral":                     {Kind: adsim.Answer, Code: ldapwire.ResultReferral},
		"no such object":               {Kind: adsim.Answer, Code: ldapwire.ResultNoSuchObject},
		"no rights":                    {Kind: adsim.Answer, Code: ldapwire.ResultInsufficientAccessRights},
		"nothing, and no page control": {Kind: adsim.Answer, Code: ldapwire.ResultSuccess},
		"unavailable":                  {Kind: adsim.Answer, Code: ldapwire.ResultUnavailable},
		"cut off":                      {Kind: adsim.DropAfter, Bytes: 20},
	} {
		probes := 0 // the question whether deleted objects are seen may be answered by no
		for skip := range total {
			s, err := try(fault, skip)
			if err == nil && len(s.Limits) > 0 {
				probes++
			} else if err == nil {
				t.Errorf("%s at search %d: a snapshot with %d users and no error", name, skip, len(s.Users))
			}
		}
		if probes > 1 {
			t.Errorf("%s: %d searches may fail, want 1 at most", name, probes)
		}
	}
}

// TestI2_Unavailable: a controller that does not answer is told from one that
// has nothing.
func TestI2_Unavailable(t *testing.T) {
	d := simulated(t)
	w := d.world(t)
	r := w.newReader(MethodAuto)
	m := w.mirror(r)
	r.drop()
	r.client.cfg.DCs = failing{}
	if _, err := r.Changes(t.Context(), m.cursor); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.client.cfg.DCs = d.dial
	if _, err := r.Changes(ctx, m.cursor); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

type failing struct{}

func (failing) Dial(context.Context) (*tls.Conn, string, error) { return nil, "", io.ErrUnexpectedEOF }
