package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/go-ldap/ldap/v3"
	"golang.org/x/net/dns/dnsmessage"
)

// wire is a network cable: a TCP relay that can be cut, so that nothing passes
// and nobody is told.
type wire struct {
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn    // guarded by mu
	sent  *atomic.Int64 // reads from the newest connection's client; guarded by mu
	cut   chan struct{}
}

// newWire leads to the LDAPS port of a DC, from another port of its address,
// which its certificate names.
func newWire(t *testing.T, address string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, cut: make(chan struct{})}
	w.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			w.keep(in)
			select {
			case <-w.cut:
				continue
			default:
			}
			out, err := net.Dial("tcp", net.JoinHostPort(address, "636"))
			if err != nil {
				_ = in.Close()
				continue
			}
			w.keep(out)
			sent := new(atomic.Int64)
			w.mu.Lock()
			w.sent = sent
			w.mu.Unlock()
			w.wg.Go(func() { w.pass(in, out, new(atomic.Int64)) })
			w.wg.Go(func() { w.pass(out, in, sent) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

func (w *wire) keep(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
}

// newest counts what was read from the client of the newest connection.
func (w *wire) newest() *atomic.Int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent
}

// pass copies until one side ends, and ends the other; what comes after the cut
// is swallowed, the end too.
func (w *wire) pass(to, from net.Conn, count *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-w.cut:
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
			count.Add(1)
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

func (w *wire) url() string { return "ldaps://" + w.l.Addr().String() }

// twoControllers is a world whose domain has two controllers, each behind a
// wire, with the same accounts and passwords. The first is preferred.
func twoControllers(t *testing.T) (w *world, first, second *samba.DC, to []*wire) {
	t.Helper()
	w = newWorld(t)
	first, second = w.dc, samba.Start(t)
	second.AddServiceAccount(t, "svc-dirgate", []byte(servicePassword))
	second.AddUser(t, "alice", []byte(before))
	cas := filepath.Join(t.TempDir(), "cas.pem")
	if err := os.WriteFile(cas, slices.Concat(first.CAPEM, second.CAPEM), 0o644); err != nil {
		t.Fatal(err)
	}
	to = []*wire{newWire(t, first.Addr), newWire(t, second.Addr)}
	w.must("domain", "register", w.name, "--dc", to[0].url(), "--dc", to[1].url(), "--ca-file", cas,
		"--import-password-file", w.secretFile("pw", []byte(servicePassword)))
	w.serve()
	eventually(t, patience, "both controllers are in rotation", func() bool {
		return w.inRotation(to[0]) && w.inRotation(to[1])
	})
	return w, first, second, to
}

func (w *world) inRotation(to *wire) bool {
	return strings.Contains(w.metrics(), `dirgate_dc_up{dc="`+to.url()+`"} 1`)
}

// TestG9_Failover: two sessions are idle, one searches, one writes, when a
// controller is killed, hangs, or the network is cut from it. The first three
// are served by the other controller and notice nothing; the write is answered
// with unavailable, since nobody knows whether it was made.
func TestG9_Failover(t *testing.T) {
	tests := map[string]struct {
		hold  bool // the controller is stopped before, so that something is outstanding
		fault func(*testing.T, *samba.DC, *wire)
	}{
		"killed":      {true, func(t *testing.T, dc *samba.DC, _ *wire) { dc.Kill(t) }},
		"hangs":       {false, func(t *testing.T, dc *samba.DC, _ *wire) { dc.Suspend(t) }},
		"network cut": {false, func(_ *testing.T, _ *samba.DC, to *wire) { close(to.cut) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, first, _, to := twoControllers(t)
			session := func() *ldap.Conn {
				c := w.conn()
				if err := c.Bind("alice@"+w.name, before); err != nil {
					t.Fatal(err)
				}
				return c
			}
			idle, later := session(), session()
			searching, searches := session(), to[0].newest()
			writing, writes := session(), to[0].newest()
			if searches == writes {
				t.Fatal("two sessions have one connection")
			}
			searched, wrote := searches.Load(), writes.Load()
			t0 := time.Now()
			if tt.hold {
				first.Suspend(t)
			} else {
				tt.fault(t, first, to[0])
			}
			type answer struct {
				what string
				err  error
				took time.Duration
			}
			answers := make(chan answer, 2)
			go func() {
				begun := time.Now()
				answers <- answer{"search", w.searchSelf(searching), time.Since(begun)}
			}()
			go func() {
				begun := time.Now()
				req := ldap.NewModifyRequest(w.dn, nil)
				req.Replace("telephoneNumber", []string{"+49 30 1"})
				answers <- answer{"modify", writing.Modify(req), time.Since(begun)}
			}()
			if tt.hold {
				eventually(t, patience, "search and write are on their way", func() bool {
					return searches.Load() > searched && writes.Load() > wrote
				})
				t0 = time.Now()
				tt.fault(t, first, to[0])
			}
			eventually(t, patience, "the controller leaves rotation", func() bool { return !w.inRotation(to[0]) })
			t.Logf("out of rotation after at most %v", time.Since(t0).Round(time.Millisecond))
			for range 2 {
				a := <-answers
				t.Logf("%s answered after %v: %v", a.what, a.took.Round(time.Millisecond), a.err)
				switch {
				case a.what == "search" && a.err != nil:
					t.Errorf("search: %v, want the other controller's answer", a.err)
				case a.what == "modify" && !ldap.IsErrorWithCode(a.err, ldap.LDAPResultUnavailable):
					t.Errorf("modify: %v, want unavailable", a.err)
				}
			}
			for what, c := range map[string]*ldap.Conn{"idle": idle, "idle for longer": later, "the one that searched": searching, "the one that wrote": writing} {
				begun := time.Now()
				if err := w.searchSelf(c); err != nil {
					t.Errorf("session, %s: %v", what, err)
				}
				t.Logf("session, %s: served after %v", what, time.Since(begun).Round(time.Millisecond))
			}
		})
	}
}

// searchSelf reads what only the bound account itself is sure to get.
func (w *world) searchSelf(c *ldap.Conn) error {
	res, err := c.Search(ldap.NewSearchRequest(w.dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"sAMAccountName"}, nil))
	if err == nil && (len(res.Entries) != 1 || res.Entries[0].GetAttributeValue("sAMAccountName") != "alice") {
		err = errors.New("not alice")
	}
	return err
}

// nameServer is the DNS of a domain: SRV records of its controllers, by name,
// and the addresses of hosts.
type nameServer struct {
	conn net.PacketConn
	done chan struct{}

	mu    sync.Mutex
	srv   map[string][]string // guarded by mu; targets
	hosts map[string]net.IP   // guarded by mu
	asked map[string]struct{} // guarded by mu
}

func newNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{conn: conn, done: make(chan struct{}), srv: map[string][]string{}, hosts: map[string]net.IP{}, asked: map[string]struct{}{}}
	go func() {
		defer close(n.done)
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := n.answer(buf[:size]); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-n.done
	})
	return n
}

func (n *nameServer) answer(query []byte) ([]byte, error) {
	var msg dnsmessage.Message
	if err := msg.Unpack(query); err != nil || len(msg.Questions) != 1 {
		return nil, errors.Join(err, errors.New("not one question"))
	}
	q := msg.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[name] = struct{}{}
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET, TTL: 1}
	answer := dnsmessage.Message{Header: dnsmessage.Header{ID: msg.ID, Response: true, Authoritative: true, RecursionAvailable: true}, Questions: msg.Questions}
	switch {
	case q.Type == dnsmessage.TypeSRV:
		for _, target := range n.srv[name] {
			host, err := dnsmessage.NewName(target + ".")
			if err != nil {
				return nil, err
			}
			answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.SRVResource{Weight: 100, Port: 389, Target: host}})
		}
	case q.Type == dnsmessage.TypeA && n.hosts[name] != nil:
		answer.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte(n.hosts[name].To4())}}}
	}
	if len(n.srv[name]) == 0 && n.hosts[name] == nil {
		answer.RCode = dnsmessage.RCodeNameError
	}
	return answer.Pack()
}

// TestG9_Discover: the controllers of a domain come from DNS, those of the site
// first, and a name in DNS is not believed: the certificate must be of the host.
func TestG9_Discover(t *testing.T) {
	t.Parallel()
	dc := samba.Start(t)
	dc.AddServiceAccount(t, "svc-dirgate", []byte(servicePassword))
	dn := dc.AddUser(t, "alice", []byte(before))
	in, cloud := newInstallation(t), newCloud(t)
	dns := newNameServer(t)
	in.configure("dns_server", `"`+dns.conn.LocalAddr().String()+`"`)
	inSite := "_ldap._tcp.berlin._sites.dc._msdcs." + dc.Domain
	inDomain := "_ldap._tcp.dc._msdcs." + dc.Domain
	other := "other." + dc.Domain
	dns.mu.Lock()
	dns.hosts[dc.Host] = net.ParseIP(dc.Addr)
	dns.hosts[other] = net.ParseIP(dc.Addr)
	dns.srv[inSite], dns.srv[inDomain] = []string{other}, []string{other}
	dns.mu.Unlock()
	register := func() (string, error) {
		return in.cli("domain", "register", dc.Domain, "--discover", "--site", "Berlin", "--ca-file", dc.CAFile,
			"--import-account", "svc-dirgate@"+dc.Domain, "--import-password-file", in.secretFile("pw", []byte(servicePassword)),
			"--jumpcloud-url", cloud.URL(), "--jumpcloud-ca-file", cloud.ca.File(),
			"--api-key-file", in.secretFile("key", cloud.APIKey().Expose()))
	}
	if out, err := register(); err == nil || !strings.Contains(out, "certificate") {
		t.Fatalf("a host without its certificate: got %v\n%s", err, out)
	}
	dns.mu.Lock()
	dns.srv[inSite] = []string{dc.Host}
	dns.mu.Unlock()
	if _, err := register(); err != nil {
		t.Fatal(err)
	}
	if out := in.must("domain", "show", dc.Domain); !strings.Contains(out, "DNS (site Berlin)") {
		t.Errorf("domain show does not say where the controllers come from:\n%s", out)
	}
	in.serve()
	eventually(t, patience, "the discovered controller is in rotation", func() bool {
		return strings.Contains(in.metrics(), `dirgate_dc_up{dc="ldaps://`+dc.Host+`"} 1`)
	})
	c := in.conn()
	if err := c.Bind(dn, before); err != nil {
		t.Error(err)
	}
	dns.mu.Lock()
	defer dns.mu.Unlock()
	for _, name := range []string{inSite, inDomain} {
		if _, ok := dns.asked[name]; !ok {
			t.Errorf("DNS was not asked for %s", name)
		}
	}
}
