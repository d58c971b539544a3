package gateway

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func TestG3_ChooseRoute(t *testing.T) {
	corp := &Domain{Name: "corp.example.test", NetBIOS: "CORP"}
	lab := &Domain{Name: "lab.corp.example.test", NetBIOS: "LAB", BaseDN: "DC=lab,DC=corp,DC=example,DC=test"}
	other := &Domain{Name: "other.test"}
	cloud := &Domain{Name: "ldap.jumpcloud.com", BaseDN: "o=5f00,dc=jumpcloud,dc=com", Foreign: true}
	all := []*Domain{cloud, corp, lab, other}
	same := "" // the name goes on as it is
	tests := []struct {
		name   string
		domain *Domain
		want   string
		unsure bool
	}{
		{"", corp, same, false},
		{"CN=Alice,OU=People,DC=corp,DC=example,DC=test", corp, same, false},
		{"cn=alice, ou=people , dc = LAB , dc=Corp,DC=example,DC=test", lab, same, false},
		{`CN=a\,DC=lab\,DC=corp\,DC=example\,DC=test,DC=other,DC=test`, other, same, false},
		{`CN=Alice,DC=l\61b,DC=corp,DC=example,DC=test`, lab, same, false},
		{`CN="x,DC=other,DC=test",DC=lab,DC=corp,DC=example,DC=test`, lab, same, false},
		{"CN=x,0.9.2342.19200300.100.1.25=other,dc=test", other, same, false},
		{"CN=x,XDC=other,DC=test", corp, same, false}, // ends in the text of a base, not in its RDNs
		{"DC=other,DC=test", other, same, false},
		{"CN=x,DC=elsewhere,DC=test", corp, same, false},
		{"CN=x,", corp, same, false},
		{"=", corp, same, false},
		{"uid=alice,ou=Users,o=5f00,dc=jumpcloud,dc=com", cloud, same, false},
		{"UID=alice,OU=Users,O=5F00,DC=JumpCloud,DC=com", cloud, same, false},
		{"uid=alice,ou=Users,o=another,dc=jumpcloud,dc=com", corp, same, false},
		{"<GUID=01020304-0506-0708-090a-0b0c0d0e0f10>", corp, same, false},
		{"{01020304-0506-0708-090a-0b0c0d0e0f10}", corp, same, false},
		{"S-1-5-21-1-2-3-500", corp, same, false},
		{`CORP\alice`, corp, same, false},
		{`lab\alice`, lab, same, false},
		{`other.test\alice`, other, same, false},
		{`ELSEWHERE\alice`, corp, same, false},
		{`LAB\a@corp.example.test`, lab, same, false},
		{"alice@corp.example.test", corp, same, true},
		{"alice@LAB.corp.example.test", lab, same, true},
		{"alice@lab", lab, same, true},
		{"alice@deep.lab.corp.example.test", lab, same, true},
		{"a@b@other.test", other, same, true},
		{"alice@notcorp.example.test", corp, same, true},
		{"alice@elsewhere.test", corp, same, true},
		{"alice@", corp, same, true},
		{"lab.corp.example.test/People/Alice", lab, same, false},
		{"host/app.example.test", corp, same, false},
		{"alice", corp, `CORP\alice`, false},
		{"APP-01$", corp, `CORP\APP-01$`, false},
		{"zoë", corp, `CORP\zoë`, false},
		{"Alice Archer", corp, same, false}, // a display name
		{"alice\x00", corp, same, false},
		{"alice*", corp, same, false},
	}
	for _, tt := range tests {
		if tt.want == same {
			tt.want = tt.name
		}
		got := chooseRoute(all, tt.name)
		if got.domain != tt.domain || got.name != tt.want || got.unsure != tt.unsure {
			t.Errorf("%q: got domain %v as %q, unsure %v; want %v as %q, %v", tt.name, got.domain.Name, got.name, got.unsure, tt.domain.Name, tt.want, tt.unsure)
		}
	}
	if got := chooseRoute([]*Domain{other}, "alice"); got.name != "alice@other.test" {
		t.Errorf("bare name without a NetBIOS name: got %q, want alice@other.test", got.name)
	}
	if got := chooseRoute(nil, "alice"); got.domain != nil || got.name != "alice" {
		t.Errorf("without domains: got %+v", got)
	}
	if got := chooseRoute([]*Domain{cloud}, "alice"); got.domain != nil || got.name != "alice" {
		t.Errorf("with JumpCloud's LDAP alone: got %+v", got)
	}
}

// FuzzChooseRoute: no name makes it panic or find a domain that is none.
func FuzzChooseRoute(f *testing.F) {
	all := []*Domain{{Name: "corp.example.test", NetBIOS: "CORP"}, {BaseDN: "o=5f00,dc=jumpcloud,dc=com", Foreign: true}}
	for _, s := range []string{"", "alice", `a\b`, "a@b", "cn=a,dc=corp,dc=example,dc=test", `cn="a\`, "uid=x,o=5f00,dc=jumpcloud,dc=com", "#04"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r := chooseRoute(all, name)
		if r.domain != all[0] && r.domain != all[1] {
			t.Errorf("%q: domain %v", name, r.domain)
		}
		if r.name != name && r.name != `CORP\`+name {
			t.Errorf("%q became %q", name, r.name)
		}
	})
}

// namedDC answers every search with its own name, and tells what binds it got.
type namedDC struct {
	name   string
	binds  chan string  // name and password
	silent string       // a base whose search is never answered
	served atomic.Int32 // requests that are no binds
}

func (n *namedDC) serve(p *peer) {
	for msg := range p.requests() {
		switch msg.Op {
		case ldapwire.OpBindRequest:
			req, err := ldapwire.ParseBindRequest(msg.Body)
			if err != nil {
				p.tb.Error(err)
			}
			password := req.Password(msg.Body)
			if len(req.Name) > 0 {
				n.binds <- string(req.Name) + " " + string(password.Expose()) + " " + string(msg.Controls)
			}
			if string(password.Expose()) == "wrong" {
				p.send(ldapwire.AppendBindResponse(nil, msg.ID, ldapwire.ResultInvalidCredentials, "", acceptSecurityContext52e, nil))
				continue
			}
			p.send(plainAnswer(msg))
		case ldapwire.OpSearchRequest:
			n.served.Add(1)
			if req, err := ldapwire.ParseSearchRequest(msg.Body); err == nil && n.silent != "" && string(req.BaseDN) == n.silent {
				continue
			}
			p.send(ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultSuccess, "", n.name))
		default:
			n.served.Add(1)
			p.send(plainAnswer(msg))
		}
	}
}

// newRouterRig has two domains and JumpCloud's LDAP behind one gateway.
func newRouterRig(t *testing.T, change ...func(*Config)) (*rig, map[string]*namedDC) {
	t.Helper()
	ca := certstest.New(t)
	dcs := make(map[string]*namedDC)
	add := func(d Domain) *Domain {
		n := &namedDC{name: d.Name, binds: make(chan string, 10)}
		dcs[d.Name] = n
		d.DCs = newScriptedDC(t, ca, n.serve)
		return &d
	}
	all := []*Domain{
		add(Domain{Name: "corp.example.test", NetBIOS: "CORP", Capture: true}),
		add(Domain{Name: "lab.test", NetBIOS: "LAB", Capture: true}),
		add(Domain{Name: "cloud", BaseDN: "o=5f00,dc=jumpcloud,dc=com", Foreign: true}),
	}
	r := newRigFor(t, ca, nil, append([]func(*Config){func(c *Config) { c.Domains = func() []*Domain { return all } }}, change...)...)
	return r, dcs
}

func (p *peer) wantServedBy(id int32, domain string) {
	p.tb.Helper()
	p.send(ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: "DC=x"}))
	if res := p.wantResult(ldapwire.OpSearchResultDone, id, ldapwire.ResultSuccess); string(res.Diagnostic) != domain {
		p.tb.Errorf("served by %q, want %q", res.Diagnostic, domain)
	}
}

// TestG3_SessionFollowsItsBind: one connection binds in several domains, and
// is served by the one of its newest bind.
func TestG3_SessionFollowsItsBind(t *testing.T) {
	r, dcs := newRouterRig(t)
	c := r.dial()
	c.wantServedBy(1, "corp.example.test")
	id := int32(2)
	for _, tt := range []struct{ name, domain, as string }{
		{"alice", "corp.example.test", `CORP\alice`},
		{`LAB\bob`, "lab.test", `LAB\bob`},
		{"bob@lab.test", "lab.test", "bob@lab.test"},
		{"CN=bob,DC=lab,DC=test", "lab.test", "CN=bob,DC=lab,DC=test"},
		{"uid=alice,ou=Users,o=5f00,dc=jumpcloud,dc=com", "cloud", "uid=alice,ou=Users,o=5f00,dc=jumpcloud,dc=com"},
		{"alice@corp.example.test", "corp.example.test", "alice@corp.example.test"},
	} {
		control := ldapwire.Control{OID: []byte(ldapwire.OIDControlPasswordPolicy)}
		plain, err := ldapwire.ParseMessage(ldapwire.AppendBindRequest(nil, id, tt.name, []byte("Secret-1")))
		if err != nil {
			t.Fatal(err)
		}
		frame := ldapwire.AppendWithControls(nil, plain, control)
		c.send(frame)
		c.wantResult(ldapwire.OpBindResponse, id, ldapwire.ResultSuccess)
		sent, err := ldapwire.ParseMessage(frame)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := receive(t, dcs[tt.domain].binds, "the bind"), tt.as+" Secret-1 "+string(sent.Controls); got != want {
			t.Errorf("%s: the DC got %q, want %q", tt.name, got, want)
		}
		c.wantServedBy(id+1, tt.domain)
		id += 2
	}
	// A bind that fails leaves the session anonymous, with the default domain.
	c.send(ldapwire.AppendBindRequest(nil, 90, `LAB\bob`, []byte("wrong")))
	c.wantResult(ldapwire.OpBindResponse, 90, ldapwire.ResultInvalidCredentials)
	c.wantServedBy(91, "corp.example.test")
}

// TestG3_PasswordChangeGoesToTheDomain: it is recorded for the domain that the
// session is bound in, and left alone at JumpCloud's LDAP.
func TestG3_PasswordChangeGoesToTheDomain(t *testing.T) {
	r, _ := newRouterRig(t)
	c := r.dial()
	c.send(ldapwire.AppendBindRequest(nil, 1, `LAB\bob`, []byte("Secret-1")))
	c.wantResult(ldapwire.OpBindResponse, 1, ldapwire.ResultSuccess)
	c.send(changePassword(t, 2, "old", "New.Pass1"))
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	if got := r.recorder.intents[0].Account.Domain; got != "lab.test" {
		t.Errorf("recorded for %q, want lab.test", got)
	}
	c.send(ldapwire.AppendBindRequest(nil, 3, "uid=bob,o=5f00,dc=jumpcloud,dc=com", []byte("Secret-1")))
	c.wantResult(ldapwire.OpBindResponse, 3, ldapwire.ResultSuccess)
	c.send(changePassword(t, 4, "old", "New.Pass1"))
	c.wantResult(ldapwire.OpModifyResponse, 4, ldapwire.ResultSuccess)
	c.send(ldapwire.AppendExtendedRequest(nil, 5, ldapwire.OIDPasswordModify, nil, false))
	c.wantResult(ldapwire.OpExtendedResponse, 5, ldapwire.ResultSuccess)
	if n := r.recorder.count(); n != 1 {
		t.Errorf("%d changes recorded, want 1", n)
	}
}

// TestG3_Resolve: a mail address is bound with under the name that it belongs
// to, where that is known.
func TestG3_Resolve(t *testing.T) {
	r, dcs := newRouterRig(t, func(c *Config) {
		c.Resolve = func(_ context.Context, name string) (string, string) {
			if name == "bob@mail.test" {
				return "lab.test", "CN=bob,DC=lab,DC=test"
			}
			if name == "odd@mail.test" {
				return "lab.test", "" // a name must not become an anonymous bind
			}
			return "", ""
		}
	})
	for name, want := range map[string]struct{ domain, as string }{
		"odd@mail.test":    {"corp.example.test", "odd@mail.test"},
		"bob@mail.test":    {"lab.test", "CN=bob,DC=lab,DC=test"},
		"nobody@mail.test": {"corp.example.test", "nobody@mail.test"},
		"bob@lab.test":     {"lab.test", "bob@lab.test"},
	} {
		c := r.dial()
		c.send(ldapwire.AppendBindRequest(nil, 1, name, []byte("Secret-1")))
		c.wantResult(ldapwire.OpBindResponse, 1, ldapwire.ResultSuccess)
		if got := receive(t, dcs[want.domain].binds, "the bind"); got != want.as+" Secret-1 " {
			t.Errorf("%s: the DC got %q, want %q", name, got, want.as)
		}
	}
}

// TestG3_BaseRoutesStrangers: a session that is not bound is served by the
// domain that each request is about, and a bound one by its own alone.
func TestG3_BaseRoutesStrangers(t *testing.T) {
	r, dcs := newRouterRig(t)
	const corp, lab = "corp.example.test", "lab.test"
	c := r.dial()
	id := int32(1)
	served := func(base, want string) {
		t.Helper()
		id++
		c.send(ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: base}))
		if res := c.wantResult(ldapwire.OpSearchResultDone, id, ldapwire.ResultSuccess); string(res.Diagnostic) != want {
			t.Errorf("%q served by %q, want %q", base, res.Diagnostic, want)
		}
	}
	served("CN=x,DC=Corp,DC=example,DC=test", corp)
	served("cn=x, dc=LAB , DC=test", lab)
	served("DC=elsewhere", lab) // of nobody's: where the one before went
	served("<SID=S-1-5-32-544>", lab)
	served("", corp)                                    // the root DSE is the default domain's
	served("ou=Users,o=5f00,dc=jumpcloud,dc=com", corp) // nothing to go out for
	served("DC=lab,DC=test", lab)
	c.send(ldapwire.AppendBindRequest(nil, 50, `CORP\alice`, []byte("Secret-1")))
	c.wantResult(ldapwire.OpBindResponse, 50, ldapwire.ResultSuccess)
	served("DC=lab,DC=test", corp)
	served("DC=corp,DC=example,DC=test", corp)
	c.send(ldapwire.AppendBindRequest(nil, 51, "", nil)) // anonymous again
	c.wantResult(ldapwire.OpBindResponse, 51, ldapwire.ResultSuccess)
	served("DC=lab,DC=test", lab)
	if n := len(dcs[lab].binds); n != 0 {
		t.Errorf("%d binds with a name in the other domain", n)
	}
}

// TestG3_RequestsNameTheirDomain: not searches alone.
func TestG3_RequestsNameTheirDomain(t *testing.T) {
	const dn = "CN=x,DC=lab,DC=test"
	for name, frame := range map[string][]byte{
		"compare":   ldapwire.AppendCompareRequest(nil, 1, dn, "cn", []byte("x")),
		"modify":    ldapwire.AppendModifyRequest(nil, 1, dn, modOf(ldapwire.ModAdd, "cn", "x")),
		"add":       ldapwire.AppendAddRequest(nil, 1, dn, []ldapwire.AttributeValues{attrOf("cn", "x")}),
		"delete":    ldapwire.AppendDelRequest(nil, 1, dn),
		"modify DN": ldapwire.AppendModifyDNRequest(nil, 1, dn, "CN=y", true, ""),
		"search":    ldapwire.AppendSearchRequest(nil, 1, ldapwire.SearchParams{BaseDN: dn}),
	} {
		msg := mustParse(t, frame)
		if got, ok := requestDN(msg); !ok || string(got) != dn {
			t.Errorf("%s: got %q, %t; want %q", name, got, ok, dn)
		}
		r, dcs := newRouterRig(t)
		c := r.dial()
		c.send(frame)
		c.want(msg.Op.Response())
		if n := dcs["lab.test"].served.Load(); n != 1 {
			t.Errorf("%s: the domain got %d requests, want 1", name, n)
		}
	}
	for name, frame := range map[string][]byte{
		"extended":  ldapwire.AppendExtendedRequest(nil, 1, ldapwire.OIDWhoAmI, nil, false),
		"malformed": ldapwire.AppendMessage(nil, 1, ldapwire.OpSearchRequest, []byte{4, 1}, nil),
	} {
		if dn, ok := requestDN(mustParse(t, frame)); ok {
			t.Errorf("%s: got %q, want none", name, dn)
		}
	}
}

// TestG3_RoutingWaits: what is outstanding in one domain is answered before the
// session moves to another, and what has no end keeps it where it is.
func TestG3_RoutingWaits(t *testing.T) {
	const corp, lab = "corp.example.test", "lab.test"
	search := func(id int32, base string) []byte {
		return ldapwire.AppendSearchRequest(nil, id, ldapwire.SearchParams{BaseDN: base})
	}
	t.Run("pipelined", func(t *testing.T) {
		r, _ := newRouterRig(t)
		c := r.dial()
		c.send(search(1, "DC=corp,DC=example,DC=test"), search(2, "DC=lab,DC=test"), search(3, "DC=corp,DC=example,DC=test"))
		for id, want := range []string{corp, lab, corp} {
			if res := c.wantResult(ldapwire.OpSearchResultDone, int32(id+1), ldapwire.ResultSuccess); string(res.Diagnostic) != want {
				t.Errorf("search %d served by %q, want %q", id+1, res.Diagnostic, want)
			}
		}
	})
	t.Run("without end", func(t *testing.T) {
		r, dcs := newRouterRig(t, func(c *Config) { c.DrainTimeout = 50 * time.Millisecond })
		dcs[corp].silent = "CN=watched,DC=corp,DC=example,DC=test"
		c := r.dial()
		c.send(search(1, dcs[corp].silent), search(2, "DC=lab,DC=test"))
		if res := c.wantResult(ldapwire.OpSearchResultDone, 2, ldapwire.ResultSuccess); string(res.Diagnostic) != corp {
			t.Errorf("served by %q, want %q", res.Diagnostic, corp)
		}
	})
}
