package replicate

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

// run starts the engine, and ends it with the test.
func (w *world) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.engine.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run returned %v", err)
		}
	})
}

// await waits until a change has a status.
func (w *world) await(seq identity.Seq, status identity.Status) {
	w.t.Helper()
	woken, stop := w.store.Watch()
	defer stop()
	timeout := time.After(10 * time.Second)
	for {
		e, err := w.store.Entry(seq)
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Status == status {
			return
		}
		select {
		case <-woken:
		case <-timeout:
			w.t.Fatalf("change %d is %s (%s), want it %s", seq, e.Status, e.Reason, status)
		}
	}
}

// TestRun: an append wakes the engine; ending the context ends it.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.await(w.accept(w.alice, "Some.Pass1"), identity.StatusApplied)
}

// TestL1_AcceptedOutOfOrder: a change whose DC took longer than that of later
// ones is not stepped over.
func TestL1_AcceptedOutOfOrder(t *testing.T) {
	w := newWorld(t)
	bob := w.account("bob")
	w.addToJumpCloud("bob")
	w.run()
	slow := w.intend(w.alice, "Some.Pass1")
	w.await(w.accept(bob, "Some.Pass1"), identity.StatusApplied)
	w.settle(slow, identity.OutcomeAccepted)
	w.await(slow, identity.StatusApplied)
}

// TestL2_HangingRead: JumpCloud leaves one account's read without an answer;
// the others' changes, also later ones, are applied meanwhile.
func TestL2_HangingRead(t *testing.T) {
	w := newWorld(t)
	bob := w.account("bob")
	w.addToJumpCloud("bob")
	if err := w.store.PutLink(t.Context(), identity.Link{Domain: domainName, GUID: w.alice.GUID, JumpCloudID: w.id}); err != nil {
		t.Fatal(err)
	}
	w.connect(func(_ *ad.Config, c *jumpcloud.Config) { c.Timeout = time.Minute })
	w.cloud.Fail(jcsim.Fault{Method: "GET", PathPrefix: "/api/systemusers/" + w.id, Kind: jcsim.TimeoutBeforeApply, Times: 99})
	w.run()
	hanging := w.accept(w.alice, "Some.Pass1")
	for n := range 3 {
		w.await(w.accept(bob, fmt.Sprintf("Some.Pass%d", n)), identity.StatusApplied)
	}
	w.want(hanging, identity.StatusPending, "") // it has not even failed
}

// TestL2_PutOffCostsNothing: a commit makes the engine read what is new, and
// not what waits for its time.
func TestL2_PutOffCostsNothing(t *testing.T) {
	w := newWorld(t)
	d := newDispatcher(w.engine)
	const many = 300
	for n := range many {
		guid := identity.GUID{0: byte(n), 1: byte(n >> 8), 15: 1}
		seq := w.append(identity.Account{Domain: domainName, GUID: guid, DN: "CN=x"}, "Some.Pass1")
		w.settle(seq, identity.OutcomeAccepted)
		if err := w.store.Postpone(t.Context(), seq, w.clock.now().Add(time.Hour), "later"); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.load(); err != nil {
		t.Fatal(err)
	}
	at := d.followed
	seq := w.accept(w.alice, "Some.Pass1")
	if err := d.follow(); err != nil {
		t.Fatal(err)
	}
	if read := d.followed - at; read != 2 {
		t.Errorf("%d records were read for one change, want its 2", read)
	}
	if got, ok := d.queue.pop(w.clock.now()); !ok || got != seq {
		t.Errorf("due is %d, %v, want %d alone", got, ok, seq)
	}
	if got, ok := d.queue.pop(w.clock.now()); ok {
		t.Errorf("due is %d too", got)
	}
	w.clock.add(time.Hour)
	for n := range many {
		if _, ok := d.queue.pop(w.clock.now()); !ok {
			t.Fatalf("%d of %d came back", n, many)
		}
	}
}

func (w *world) append(a identity.Account, password string) identity.Seq {
	w.t.Helper()
	seq, err := w.store.AppendIntent(w.t.Context(), identity.Change{Kind: identity.PasswordChange, Direction: identity.Import, Account: a},
		secret.New([]byte(password)))
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

func TestQueue(t *testing.T) {
	var q queue
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for seq, due := range map[identity.Seq]int64{1: 50, 2: 20, 3: 20, 4: 90, 5: 10} {
		q.put(seq, at(due))
	}
	q.put(4, at(20)) // sooner
	q.put(5, at(60)) // later
	q.put(2, at(20)) // the same
	if next, ok := q.next(); !ok || !next.Equal(at(20)) {
		t.Errorf("next at %v, %v, want 20", next, ok)
	}
	var got []identity.Seq
	for {
		seq, ok := q.pop(at(55))
		if !ok {
			break
		}
		got = append(got, seq)
	}
	if fmt.Sprint(got) != "[2 3 4 1]" {
		t.Errorf("got %v, want 2 3 4 1: by time, then by number, each once", got)
	}
	if next, ok := q.next(); !ok || !next.Equal(at(60)) {
		t.Errorf("next at %v, %v, want 60", next, ok)
	}
}

func TestG5_UnsettledBeyondAPage(t *testing.T) {
	w := newWorld(t)
	for n := range page {
		seq := w.append(identity.Account{Domain: domainName, GUID: identity.GUID{0: byte(n), 15: 1}, DN: "CN=x"}, "Some.Pass1")
		if err := w.store.Settle(t.Context(), seq, identity.OutcomeUnknown, "lost"); err != nil {
			t.Fatal(err)
		}
	}
	last := w.intend(w.alice, "Some.Pass1")
	reset(t, w, adminOf(t, w), w.alice.DN, "Some.Pass1")
	w.engine = w.newEngine()
	w.step()
	w.want(last, identity.StatusApplied, "")
}

// TestG5_CreatedUnanswered: an account that was created with its password, and
// the answer lost: the password that it accepts tells whose it is.
func TestG5_CreatedUnanswered(t *testing.T) {
	w := newWorld(t)
	w.addToJumpCloud("grace")
	seq := w.append(identity.Account{Domain: domainName, DN: "CN=grace,OU=People," + w.ad.BaseDN()}, "First.Pass1")
	w.engine = w.newEngine()
	w.step()
	w.want(seq, identity.StatusUnsettled, "not found")
	if _, err := w.ad.AddUser(adsim.User{Name: "grace", Password: secret.New([]byte("First.Pass1")), Groups: []string{adsim.ScopeGroup}}); err != nil {
		t.Fatal(err)
	}
	w.clock.add(5 * time.Minute)
	w.step()
	if e := w.want(seq, identity.StatusApplied, ""); e.Account.GUID != w.account("grace").GUID {
		t.Errorf("applied for account %s", e.Account.GUID)
	}
}

// TestSettlingHoldsUpNobody: the settler waits for one domain; changes of
// another are applied.
func TestSettlingHoldsUpNobody(t *testing.T) {
	w := newWorld(t)
	asked, end := make(chan struct{}), make(chan struct{})
	w.engine.settler.cfg.Peers = func(string) (*Peers, error) {
		close(asked)
		<-end
		return nil, ad.ErrUnavailable
	}
	lost := w.intend(w.account("bob"), "Some.Pass1")
	if err := w.store.Settle(t.Context(), lost, identity.OutcomeUnknown, "lost"); err != nil {
		t.Fatal(err)
	}
	w.run()
	t.Cleanup(func() { close(end) }) // before run's, which waits for the engine
	<-asked
	w.await(w.accept(w.alice, "Some.Pass1"), identity.StatusApplied)
}

// TestL1_OneOfAnAccount: a change waits while another of its account is worked
// on, and is looked at afterwards.
func TestL1_OneOfAnAccount(t *testing.T) {
	w := newWorld(t)
	d := newDispatcher(w.engine)
	first := w.accept(w.alice, "First.Pass1")
	entry, err := w.store.Entry(first)
	if err != nil {
		t.Fatal(err)
	}
	d.busy[accountOf(entry)] = nil // as if a worker had it
	second := w.accept(w.alice, "Second.Pass2")
	if err := d.load(); err != nil {
		t.Fatal(err)
	}
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.busy[accountOf(entry)]; len(d.busy) != 1 || len(got) != 1 || got[0] != second {
		t.Fatalf("waiting behind the first: %v, want %d", got, second)
	}
	if err := d.finish(result{entry: entry, key: accountOf(entry)}); err != nil {
		t.Fatal(err)
	}
	if err := d.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want(second, identity.StatusApplied, "")
}

// TestG5_TestPassword: who says "wrong" matters, and no bind is made that was
// not announced.
func TestG5_TestPassword(t *testing.T) {
	w := newWorld(t)
	here, stop := w.ad.Addr(), errors.New("stop")
	for _, tt := range []struct {
		name, dc, password string
		before             error
		want               ad.Proof
	}{
		{"right", here, "Start.Pass1", nil, ad.Right},
		{"right, says another controller", "dc2", "Start.Pass1", nil, ad.Right},
		{"wrong", here, "Wrong.Pass1", nil, ad.Wrong},
		{"wrong, says another controller", "dc2", "Wrong.Pass1", nil, ad.Undecided},
		{"not announced", here, "Start.Pass1", stop, ad.Undecided},
	} {
		got, why, err := w.peers.AD.TestPassword(t.Context(), w.alice.DN, tt.dc, secret.New([]byte(tt.password)), func() error { return tt.before })
		if got != tt.want || !errors.Is(err, tt.before) {
			t.Errorf("%s: got %v (%s), %v, want %v, %v", tt.name, got, why, err, tt.want, tt.before)
		}
	}
}

// TestHangingController: who no longer waits for a controller that hangs gets
// away, and the next one finds a new connection.
func TestHangingController(t *testing.T) {
	for name, bound := range map[string]bool{"search": true, "bind": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t) // with a connection that is bound
			if !bound {
				w.connect()
			}
			remove := w.ad.Inject(adsim.Fault{Kind: adsim.Hang})
			t.Cleanup(remove)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			answer := make(chan error, 1)
			go func() {
				_, err := w.peers.AD.User(ctx, w.alice)
				answer <- err
			}()
			select {
			case err := <-answer:
				if err == nil || errors.Is(err, ad.ErrNotFound) {
					t.Errorf("got %v, want an error that says nothing of the account", err)
				}
			case <-time.After(10 * time.Second): // the client's own limit is 30 s
				remove()
				t.Fatalf("still waiting, and %v came", <-answer)
			}
			remove()
			if _, err := w.peers.AD.User(t.Context(), w.alice); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}
