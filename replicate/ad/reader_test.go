package ad

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/go-ldap/ldap/v3"
)

// A domain is one that a Reader's cases run on: the simulator's or Samba's.
type domain struct {
	sim            *adsim.Server // nil: Samba
	base           string
	dial           dialer
	admin          *ldap.Conn
	adminDN        string
	reader, lowly  string // bind names: with all rights, and without any
	password       secret.Bytes
	save           func() (revert, restore func())
	addUsers       func(prefix string, n int)
	reconnectAdmin func() *ldap.Conn

	keeper        string // bind name of an account that has the rights of sync from the fixture
	syncer        string // bind name of an account that has no rights until allow gives it some
	adminPassword secret.Bytes
	allow         func(...Grant)
}

const serviceWord = "Serv1ce.Word"

func simulated(t testing.TB) *domain {
	t.Helper()
	ca := certstest.New(t)
	s, err := adsim.Start(adsim.Config{TLS: ca.Server("127.0.0.1"), AdminPassword: secret.New([]byte(serviceWord))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &domain{sim: s, base: s.BaseDN(), dial: dialer{s.Addr(), ca.Client("127.0.0.1")}, password: secret.New([]byte(serviceWord)), adminDN: s.AdminDN()}
	add := func(name, container string, password secret.Bytes) string {
		dn, err := s.AddUser(adsim.User{Name: name, Password: password, Container: container, GivenName: name, Surname: "Test"})
		if err != nil {
			t.Fatal(err)
		}
		return dn
	}
	d.reader, d.lowly = add("svc-reader", "OU=Service,"+d.base, d.password), add("svc-lowly", "OU=Service,"+d.base, d.password)
	if err := errors.Join(s.GrantReplication(d.reader), s.GrantDeletedObjects(d.reader)); err != nil {
		t.Fatal(err)
	}
	d.syncer, d.adminPassword = add("jcsync", "OU=Service,"+d.base, d.password), d.password
	d.allow = func(grants ...Grant) {
		for _, g := range grants {
			if err := s.DSACLs(g.Windows); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.keeper = add("jckeeper", "OU=Service,"+d.base, d.password)
	if err := s.GrantSync(d.keeper, "OU=People,"+d.base); err != nil {
		t.Fatal(err)
	}
	d.save = func() (func(), func()) {
		content := s.Save()
		return func() { s.Revert(content) }, func() { s.Restore(content) }
	}
	d.addUsers = func(prefix string, n int) {
		for i := range n {
			add(fmt.Sprintf("%s%05d", prefix, i), "", secret.Bytes{})
		}
	}
	d.connect(t)
	return d
}

func realDomain(t testing.TB) *domain {
	t.Helper()
	dc := samba.Start(t)
	d := &domain{base: dc.BaseDN, dial: dialer{net.JoinHostPort(dc.Addr, "636"), dc.TLS()}, adminDN: dc.AdminDN, password: secret.New([]byte(serviceWord))}
	d.reader = dc.AddServiceAccount(t, "svc-reader", d.password.Expose(), samba.DirSync, samba.ReadDeleted)
	d.lowly = dc.AddServiceAccount(t, "svc-lowly", d.password.Expose())
	d.syncer, d.adminPassword = dc.AddServiceAccount(t, "jcsync", d.password.Expose()), dc.AdminPassword
	d.allow = func(grants ...Grant) {
		entries, container := "", ""
		for _, g := range grants { // one command for all: a second each
			object, entry, ok := strings.Cut(strings.TrimPrefix(g.Samba, `samba-tool dsacl set --objectdn="`), `" --sddl="`)
			if !ok {
				t.Fatalf("%s: no command for Samba: %q", g.Right, g.Samba)
			}
			container = object
			entries += strings.TrimSuffix(entry, `"`)
		}
		dc.Tool(t, "dsacl", "set", "--objectdn="+container, "--sddl="+entries)
	}
	d.keeper = dc.AddServiceAccount(t, "jckeeper", d.password.Expose(), samba.Sync)
	d.save = func() (func(), func()) {
		content := dc.Save(t)
		d.connect(t)
		return func() { dc.Revert(t, content); d.connect(t) }, func() { dc.Restore(t, content); d.connect(t) }
	}
	d.addUsers = func(prefix string, n int) { dc.AddUsers(t, prefix, n); d.connect(t) }
	d.reconnectAdmin = func() *ldap.Conn { return dc.Conn(t) }
	d.connect(t)
	return d
}

func (d *domain) connect(t testing.TB) {
	t.Helper()
	if d.reconnectAdmin != nil {
		d.admin = d.reconnectAdmin()
		return
	}
	conn, err := ldap.DialURL("ldaps://"+d.dial.addr, ldap.DialWithTLSConfig(d.dial.conf))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.Bind(d.adminDN, serviceWord); err != nil {
		t.Fatal(err)
	}
	d.admin = conn
}

// A world is a domain with people and groups:
//
//	scope -> nested -> deep -> nested (a cycle); scope -> u0, deep -> u1
//	far (outside the root container) -> u2, and away, a user outside
type world struct {
	*domain
	t      testing.TB
	people string // the root container
	scope  identity.GUID
}

func (d *domain) world(t testing.TB) *world {
	w := &world{domain: d, t: t, people: "OU=People," + d.base}
	for i := range 6 {
		w.addUser(fmt.Sprintf("u%d", i), w.people)
	}
	w.addUser("away", "CN=Users,"+d.base)
	w.addGroup("deep", w.people, w.dn("u1"))
	w.addGroup("nested", w.people, w.dn("deep"))
	w.addGroup("far", "OU=Groups,"+d.base, w.dn("u2"), "CN=away,CN=Users,"+d.base)
	w.addGroup("scope", w.people, w.dn("nested"), w.dn("u0"), "CN=far,OU=Groups,"+d.base)
	w.scope = w.guid(w.dn("scope"))
	w.addGroup(adminsGroup, w.people, w.dn("u0"))
	w.modify(w.dn("deep"), ldap.AddAttribute, "member", w.dn("nested"))
	return w
}

func (w *world) dn(cn string) string { return "CN=" + cn + "," + w.people }

func (w *world) must(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

func (w *world) addUser(name, container string) string {
	w.t.Helper()
	dn := "CN=" + name + "," + container
	req := ldap.NewAddRequest(dn, nil)
	for attr, value := range map[string]string{"objectClass": "user", "sAMAccountName": name, "givenName": name, "sn": "Test",
		"mail": name + "@example.test", "userPrincipalName": name + ".upn@corp.example.test", "userAccountControl": "514"} {
		req.Attribute(attr, []string{value})
	}
	w.must("add "+dn, w.admin.Add(req))
	return dn
}

func (w *world) addGroup(name, container string, members ...string) string {
	w.t.Helper()
	dn := "CN=" + name + "," + container
	req := ldap.NewAddRequest(dn, nil)
	req.Attribute("objectClass", []string{"group"})
	req.Attribute("sAMAccountName", []string{name})
	if len(members) > 0 {
		req.Attribute("member", members)
	}
	w.must("add "+dn, w.admin.Add(req))
	return dn
}

func (w *world) modify(dn string, op uint, attr string, values ...string) {
	w.t.Helper()
	req := ldap.NewModifyRequest(dn, nil)
	req.Changes = []ldap.Change{{Operation: op, Modification: ldap.PartialAttribute{Type: attr, Vals: values}}}
	w.must("modify "+dn, w.admin.Modify(req))
}

func (w *world) replace(dn, attr string, values ...string) {
	w.modify(dn, ldap.ReplaceAttribute, attr, values...)
}

func (w *world) move(dn, rdn, container string) {
	w.t.Helper()
	w.must("move "+dn, w.admin.ModifyDN(ldap.NewModifyDNRequest(dn, rdn, true, container)))
}

func (w *world) delete(dn string) {
	w.t.Helper()
	w.must("delete "+dn, w.admin.Del(ldap.NewDelRequest(dn, nil)))
}

func (w *world) guid(dn string) identity.GUID {
	w.t.Helper()
	res, err := w.admin.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"objectGUID"}, nil))
	w.must("read "+dn, err)
	guid, err := identity.GUIDFromBytes(res.Entries[0].GetRawAttributeValue("objectGUID"))
	w.must("read "+dn, err)
	return guid
}

func (w *world) attribute(dn, name string) string {
	w.t.Helper()
	res, err := w.admin.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{name}, nil))
	w.must("read "+dn, err)
	return res.Entries[0].GetAttributeValue(name)
}

// undelete brings a deleted object back below the root container.
func (w *world) undelete(guid identity.GUID, dn string) {
	w.t.Helper()
	shown := []ldap.Control{ldap.NewControlMicrosoftShowDeleted()}
	res, err := w.admin.Search(ldap.NewSearchRequest(w.base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectGUID="+escapeBytes(guid[:])+")", []string{"cn"}, shown))
	if err != nil || len(res.Entries) != 1 {
		w.t.Fatalf("find deleted %s: %v", guid, err)
	}
	req := ldap.NewModifyRequest(res.Entries[0].DN, shown)
	req.Delete("isDeleted", nil)
	req.Replace("distinguishedName", []string{dn})
	w.must("undelete "+dn, w.admin.Modify(req))
}

// newReader reads as an account with the rights that the method takes.
func (w *world) newReader(method Method, change ...func(*ReaderConfig)) *Reader {
	w.t.Helper()
	cfg := ReaderConfig{Method: method, PageSize: 50, Interval: 20 * time.Second,
		Config: Config{DCs: w.dial, Account: w.domain.reader, Password: w.password, RootDN: w.people, ScopeGroupGUID: w.scope}}
	for _, c := range change {
		c(&cfg)
	}
	r, err := NewReader(cfg)
	w.must("reader", err)
	w.t.Cleanup(r.Close)
	return r
}

// A mirror follows a Reader as the engine does.
type mirror struct {
	r      *Reader
	users  map[identity.GUID]identity.User
	groups map[identity.GUID]identity.Group
	cursor Cursor
}

func (w *world) mirror(r *Reader) *mirror {
	w.t.Helper()
	s, err := r.Snapshot(w.t.Context())
	w.must("snapshot", err)
	m := &mirror{r: r, users: make(map[identity.GUID]identity.User), groups: make(map[identity.GUID]identity.Group), cursor: s.Cursor}
	for _, u := range s.Users {
		m.users[u.GUID] = u
	}
	for _, g := range s.Groups {
		m.groups[g.GUID] = g
	}
	return m
}

// update reads all changes there are, and returns them.
func (m *mirror) update(ctx context.Context) (all []Change, err error) {
	for more := true; more; {
		b, err := m.r.Changes(ctx, m.cursor)
		if err != nil {
			return nil, err
		}
		if b.DeletionsUnseen {
			known := slices.Concat(slices.Collect(maps.Keys(m.users)), slices.Collect(maps.Keys(m.groups)))
			missing, err := m.r.Missing(ctx, known)
			if err != nil {
				return nil, err
			}
			for _, guid := range missing {
				b.Changes = append(b.Changes, Change{GUID: guid, Deleted: true})
			}
		}
		b.Apply(m.users, m.groups)
		all, m.cursor, more = append(all, b.Changes...), b.Cursor, b.More
	}
	return all, nil
}

// compare compares what counts of two mirrors: users below the root container
// and groups, without members that are not there.
func compare(t testing.TB, what string, got, want *mirror) {
	t.Helper()
	for _, d := range slices.Concat(difference("missing or other", want.state(), got.state()), difference("too much", got.state(), want.state())) {
		t.Errorf("%s: %s", what, d)
	}
}

func difference(what string, a, b map[identity.GUID]string) (lines []string) {
	for guid, text := range a {
		if b[guid] != text {
			lines = append(lines, fmt.Sprintf("%s:\n want %s\n  got %s", what, text, b[guid]))
		}
	}
	return lines
}

func (m *mirror) state() map[identity.GUID]string {
	state := make(map[identity.GUID]string)
	for guid, u := range m.users {
		if u.InRoot {
			state[guid] = fmt.Sprintf("%+v", u)
		}
	}
	for guid, g := range m.groups {
		g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(member identity.GUID) bool {
			_, group := m.groups[member]
			return !m.users[member].InRoot && !group
		})
		state[guid] = fmt.Sprintf("%+v", g)
	}
	return state
}

// onBoth runs cases on the simulator and on Samba.
func onBoth(t *testing.T, run func(t *testing.T, d *domain)) {
	t.Run("simulator", func(t *testing.T) { run(t, simulated(t)) })
	t.Run("samba", func(t *testing.T) { run(t, realDomain(t)) })
}

func methods() []Method { return []Method{MethodDirSync, MethodDirSyncVisible, MethodUSN} }

// switchable dials one of several controllers.
type switchable struct {
	mu sync.Mutex
	to Dialer
}

func (s *switchable) Dial(ctx context.Context) (*tls.Conn, string, error) {
	s.mu.Lock()
	to := s.to
	s.mu.Unlock()
	return to.Dial(ctx)
}

func (s *switchable) set(to Dialer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
}

func wantReason(t testing.TB, what string, err error, words string) {
	t.Helper()
	if !errors.Is(err, ErrFullCompare) || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: got %v, want ErrFullCompare that speaks of %q", what, err, words)
	}
}
