package replicate

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/prometheus/client_golang/prometheus"
)

// pipeDC is a domain controller without a network, whose waiting a test's
// clock knows of: every account that it is asked for is there.
type pipeDC struct {
	server, client *tls.Config
	sessions       sync.WaitGroup
}

func (p *pipeDC) Dial(ctx context.Context) (*tls.Conn, string, error) {
	near, far := net.Pipe()
	p.sessions.Go(func() { p.serve(tls.Server(far, p.server)) })
	conn := tls.Client(near, p.client)
	return conn, "dc", conn.HandshakeContext(ctx)
}

// serve ends when the client closes.
func (p *pipeDC) serve(conn *tls.Conn) {
	defer conn.Close()
	for r := ldapwire.NewReader(conn, 1<<16); ; {
		m, err := r.Next()
		if err != nil {
			return
		}
		var out []byte
		switch m.Op {
		case ldapwire.OpBindRequest:
			out = ldapwire.AppendBindResponse(nil, m.ID, ldapwire.ResultSuccess, "", "", nil)
		case ldapwire.OpSearchRequest:
			s, err := ldapwire.ParseSearchRequest(m.Body)
			if err != nil {
				return
			}
			guid, err := identity.ParseGUID(strings.Trim(string(s.BaseDN), "<GUID=>"))
			if err != nil {
				return
			}
			name := fmt.Sprint("user", number(guid))
			out = ldapwire.AppendSearchEntry(nil, m.ID, "CN="+name, []ldapwire.AttributeValues{
				{Type: "objectGUID", Values: [][]byte{guid[:]}}, {Type: "sAMAccountName", Values: [][]byte{[]byte(name)}}})
			out = ldapwire.AppendSearchDone(out, m.ID, ldapwire.ResultSuccess, "", "")
		default:
			return
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

func numbered(n int) identity.Account {
	return identity.Account{Domain: domainName, GUID: identity.GUID{0: byte(n), 1: byte(n >> 8), 15: 1}, SAM: fmt.Sprint("user", n)}
}

func number(g identity.GUID) int { return int(g[0]) | int(g[1])<<8 }

func cloudID(n int) string { return fmt.Sprintf("%024x", n) }

// pipeCloud is JumpCloud without a network.
type pipeCloud struct {
	mu     sync.Mutex
	code   int // of every answer; 0: none; guarded by mu
	sent   []time.Time
	order  []int            // accounts, in the order of the first write; guarded by mu
	writes map[int][]string // passwords, by account; guarded by mu
}

func (p *pipeCloud) answer(code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.code = code
}

func (p *pipeCloud) requests() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

func (p *pipeCloud) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, time.Now())
	if p.code == 0 {
		return nil, errors.New("connection refused")
	}
	h := http.Header{}
	if p.code == http.StatusTooManyRequests {
		h.Set("Retry-After", "20")
	}
	body := `{"results":[]}`
	var n int
	if _, err := fmt.Sscanf(r.URL.Path, "/api/systemusers/%x", &n); err == nil && p.code == http.StatusOK {
		body = fmt.Sprintf(`{"_id":%q,"username":"user%d","activated":true}`, cloudID(n), n)
		if r.Method == http.MethodPost {
			var in struct{ Password string }
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				return nil, err
			}
			if p.writes[n] == nil {
				p.order = append(p.order, n)
			}
			p.writes[n] = append(p.writes[n], in.Password)
		}
	}
	return &http.Response{StatusCode: p.code, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// away is an engine before the two, in a bubble of its own.
type away struct {
	world
	out   *pipeCloud
	log   bytes.Buffer // of the engine; it writes one line at a time
	count []int        // passwords of each account so far
	last  []identity.Seq
}

// awayRate is the request budget, per second.
const awayRate = 50

func newAway(t *testing.T) *away {
	ca := certstest.New(t)
	dc := &pipeDC{server: ca.Server("127.0.0.1"), client: ca.Client("127.0.0.1")}
	w := &away{world: world{t: t, clock: &clock{}}, out: &pipeCloud{code: http.StatusOK, writes: make(map[int][]string)},
		count: make([]int, awayAccounts), last: make([]identity.Seq, awayAccounts)}
	t.Cleanup(dc.sessions.Wait)
	directory, err := ad.New(ad.Config{DCs: dc, Account: "import", Password: secret.New([]byte("x"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(directory.Close)
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	cloud, err := jumpcloud.New(jumpcloud.Config{URL: "https://jc.example.test", APIKey: secret.New([]byte("key")), HTTP: &http.Client{Transport: w.out},
		RequestsPerSecond: awayRate, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.peers = &Peers{AD: directory, JumpCloud: cloud}
	w.clock.t = time.Now()
	w.openStore()
	w.engine, err = New(Config{Store: w.store, Opener: w.opener, Now: time.Now, Log: log, Peers: func(string) (*Peers, error) { return w.peers, nil },
		Metrics: NewMetrics(prometheus.NewRegistry(), w.store, time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// change gives accounts first to beyond-1 another password.
func (w *away) change(first, beyond int) {
	var writers sync.WaitGroup
	const many = 32
	for writer := range many {
		writers.Go(func() {
			for n := first + writer; n < beyond; n += many {
				w.count[n]++
				seq, err := w.store.AppendIntent(w.t.Context(), identity.Change{Kind: identity.PasswordChange, Direction: identity.Import, Account: numbered(n)},
					secret.New(fmt.Appendf(nil, "Pass-%d-%d", n, w.count[n])))
				if err == nil {
					err = w.store.Settle(w.t.Context(), seq, identity.OutcomeAccepted, "")
				}
				if err != nil {
					w.t.Error(err)
				}
				w.last[n] = seq
			}
		})
	}
	writers.Wait()
}

func (w *away) stats() store.Stats {
	w.t.Helper()
	s, err := w.store.Stats()
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// inUse is the heap's size, in bytes.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestL2_OutageOfHours: JumpCloud is away for three hours, in three ways, while
// the passwords of thousands of accounts wait. That costs neither records nor
// attempts, log lines, requests or memory for each; when it is back all arrive
// at once, within the request budget, in order, and of each account no older
// password after a newer one.
func TestL2_OutageOfHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAway(t)
		for n := range awayAccounts {
			if err := w.store.PutLink(t.Context(), identity.Link{Domain: domainName, GUID: numbered(n).GUID, JumpCloudID: cloudID(n), At: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		w.out.answer(0)
		w.change(0, awayAccounts)
		w.change(0, 500) // the first passwords of these are never written
		records, memory, routines := w.stats().LastSeq, inUse(), runtime.NumGoroutine()
		w.run()
		for _, code := range []int{0, http.StatusInternalServerError, http.StatusTooManyRequests} {
			w.out.answer(code)
			<-time.After(time.Hour)
		}
		w.isQuiet(records, memory, routines)

		w.out.answer(http.StatusOK)
		back, during := time.Now(), len(w.out.requests())
		<-time.After(20*time.Second + awayAccounts*time.Second/awayRate/4)
		w.change(500, 550)                      // which have arrived by now
		w.change(awayAccounts-50, awayAccounts) // which may not have
		w.drained()
		needed := len(w.out.requests()) - during
		took, budget := time.Since(back), time.Duration(needed)*time.Second/awayRate
		t.Logf("%d requests in 3 h away; then %d in %s, of which the budget alone takes %s", during, needed, took.Round(time.Second), budget.Round(time.Second))
		const probe = 20 * time.Second // until it is known; JumpCloud asked for that
		if took > budget+probe+time.Second {
			t.Errorf("drained %s after the return, want at most %s more than %s", took, probe, budget)
		}
		w.keptBudget()
		w.arrived()
	})
}

// isQuiet looks at what the outage cost.
func (w *away) isQuiet(records identity.Seq, memory int64, routines int) {
	w.t.Helper()
	synctest.Wait()
	const few = 40 // those that found the outage out
	s := w.stats()
	if s.Dead[identity.Import] != 0 || s.Pending[identity.Import] != awayAccounts || s.LastSeq-records > few {
		w.t.Errorf("%d pending, %d dead letters, %d records more; want %d, none and at most %d", s.Pending[identity.Import], s.Dead[identity.Import], s.LastSeq-records, awayAccounts, few)
	}
	const asked = 3 * 3600 * 2 / 15 // every 7.5 s at most
	if n := len(w.out.requests()); n > asked+few {
		w.t.Errorf("%d requests in 3 h, want at most %d", n, asked+few)
	}
	if lines := strings.Count(w.log.String(), "\n"); lines > few {
		w.t.Errorf("%d lines in the log, want at most %d", lines, few)
	}
	const each = 512 // of a change, in the queue and held
	if grown := inUse() - memory; grown > 1<<20+awayAccounts*each {
		w.t.Errorf("%d bytes more are in use, want at most %d for each change", grown, each)
	}
	if n := runtime.NumGoroutine(); n > routines+few {
		w.t.Errorf("%d goroutines, and %d before", n, routines)
	}
	if e, err := w.store.Entry(w.last[awayAccounts-1]); err != nil || e.Attempts != 0 || e.Reason != "" {
		w.t.Errorf("a change that waited: %d attempts, %q, %v", e.Attempts, e.Reason, err)
	}
}

// drained waits until nothing is pending.
func (w *away) drained() {
	w.t.Helper()
	woken, stop := w.store.Watch()
	defer stop()
	for timeout := time.After(time.Hour); w.stats().Pending[identity.Import] > 0; {
		select {
		case <-woken:
		case <-timeout:
			w.t.Fatalf("%d changes are pending an hour after the return", w.stats().Pending[identity.Import])
		}
	}
}

// keptBudget counts the requests of every ten seconds.
func (w *away) keptBudget() {
	w.t.Helper()
	const window, most = 10 * time.Second, 11 * awayRate // one second's worth may be sent at once
	sent := w.out.requests()
	for first, last := 0, 0; last < len(sent); last++ {
		for sent[last].Sub(sent[first]) > window {
			first++
		}
		if n := last - first + 1; n > most {
			w.t.Fatalf("%d requests within %s, want at most %d", n, window, most)
		}
	}
}

// arrived looks at what JumpCloud was given.
func (w *away) arrived() {
	w.t.Helper()
	if s := w.stats(); s.Dead[identity.Import] != 0 {
		w.t.Errorf("%d dead letters", s.Dead[identity.Import])
	}
	for n := range awayAccounts {
		got := w.out.writes[n]
		if len(got) == 0 || got[len(got)-1] != fmt.Sprintf("Pass-%d-%d", n, w.count[n]) {
			w.t.Fatalf("account %d was given %d passwords, the last not its newest", n, len(got))
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) || got[0] == fmt.Sprintf("Pass-%d-1", n) && n < 500 {
			w.t.Errorf("account %d was given passwords out of order or that were superseded", n)
		}
		w.want(w.last[n], identity.StatusApplied, "")
	}
	// Workers go side by side, so that neighbours may change places.
	near := 2 * w.engine.cfg.Workers
	untouched := slices.DeleteFunc(slices.Clone(w.out.order), func(n int) bool { return w.count[n] > 1 })
	sorted := slices.Clone(untouched)
	slices.SortFunc(sorted, func(a, b int) int { return int(w.last[a]) - int(w.last[b]) })
	place := make(map[int]int)
	for i, n := range sorted {
		place[n] = i
	}
	for i, n := range untouched {
		if off := place[n] - i; off > near || off < -near {
			w.t.Fatalf("account %d was written %d places from where it stood in the log", n, off)
		}
	}
}
