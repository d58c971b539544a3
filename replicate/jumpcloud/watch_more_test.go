package jumpcloud

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// requests is how many the simulator served since the last call.
func (w *watched) requests() (n int) {
	for _, count := range w.sim.Counts() {
		n += count
	}
	w.sim.ForgetHistory()
	return n
}

func (w *watched) users(n int) (ids []string) {
	w.t.Helper()
	for i := range n {
		ids = append(ids, w.user(w.t, jcsim.User{Username: fmt.Sprintf("many%d", i), Email: fmt.Sprintf("many%d@corp.example", i)}))
	}
	return ids
}

// TestI8_Faults: with requests that fail in every way, nobody is taken for
// gone, and the state is right once a refresh says that it is complete.
func TestI8_Faults(t *testing.T) {
	for _, insights := range []bool{false, true} {
		t.Run(fmt.Sprintf("insights %v", insights), func(t *testing.T) {
			w := watchBench(t, insights, nil)
			ids := w.users(250)
			for _, id := range ids[:120] {
				if err := w.sim.BindUser(w.ad, id, true); err != nil {
					t.Fatal(err)
				}
			}
			w.settle()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			complete := 0
			for n := range 40 {
				for range 1 + r.IntN(3) {
					w.sim.Fail([]jcsim.Fault{{Kind: jcsim.HalfAnswer}, {Kind: jcsim.Status, Code: 500},
						{Kind: jcsim.Status, Code: 403}}[r.IntN(3)])
				}
				delta, err := w.watch.Refresh(t.Context())
				if err != nil && delta.Complete || len(delta.GoneUsers)+len(delta.GoneGroups) > 0 {
					t.Fatalf("refresh %d: got %+v, %v", n, delta, err)
				}
				if delta.Complete {
					complete++
				}
				w.sim.Heal()
				if got := len(w.watch.State().Scope); got != 120 {
					t.Fatalf("refresh %d: %d users are bound, want 120", n, got)
				}
				w.pass(5 * time.Second)
			}
			w.edit(r, 1000)
			w.settle()
			w.check()
			t.Logf("%d of 40 refreshes were complete", complete)
		})
	}
}

// TestI8_MissingInAList: a list that leaves users out, with a count that fits,
// takes nobody away: each is asked for.
func TestI8_MissingInAList(t *testing.T) {
	w := watchBench(t, false, nil)
	ids := w.users(3)
	w.settle()
	w.sim.Fail(jcsim.Fault{Operation: "GET /api/systemusers", Kind: jcsim.Status, Code: 200, Body: `{"results":[],"totalCount":0}`})
	if d := w.refresh(); !d.Empty() || len(w.watch.State().Users) != len(ids) {
		t.Errorf("got %+v and %d users, want all of them", d, len(w.watch.State().Users))
	}
	for _, target := range []string{targetUser, targetGroup} {
		if err := w.sim.BindUser(w.ad, ids[0], true); err != nil {
			t.Fatal(err)
		}
		w.pass(5 * time.Second)
		w.refresh()
		w.sim.Fail(jcsim.Fault{Operation: "GET /api/v2/activedirectories/{id}/associations", Kind: jcsim.Status, Code: 200, Body: "[]"})
		w.pass(5 * time.Second)
		if d := w.refresh(); !d.Empty() || !w.watch.State().Scope[ids[0]] {
			t.Errorf("empty list of bound %s: got %+v", target, d)
		}
		w.sim.Heal()
	}
}

// TestS1_Budget: a Refresh sends no more than its share; a list that needs
// more goes on with the next, and new users are seen meanwhile.
func TestS1_Budget(t *testing.T) {
	w := watchBench(t, false, nil)
	w.users(2000)
	cfg := w.config
	cfg.RequestsPerSecond = 4 // and a burst of 4: 10 requests per 5 s
	w.client = w.make(t, cfg)
	w.client.limit.SetBurst(1000) // the client's own rate is not what is tested
	w.restart(false, nil, nil)
	w.settle()
	w.requests()
	fresh, ticks := "", 0
	for complete := false; !complete; ticks++ {
		w.pass(5 * time.Second)
		if ticks == 1 {
			fresh = w.user(t, jcsim.User{Username: "fresh", Email: "fresh@corp.example"})
		}
		delta := w.refresh()
		if n := w.requests(); n > 10 || n == 0 {
			t.Errorf("tick %d: %d requests, want 1 to 10", ticks, n)
		}
		if complete = delta.Complete; ticks == 1 && (w.watch.State().Users[fresh] == nil || complete) {
			t.Errorf("a new user is not seen within 5 s while a list goes on: %+v", delta)
		}
		if ticks > 10 {
			t.Fatal("the list does not end")
		}
	}
	if ticks < 2 {
		t.Errorf("%d ticks, want several", ticks)
	}
	w.check()
}

// TestS1_RequestsOfLists holds the numbers that the Watcher's comment gives.
func TestS1_RequestsOfLists(t *testing.T) {
	w := watchBench(t, false, nil)
	ids := w.users(100)
	for i := range 10 {
		g, err := w.sim.AddGroup(jcsim.Group{Name: fmt.Sprint("group ", i)})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids[:20] {
			if err := w.sim.SetMember(g, id, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range ids {
		if err := w.sim.BindUser(w.ad, id, true); err != nil {
			t.Fatal(err)
		}
	}
	w.settle()
	w.requests()
	w.pass(5 * time.Second)
	if d := w.refresh(); !d.Complete || !d.Empty() {
		t.Errorf("got %+v", d)
	}
	if n := w.requests(); n != 16 {
		t.Errorf("%d requests, want 16", n)
	}
}

// TestS1_Insights: with events a change is seen with the next refresh, at a
// cost that does not depend on how many users there are; without, everything is
// listed each time.
func TestS1_Insights(t *testing.T) {
	w := watchBench(t, true, nil)
	ids := w.users(450)
	w.settle()
	w.pass(5 * time.Second)
	w.refresh() // the events that were told already
	w.requests()
	for i := range 3 {
		if err := w.sim.EditUser(ids[i], map[string]any{"lastname": "Changed"}); err != nil {
			t.Fatal(err)
		}
		w.pass(5 * time.Second)
		if d := w.refresh(); len(d.Users) != 1 || d.Users[0] != ids[i] {
			t.Errorf("got %+v, want one user", d)
		}
		if n := w.requests(); n != 2 {
			t.Errorf("%d requests, want one for events and one for the user", n)
		}
	}
	w.pass(16 * time.Minute)
	w.refresh()
	if n := w.requests(); n < 6 {
		t.Errorf("%d requests after 16 min, want a list of everything", n)
	}
	w.check()
}

// TestS1_LateEvents: events that come late, or were told before a restart, are
// each heard once.
func TestS1_LateEvents(t *testing.T) {
	w := watchBench(t, true, nil)
	ids := w.users(3)
	w.settle()
	w.sim.HoldEvents()
	if err := w.sim.EditUser(ids[0], map[string]any{"lastname": "Late"}); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	w.sim.ReleaseEvents()
	if err := w.sim.EditUser(ids[1], map[string]any{"lastname": "Now"}); err != nil {
		t.Fatal(err)
	}
	if d := w.refresh(); len(d.Users) != 2 {
		t.Errorf("got %v, want two users", d.Users)
	}
	cursor := w.watch.Cursor()
	if err := w.sim.EditUser(ids[2], map[string]any{"lastname": "Away"}); err != nil {
		t.Fatal(err)
	}
	w.restart(true, cursor, nil)
	w.refresh()
	w.pass(5 * time.Second)
	w.sim.ForgetHistory()
	w.refresh()
	if n := w.sim.Counts()["GET /api/systemusers/{id}"]; n != 0 {
		t.Errorf("%d users were read again", n)
	}
	w.check()
}

// TestS1_InsightsRefused: without the right or the licence everything is
// listed, Insights is asked rarely, and the log says it once.
func TestS1_InsightsRefused(t *testing.T) {
	for code, wait := range map[int]time.Duration{402: unpaidWait, 403: forbiddenWait} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			w := watchBench(t, true, nil)
			id := w.users(1)[0]
			w.sim.Fail(jcsim.Fault{PathPrefix: "/insights/", Kind: jcsim.Status, Code: code, Times: 1000})
			w.settle()
			for i := range 5 {
				if err := w.sim.EditUser(id, map[string]any{"lastname": fmt.Sprint(i)}); err != nil {
					t.Fatal(err)
				}
				w.pass(5 * time.Second)
				if d := w.refresh(); len(d.Users) != 1 || !d.Complete {
					t.Fatalf("got %+v, want the user", d)
				}
			}
			w.pass(wait)
			w.refresh()
			if n := strings.Count(w.log.String(), "Directory Insights cannot be read"); n != 1 {
				t.Errorf("the log says it %d times, want once", n)
			}
			w.sim.Heal()
			w.pass(wait)
			w.refresh()
			if n := w.sim.Counts()["POST /insights/directory/v1/events"]; n != 1 {
				t.Errorf("%d polls after it works again, want one", n)
			}
		})
	}
}

// TestS1_OwnWrites: what we wrote and told the watcher of is not read again at
// once, but an administrator's edit of the same user is.
func TestS1_OwnWrites(t *testing.T) {
	w := watchBench(t, true, nil)
	id := w.users(1)[0]
	w.settle()
	write := func(name string) {
		u, err := w.client.UpdateUser(t.Context(), id, w.ad, []Field{{"lastname", name}})
		if err != nil {
			t.Fatal(err)
		}
		w.watch.Saw(u)
	}
	reads := func() int {
		w.sim.ForgetHistory()
		w.refresh()
		return w.sim.Counts()["GET /api/systemusers/{id}"]
	}
	w.pass(5 * time.Second)
	w.refresh() // hears again what was told before the start
	w.pass(5 * time.Second)
	write("Ours")
	if n := reads(); n != 0 || w.watch.State().Users[id].Last != "Ours" {
		t.Errorf("%d reads after a write of ours, want none", n)
	}
	w.pass(5 * time.Second)
	write("Ours again")
	if err := w.sim.EditUser(id, map[string]any{"lastname": "Theirs"}); err != nil {
		t.Fatal(err)
	}
	if n := reads(); n != 1 || w.watch.State().Users[id].Last != "Theirs" {
		t.Errorf("%d reads after an edit of an administrator, want one", n)
	}
	w.pass(2 * time.Minute)
	if n := reads(); n != 1 {
		t.Errorf("%d reads later, want one", n)
	}
}

// TestTranslationRules: the rules as JumpCloud answers them, with values that
// are not known today.
func TestTranslationRules(t *testing.T) {
	w := watchBench(t, false, nil)
	id, err := w.sim.AddRule(w.ad, jcsim.Rule{Source: "x", Destination: "company", SourceType: "JSONATA", Direction: "EXPORT", AppliedOn: []string{"UPDATE", "CREATE"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 104 {
		if _, err := w.sim.AddRule(w.ad, jcsim.Rule{Source: fmt.Sprint(i), Destination: "info", SourceType: "CONSTANT", Direction: "EXPORT", AppliedOn: []string{"CREATE"}}); err != nil {
			t.Fatal(err)
		}
	}
	rules, err := w.client.TranslationRules(t.Context(), w.ad)
	if err != nil || len(rules) != 105 {
		t.Fatalf("got %d rules, %v, want 105", len(rules), err)
	}
	r := rules[0]
	if r.ID != id || r.SourceType != "JSONATA" || r.Direction != identity.RuleExport || !r.Applies(identity.RuleOnCreate) || r.AppliedOn[0] != identity.RuleOnCreate {
		t.Errorf("got %+v", r)
	}
	w.sim.Fail(jcsim.Fault{PathPrefix: "/api/v2/activedirectories/" + w.ad + "/translation-rules", Kind: jcsim.Status, Code: http.StatusNotFound})
	if _, err := w.client.TranslationRules(t.Context(), w.ad); !NotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
	if d := w.refresh(); !d.Rules || len(w.watch.State().Rules) != 105 {
		t.Errorf("got %+v and %d rules", d, len(w.watch.State().Rules))
	}
}

// TestInsightsAddress: JumpCloud's regions, and what is no address.
func TestInsightsAddress(t *testing.T) {
	for console, want := range map[string]string{"https://console.jumpcloud.com": "https://api.jumpcloud.com/insights/directory/v1",
		"https://console.eu.jumpcloud.com/api": "https://api.eu.jumpcloud.com/insights/directory/v1", "https://jc.example": ""} {
		if got, ok := InsightsURL(console); ok != (want != "") || ok && got != want {
			t.Errorf("%s: got %q, %v", console, got, ok)
		}
	}
	if _, err := NewInsights(&Client{}, "http://api.jumpcloud.com/v1", nil, nil); err == nil {
		t.Error("an address in clear was taken")
	}
	if err := error(&offError{cause: errors.New("x")}); !errors.Is(err, errOff) {
		t.Error("a first refusal is not errOff")
	}
}

// TestS1_Wait: it ends when the next refresh is due, when it is woken, and
// when the context ends.
func TestS1_Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{URL: "https://jc.example", APIKey: text("key")})
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWatcher(WatchConfig{Client: c, ADID: "64b0c0ffee64b0c0ffee0001"})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		w.next = begin.Add(5 * time.Second) // as a Refresh sets it
		if err := w.Wait(t.Context()); err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("got %v after %v, want 5 s", err, time.Since(begin))
		}
		w.next = time.Now().Add(5 * time.Second)
		w.Wake()
		if err := w.Wait(t.Context()); err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("woken: got %v after %v", err, time.Since(begin))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	})
}

// TestS1_Polls: while Insights works it is asked every second, which is within
// the share of requests; when it fails, after Interval only, and everything is
// listed then.
func TestS1_Polls(t *testing.T) {
	w := watchBench(t, true, nil)
	ids := w.users(300)
	w.settle()
	w.pass(time.Minute)
	w.refresh() // the events that were told already
	polls := func() int { return w.sim.Counts()["POST /insights/directory/v1/events"] }
	due := func(want time.Duration) {
		t.Helper()
		if got := w.watch.Due().Sub(w.now()); got != want {
			t.Errorf("the next refresh is due after %v, want %v", got, want)
		}
	}
	due(time.Second)
	w.sim.ForgetHistory()
	for n := range 10 {
		w.pass(time.Second)
		if d := w.refresh(); !d.Empty() || !d.Complete || !d.AsOf.Equal(w.now()) || polls() != n+1 {
			t.Errorf("second %d: %d polls, got %+v", n, polls(), d)
		}
	}
	w.sim.Fail(jcsim.Fault{PathPrefix: "/insights/", Kind: jcsim.Status, Code: 500, Times: 2})
	w.pass(time.Second)
	for n := range 2 {
		w.requests()
		w.refresh()
		if counts := w.sim.Counts(); w.requests() < 5 {
			t.Errorf("failure %d: nothing is listed instead: %v", n, counts)
		}
		due(5 * time.Second)
		w.pass(time.Second)
		w.refresh() // does not ask Insights, which would take the next failure
		w.pass(4 * time.Second)
	}
	if err := w.sim.EditUser(ids[0], map[string]any{"lastname": "Meanwhile"}); err != nil {
		t.Fatal(err)
	}
	w.refresh()
	due(time.Second)
	w.check()
}

// TestS1_PollBudget: where so much happens that the events of five minutes are
// many pages, or few requests are allowed, Insights is asked less often.
func TestS1_PollBudget(t *testing.T) {
	w := watchBench(t, true, nil)
	id := w.users(1)[0]
	cfg := w.config
	cfg.RequestsPerSecond = 2 // of which 1 a second is for the watcher
	w.client = w.make(t, cfg)
	w.client.limit.SetBurst(1000)
	w.restart(true, nil, nil)
	w.settle()
	for n := range 2500 { // three pages
		if err := w.sim.EditUser(id, map[string]any{"lastname": fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	w.requests()
	total, polls := 0, 0
	const seconds = 60
	for range seconds {
		w.pass(time.Second)
		w.refresh()
		polls += w.sim.Counts()["POST /insights/directory/v1/events"]
		total += w.requests()
	}
	if most := seconds + 5; total > most {
		t.Errorf("%d requests in %d s, want at most %d", total, seconds, most)
	}
	if polls == 0 || polls > seconds/2+3 {
		t.Errorf("%d requests for events in %d s, want no more than half of all that are allowed", polls, seconds)
	}
	w.check()
}
