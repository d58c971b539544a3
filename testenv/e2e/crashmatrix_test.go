package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/go-ldap/ldap/v3"
)

// crashRounds is how often the matrix kills the daemon; zero means each moment
// once, which is what an ordinary test run has time for.
var crashRounds = flag.Int("crash-rounds", 0, "kill the daemon `N` times in the crash matrix (0: at each moment once)")

// atMost is how long a moment is waited for that may not come.
const atMost = 5 * time.Second

// matrix is a world whose peers write down what happens, and kill.
type matrix struct {
	*world
	book    *book
	trap    trap
	dcs     *dcPeer
	jc      *cloudPeer
	dns     []string
	trust   *tls.Config // of the gateway
	clients int
	replay  *replay
	serial  atomic.Int64 // makes every password another
	hits    map[moment]int
	order   []moment
	rounds  int
	changes atomic.Int64 // that clients were told of
}

// newMatrix sets up a domain with so many accounts and clients; nil dc: the
// embedded AD, which accepts a previous password as Windows does.
func newMatrix(t *testing.T, dc *samba.DC, accounts, clients int) *matrix {
	t.Helper()
	m := &matrix{book: newBook(), clients: clients, replay: newReplay(), hits: make(map[moment]int)}
	ca := certstest.New(t)
	d := domain{caFile: ca.File()}
	var to string
	conf := ca.Client("127.0.0.1")
	var embedded *adsim.Server
	if dc == nil {
		password := secret.New([]byte("Admin.Secret-99"))
		policy := adsim.DefaultPolicy()
		policy.LockoutThreshold = 10
		ad, err := adsim.Start(adsim.Config{TLS: ca.Server("127.0.0.1"), AdminPassword: password, Policy: policy, OldPasswordGrace: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ad.Close() })
		add := func(name string, password []byte) string {
			dn, err := ad.AddUser(adsim.User{Name: name, Password: secret.New(password), GivenName: "Given", Surname: "Sur"})
			if err != nil {
				t.Fatal(err)
			}
			return dn
		}
		add("svc-dirgate", []byte(servicePassword))
		embedded, to = ad, ad.Addr()
		d.name, d.base, d.adminName, d.adminPassword, d.addUser = ad.Domain(), ad.BaseDN(), ad.AdminDN(), password, add
	} else {
		dc.AddServiceAccount(t, "svc-dirgate", []byte(servicePassword))
		to, conf = strings.TrimPrefix(dc.URL, "ldaps://"), dc.TLS()
		d.name, d.base, d.adminName, d.adminPassword = dc.Domain, dc.BaseDN, dc.AdminUPN, dc.AdminPassword
		d.addUser = func(name string, password []byte) string { return dc.AddUser(t, name, password) }
	}
	d.account = "svc-dirgate@" + d.name
	m.dcs = newDCPeer(t, ca, to, conf, d.account, m.book, &m.trap)
	d.url = m.dcs.url()
	m.world = &world{installation: newInstallation(t), domain: d, dc: dc, ad: embedded, cloud: newCloud(t)}
	m.cloud.SetPolicy(historyPolicy())
	m.jc = newCloudPeer(t, m.cloud, m.book, &m.trap)
	pem, err := os.ReadFile(m.ca)
	if err != nil {
		t.Fatal(err)
	}
	m.trust = clientTLS(t, pem)
	for i := range accounts {
		name := fmt.Sprintf("user%03d", i)
		dn := d.addUser(name, []byte(before))
		m.book.open(name, dn, m.cloud.add(t, name, name+"@"+d.name), before)
		m.dns = append(m.dns, dn)
	}
	// Only passwords are of concern: the import makes a pass at each start, and
	// then is quiet.
	m.configure("import_interval", "24h")
	m.configure("change_notification", "false")
	m.must("domain", "register", d.name, "--dc", d.url, "--ca-file", d.caFile,
		"--import-account", d.account, "--import-password-file", m.secretFile("pw", []byte(servicePassword)),
		"--jumpcloud-url", m.jc.url(), "--jumpcloud-ca-file", m.cloud.ca.File(),
		"--api-key-file", m.secretFile("key", m.cloud.APIKey().Expose()))
	return m
}

// killer returns what kills the daemon that runs now.
func (m *matrix) killer() func() {
	pid := m.daemon.Process.Pid
	return func() { _ = syscall.Kill(pid, syscall.SIGKILL) }
}

// client changes the passwords of its own accounts, one after the other, until
// ctx ends or the daemon does.
func (m *matrix) client(ctx context.Context, n int, most int) {
	c, err := m.dial()
	if err != nil {
		return
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	for i := 0; i < most && ctx.Err() == nil; i++ {
		dn := m.dns[(n+(i%max(1, len(m.dns)/m.clients))*m.clients)%len(m.dns)]
		now := m.book.present(dn)
		if err := c.Bind(dn, now); err != nil {
			m.unexpected("bind of "+dn, err)
			return
		}
		serial := m.serial.Add(1)
		if serial%9 == 0 {
			err := m.modify(c, dn, now, "short")
			if err == nil {
				m.book.wrongf("a short password for %s was accepted", dn)
			}
			if !ldap.IsErrorWithCode(err, ldap.LDAPResultConstraintViolation) {
				m.unexpected("a short password for "+dn, err)
				return
			}
			continue
		}
		to := fmt.Sprintf("Matrix-Pass-%06d", serial)
		if err := m.modify(c, dn, now, to); err != nil {
			m.unexpected("change of "+dn, err)
			return
		}
		m.changes.Add(1)
		if !m.book.isAccepted(dn, to) {
			m.book.wrongf("a client was told of a change of %s that the DC did not make", dn)
		}
		if m.trap.reached(captureTold) {
			return
		}
	}
}

// unexpected notes an error that a killed daemon does not explain.
func (m *matrix) unexpected(what string, err error) {
	e, answered := errors.AsType[*ldap.Error](err)
	if !answered || e.ResultCode == ldap.ErrorNetwork || e.ResultCode == ldap.LDAPResultUnavailable {
		return
	}
	m.book.wrongf("%s: %v", what, err)
}

func (m *matrix) modify(c *ldap.Conn, dn, from, to string) error {
	old, err := ldapwire.AppendUnicodePwd(nil, []byte(from))
	if err != nil {
		return err
	}
	value, err := ldapwire.AppendUnicodePwd(nil, []byte(to))
	if err != nil {
		return err
	}
	req := ldap.NewModifyRequest(dn, nil)
	req.Delete("unicodePwd", []string{string(old)})
	req.Add("unicodePwd", []string{string(value)})
	return c.Modify(req)
}

// dial is conn for goroutines that are not the test's.
func (m *matrix) dial() (*ldap.Conn, error) {
	c, err := ldap.DialURL(m.gateway(), ldap.DialWithTLSConfig(m.trust))
	if err != nil {
		return nil, err
	}
	c.SetTimeout(patience)
	return c, nil
}

// load has all clients change passwords, each so often at most, until the
// daemon is dead; nil hit: it is not to be killed.
func (m *matrix) load(hit <-chan struct{}, most int) (killed bool) {
	ctx, cancel := context.WithCancel(m.t.Context())
	defer cancel()
	var all sync.WaitGroup
	for n := range m.clients {
		all.Go(func() { m.client(ctx, n, most) })
	}
	worked := make(chan struct{})
	go func() {
		all.Wait()
		close(worked)
	}()
	select {
	case <-hit:
		killed = true
	case <-worked:
		if hit == nil {
			break
		}
		select { // what was accepted is still being applied
		case <-hit:
			killed = true
		case <-time.After(atMost):
		}
	}
	cancel()
	<-worked
	return killed
}

// round kills the daemon at a moment under load, starts it again, perhaps
// kills it once more while it recovers, and checks the invariant.
func (m *matrix) round(at moment, skip int) {
	m.t.Helper()
	m.rounds++
	first := at
	for _, s := range whileSettling {
		if at == s {
			first = captureAnswered // leaves a change that only evidence can settle
		}
	}
	m.serve()
	kill := m.killer()
	hit := m.trap.set(first, skip, kill)
	if at == anyTime {
		hit = m.trap.set(at, 0, kill)
		timer := time.AfterFunc(time.Duration(skip)*time.Millisecond, func() { m.trap.reached(anyTime) })
		defer timer.Stop()
	}
	if m.load(hit, 12+skip) {
		m.note(first)
	}
	m.trap.unset()
	_ = m.stop(syscall.SIGKILL)
	m.quiet()
	if m.rounds%2 == 0 { // as the kill left it; the other half is opened by the daemon
		m.must("changelog", "verify")
	}
	if first != at {
		m.serveTrapped(at)
	}
	m.serve()
	m.drain(2 * patience)
	if first != at {
		// A change whose only bind was cut off waits for the next, sealed; a
		// newer one of the account does not wait with it.
		m.load(nil, 2*len(m.dns)/m.clients)
		m.drain(2 * patience)
	}
	m.verify()
	_ = m.stop(syscall.SIGKILL)
}

// serveTrapped starts the daemon and has it killed while it recovers.
func (m *matrix) serveTrapped(at moment) {
	var mu sync.Mutex
	var kill func()
	hit := m.trap.set(at, 0, func() {
		mu.Lock()
		defer mu.Unlock()
		kill()
	})
	mu.Lock()
	m.serve()
	kill = m.killer()
	mu.Unlock()
	select {
	case <-hit:
		m.note(at)
	case <-time.After(atMost):
	}
	m.trap.unset()
	_ = m.stop(syscall.SIGKILL)
	m.quiet()
}

func (m *matrix) note(at moment) {
	if m.hits[at] == 0 {
		m.order = append(m.order, at)
	}
	m.hits[at]++
}

// quiet waits until neither peer works on anything.
func (m *matrix) quiet() {
	m.t.Helper()
	eventually(m.t, patience, "both peers have answered", func() bool { return m.dcs.busy.Load() == 0 && m.jc.busy.Load() == 0 })
}

// drain waits until JumpCloud has every password that the DC has.
func (m *matrix) drain(within time.Duration) {
	m.t.Helper()
	m.follow()
	apart := m.replay.probing()
	for until := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		name, behind := m.book.behind(apart)
		if !behind {
			break
		}
		if len(m.book.violations()) > 0 {
			return // verify tells
		}
		if time.Now().After(until) {
			m.t.Fatalf("round %d: JumpCloud does not get the newest password of %s\n%s", m.rounds, name, lastLines(m.output.String(), 60))
		}
	}
}

// verify holds the log, AD and JumpCloud against the book.
func (m *matrix) verify() {
	m.t.Helper()
	var wrong []string
	for until := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		m.follow()
		wrong = append(m.book.violations(), m.replay.unlike(m.book.pages())...)
		if len(wrong) == 0 || time.Now().After(until) || len(m.book.violations()) > 0 {
			break
		}
	}
	for _, w := range wrong {
		m.t.Errorf("round %d: %s", m.rounds, w)
	}
	if m.t.Failed() {
		m.t.Fatalf("the daemon's last words:\n%s", lastLines(m.output.String(), 60))
	}
	if *crashRounds > 0 {
		m.must("changelog", "verify")
	}
}

// follow reads what was appended to the log since.
func (m *matrix) follow() {
	m.t.Helper()
	out := m.must("--output", "json", "changelog", "tail", "--no-follow", "--after", fmt.Sprint(m.replay.last))
	dec := json.NewDecoder(strings.NewReader(out))
	for {
		var rec store.Record
		if err := dec.Decode(&rec); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			m.t.Fatal("changelog tail:", err)
		}
		m.replay.add(rec)
	}
}

// verifyPasswords binds everywhere: what the book says is what is so.
func (m *matrix) verifyPasswords() {
	m.t.Helper()
	c := m.conn()
	for _, p := range m.book.pages() {
		now := m.book.present(p.dn)
		if err := c.Bind(p.dn, now); err != nil {
			m.t.Errorf("AD does not accept the newest password of %s: %v", p.name, err)
		}
		if len(p.accepted) > 1 && !m.cloud.accepts(m.t, p.name, now) {
			m.t.Errorf("JumpCloud does not accept the newest password of %s", p.name)
		}
	}
}

// report prints what was hit, and fails for what never was.
func (m *matrix) report(want []moment) {
	m.t.Helper()
	var table strings.Builder
	for _, at := range m.order {
		fmt.Fprintf(&table, "%6d  %s\n", m.hits[at], at)
	}
	m.t.Logf("%d rounds, %d changes acknowledged, %d records; the daemon was killed\n%s", m.rounds, m.changes.Load(), m.replay.last, &table)
	for _, at := range want {
		if m.hits[at] == 0 {
			m.t.Errorf("never killed: %s", at)
		}
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// TestL3_CrashMatrix kills the daemon at every moment of a capture, of an
// apply and of settling, under load. Every change that the DC accepted is
// applied, once and in order; nothing else is; and the log tells of all.
func TestL3_CrashMatrix(t *testing.T) {
	t.Parallel()
	all := append(append([]moment{anyTime}, atPeers...), whileSettling...)
	t.Run("embedded", func(t *testing.T) {
		accounts, clients := 8, 4
		if *crashRounds > 0 {
			accounts, clients = 24, 6
		}
		newMatrix(t, nil, accounts, clients).run(*crashRounds, all)
	})
	t.Run("samba", func(t *testing.T) {
		moments := []moment{captureMade, captureAnswered, applyMade, settleAnswered}
		if *crashRounds > 0 {
			moments = all
		}
		newMatrix(t, samba.Start(t), 6, 3).run(*crashRounds/10, moments)
	})
}

// run makes so many rounds, and one for each moment at least.
func (m *matrix) run(rounds int, all []moment) {
	m.t.Helper()
	defer m.report(all)
	for i := range max(rounds, len(all)) {
		at := all[i%len(all)]
		skip := 0
		switch {
		case at == anyTime:
			skip = rand.N(500) // milliseconds
		case rounds > 0:
			skip = rand.N(8)
		}
		// A moment may not come: of a change that the DC refused nothing is
		// settled.
		for hits, try := m.hits[at], 0; m.hits[at] == hits && try < 4; try++ {
			m.round(at, skip)
		}
	}
	m.serve()
	m.verifyPasswords()
	// The whole log once more: nothing of what was read has changed.
	seen := m.replay
	m.replay = newReplay()
	m.follow()
	m.verify()
	m.must("changelog", "verify")
	if m.replay.last < seen.last {
		m.t.Errorf("the log ends with record %d, and had %d", m.replay.last, seen.last)
	}
}
