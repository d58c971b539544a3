package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
)

// outageTime is how long JumpCloud answers nothing but errors: longer in make
// crash. The tests of package reconcile let hours pass, by a clock of their own.
func outageTime() time.Duration {
	if *crashRounds > 0 {
		return 40 * time.Second
	}
	return 16 * time.Second
}

// TestS5_Outage: JumpCloud's API is away while administrators go on working on
// both sides, in its console too. When it is back both sides become the same,
// and nothing was given up.
func TestS5_Outage(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, "two-way", true)
	w.running()
	team := w.boundGroup("Team")
	ids := make(map[string]string) // of people that JumpCloud made
	dns := make(map[string]string) // of people that AD made
	enrol := func(name string) {
		t.Helper()
		id, err := w.enrol(name, "Cloud", "")
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = id
	}
	for n := range 3 {
		enrol(fmt.Sprint("cloudy", n))
		name := fmt.Sprint("worker", n)
		dns[name] = w.addUser(name, []byte(before))
	}
	eventually(t, patience, "everybody is on both sides", func() bool { return w.everywhere(ids, dns) })

	w.cloud.Fail(jcsim.Fault{Times: 1 << 30, Kind: jcsim.Status, Code: http.StatusServiceUnavailable})
	round := time.NewTicker(4 * time.Second)
	defer round.Stop()
	rounds := 0
	for until := time.Now().Add(outageTime()); time.Now().Before(until); rounds++ {
		<-round.C
		enrol(fmt.Sprint("newcloud", rounds))
		name := fmt.Sprint("newworker", rounds)
		dns[name] = w.addUser(name, []byte(before))
		who := rounds % 3
		w.dc.Replace(t, dns[fmt.Sprint("worker", who)], "title", fmt.Sprint("Title ", rounds))
		w.dc.Replace(t, dns[fmt.Sprint("worker", who)], "sn", fmt.Sprint("Worker ", rounds))
		w.dc.Replace(t, w.inAD(fmt.Sprint("cloudy", who)).DN, "givenName", fmt.Sprint("AD ", rounds))
		for field, value := range map[string]string{"lastname": fmt.Sprint("Cloudy ", rounds), "firstname": fmt.Sprint("JC ", rounds)} {
			if err := w.edit(ids[fmt.Sprint("cloudy", who)], field, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.cloud.SetMember(team, ids[fmt.Sprint("cloudy", who)], rounds%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	if dead := w.must("changelog", "list", "--status", "dead"); strings.Contains(dead, "user-change") {
		t.Errorf("an outage made dead letters:\n%s", dead)
	}
	if !slices.ContainsFunc(w.directions(), func(s replicationView) bool { return s.Pending > 0 || strings.Contains(s.Why, "JumpCloud") }) {
		t.Errorf("status during the outage: %+v", w.directions())
	}
	w.cloud.Heal()
	begun := time.Now()
	eventually(t, 3*patience, "both sides are the same again", func() bool { return w.everywhere(ids, dns) && w.same() == "" })
	t.Logf("%d rounds of edits on both sides during %s; the same on both sides %s after the outage's end", rounds, outageTime(), round1(begun))
	for n := range 3 {
		name := fmt.Sprint("cloudy", n)
		if first, last := w.attr(name, "givenName"), w.attr(name, "sn"); !strings.HasPrefix(first, "AD ") || !strings.HasPrefix(last, "Cloudy ") {
			t.Errorf("%s is %q %q, want AD's first name and JumpCloud's last name", name, first, last)
		}
		id := ids[name]
		if in := slices.Contains(w.cloud.Members(team), id); in != w.isMember("Team", name) {
			t.Errorf("%s in the group: at JumpCloud %t", name, in)
		}
	}
	w.settled(t)
}

func round1(since time.Time) time.Duration { return time.Since(since).Round(100 * time.Millisecond) }

// everywhere: who was made on one side is on the other.
func (w *syncWorld) everywhere(ids, dns map[string]string) bool {
	for name := range ids {
		if !w.enabled(name) {
			return false
		}
	}
	for name := range dns {
		if w.cloud.person(name).ID == "" {
			return false
		}
	}
	return true
}

// same says in whose names the two sides differ; empty: in nobody's.
func (w *syncWorld) same() (differ string) {
	for _, u := range w.cloud.Users() {
		e := w.inAD(u.Username)
		if e == nil {
			return u.Username + " is not in AD"
		}
		if first, last := e.GetAttributeValue("givenName"), e.GetAttributeValue("sn"); first != u.FirstName || last != u.LastName {
			return fmt.Sprintf("%s is %q %q in AD, and %q %q at JumpCloud", u.Username, first, last, u.FirstName, u.LastName)
		}
	}
	return ""
}

// TestL3_KilledWhileCreating: the daemon is killed while it makes accounts, and
// again. Every user gets one account, and no account a second user.
func TestL3_KilledWhileCreating(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, "two-way", true)
	w.running()
	w.must("replicate", "resync")
	crew := w.boundGroup("Crew")
	const people = 30
	for n := range people {
		if _, err := w.enrol(fmt.Sprint("crew", n), "Crew", crew); err != nil {
			t.Fatal(err)
		}
	}
	made := func() int { return len(w.allInAD("(&(objectClass=user)(sAMAccountName=crew*))")) }
	kills := 0
	for from := 0; kills < 4 && from < people; kills++ {
		eventually(t, patience, "more accounts are made", func() bool { return made() > from })
		if err := w.stop(syscall.SIGKILL); err == nil {
			t.Fatal("the daemon ended by itself")
		}
		from = made()
		t.Logf("killed with %d of %d accounts made", from, people)
		w.serve()
	}
	eventually(t, 2*patience, "everybody has an account", func() bool { return made() >= people })
	eventually(t, patience, "everybody is a member", func() bool { g := w.inAD("Crew"); return g != nil && len(g.GetAttributeValues("member")) == people })
	w.settled(t)
	seen := make(map[string]bool)
	for _, e := range w.allInAD("(&(objectClass=user)(sAMAccountName=crew*))") {
		mail := e.GetAttributeValue("mail")
		if seen[mail] || e.GetAttributeValue("userAccountControl") != "512" {
			t.Errorf("account %s with mail %q (seen before: %t) has userAccountControl %s", e.DN, mail, seen[mail], e.GetAttributeValue("userAccountControl"))
		}
		seen[mail] = true
	}
	if got := len(w.cloud.Users()); len(seen) != people || got != people+1 {
		t.Errorf("%d accounts and %d JumpCloud users, want %d and %d", len(seen), got, people, people+1)
	}
	linked := make(map[string]bool)
	for guid, id := range w.links() {
		if linked[id] {
			t.Errorf("JumpCloud user %s is linked twice, one is %s", id, guid)
		}
		linked[id] = true
	}
	if len(linked) != people+1 {
		t.Errorf("%d links, want %d", len(linked), people+1)
	}
}
