package replicate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
)

func (w *world) registration() Registration {
	return Registration{
		Domain: store.Domain{Name: domainName, DCs: []string{w.ad.URL()}, UseCase: store.UseCaseAD, PasswordSync: store.PasswordSyncCapture,
			ImportAccount: w.ad.AdminDN(), ScopeGroup: "cn=" + strings.ToLower(adsim.ScopeGroup) + ",ou=groups," + w.ad.BaseDN()},
		Credentials: map[string]secret.Bytes{
			store.CredImportPassword: secret.New([]byte("Admin.Pass1")), store.CredAPIKey: w.cloud.APIKey()},
	}
}

func (w *world) register(change ...func(*Registration)) (store.Domain, []Check, error) {
	w.t.Helper()
	reg := w.registration()
	for _, c := range change {
		c(&reg)
	}
	return Register(w.t.Context(), w.store, reg, w.peers, w.clock.now())
}

// directories is what JumpCloud has: AD objects and their agents.
func (w *world) directories() (objects, agents int) {
	w.t.Helper()
	all, err := w.peers.JumpCloud.ActiveDirectories(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range all {
		list, err := w.peers.JumpCloud.Agents(w.t.Context(), d.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		agents += len(list)
	}
	return len(all), agents
}

func TestRegister(t *testing.T) {
	w := newWorld(t)
	d, checks, err := w.register()
	if err != nil {
		t.Fatal(err)
	}
	if d.BaseDN != w.ad.BaseDN() || d.NetBIOS != "CORP" || d.JumpCloud.OrgID != w.cloud.OrgID() || d.JumpCloud.ADID == "" || len(d.JumpCloud.AgentIDs) != 1 {
		t.Errorf("registered %+v", d)
	}
	if want := "CN=" + adsim.ScopeGroup + ",OU=Groups," + w.ad.BaseDN(); d.ScopeGroup != want {
		t.Errorf("scope group %q, want it as AD spells it: %q", d.ScopeGroup, want)
	}
	if d.ScopeGroupGUID.IsZero() {
		t.Error("the scope group's objectGUID was not kept")
	}
	if len(checks) != 6 {
		t.Errorf("%d checks told, want 6: %+v", len(checks), checks)
	}
	all, err := w.peers.JumpCloud.ActiveDirectories(t.Context())
	if err != nil || len(all) != 1 || all[0].Domain != "DC=corp;DC=example;DC=test" || all[0].UseCase != "ADASAUTHORITY" {
		t.Errorf("JumpCloud has %+v, %v", all, err)
	}
	for _, name := range []string{store.CredImportPassword, store.CredAPIKey, store.CredAgentKey} {
		if c, err := w.store.Credential(domainName, name, w.opener); err != nil || c.IsEmpty() {
			t.Errorf("credential %s: %v", name, err)
		}
	}

	t.Run("again, after the scope group was renamed", func(t *testing.T) {
		if err := w.ad.Rename(adminOf(t, w), d.ScopeGroup, "CN=Renamed", ""); err != nil {
			t.Fatal(err)
		}
		again, _, err := w.register()
		if err != nil {
			t.Fatal(err)
		}
		if want := "CN=Renamed,OU=Groups," + w.ad.BaseDN(); again.ScopeGroup != want || again.ScopeGroupGUID != d.ScopeGroupGUID {
			t.Errorf("got scope group %q, %s, want %q, %s", again.ScopeGroup, again.ScopeGroupGUID, want, d.ScopeGroupGUID)
		}
		if err := w.ad.Rename(adminOf(t, w), again.ScopeGroup, "CN="+adsim.ScopeGroup, ""); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("again, with another use case", func(t *testing.T) {
		w.clock.add(1e9)
		change := func(r *Registration) { r.Domain.UseCase = store.UseCaseTwoWay }
		if _, _, err := w.register(change); err == nil || !strings.Contains(err.Error(), "ADASAUTHORITY (--use-case ad), not TWOWAYSYNC (--use-case two-way)") {
			t.Errorf("the use case was changed without leave: %v", err)
		}
		again, _, err := w.register(change, func(r *Registration) { r.ChangeUseCase = true })
		if err != nil {
			t.Fatal(err)
		}
		if again.JumpCloud.ADID != d.JumpCloud.ADID || again.JumpCloud.AgentIDs[0] != d.JumpCloud.AgentIDs[0] {
			t.Errorf("got new objects: %+v, want those of %+v", again.JumpCloud, d.JumpCloud)
		}
		if !again.CreatedAt.Equal(d.CreatedAt) || !again.UpdatedAt.After(d.UpdatedAt) {
			t.Errorf("created %v, updated %v", again.CreatedAt, again.UpdatedAt)
		}
		if objects, agents := w.directories(); objects != 1 || agents != 1 {
			t.Errorf("JumpCloud has %d objects and %d agents, want one of each", objects, agents)
		}
		all, _ := w.peers.JumpCloud.ActiveDirectories(t.Context())
		if all[0].UseCase != "TWOWAYSYNC" {
			t.Errorf("use case %s", all[0].UseCase)
		}
	})
}

func TestRegisterRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Registration)
		fault  *jcsim.Fault
		want   string
	}{
		{"another domain", func(r *Registration) { r.Domain.Name = "other.example.test" }, nil, "it serves corp.example.test, not other.example.test"},
		{"a scope group that is not there", func(r *Registration) { r.Domain.ScopeGroup = "CN=Nobody,DC=corp,DC=example,DC=test" }, nil, "--scope-group"},
		{"a scope group that is a user", func(r *Registration) { r.Domain.ScopeGroup = "CN=alice,OU=People,DC=corp,DC=example,DC=test" }, nil, "--scope-group"},
		{"a root container that is not there", func(r *Registration) { r.Domain.RootDN = "OU=Nowhere,DC=corp,DC=example,DC=test" }, nil, "--root-dn"},
		{"another organisation", func(r *Registration) { r.Domain.JumpCloud.OrgID = "000000000000000000000000" }, nil, "--org-id"},
		{"an unknown use case", func(r *Registration) { r.Domain.UseCase = "jumpcloud" }, nil, "use case"},
		{"a key without rights", nil, &jcsim.Fault{Method: "GET", PathPrefix: "/api/organizations", Kind: jcsim.Status, Code: 401, Times: 9}, "--api-key-file"},
		{"the object cannot be made", nil, &jcsim.Fault{Method: "POST", PathPrefix: "/api/v2/activedirectories", Kind: jcsim.Status, Code: 403}, "register corp.example.test with JumpCloud"},
		{"the use case cannot be set", nil, &jcsim.Fault{Method: "PATCH", PathPrefix: "/api/v2/activedirectories", Kind: jcsim.Status, Code: 400}, "set use case"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if tt.fault != nil {
				w.cloud.Fail(*tt.fault)
			}
			change := tt.change
			if change == nil {
				change = func(*Registration) {}
			}
			_, _, err := w.register(change)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			w.cloud.Heal()
			if objects, agents := w.directories(); objects != 0 || agents != 0 {
				t.Errorf("%d objects and %d agents are left in JumpCloud", objects, agents)
			}
			if all, err := w.store.Domains(); err != nil || len(all) != 0 {
				t.Errorf("stored %v, %v; want nothing", all, err)
			}
		})
	}
}

// TestAdvise: an administrator is told what to look at.
func TestAdvise(t *testing.T) {
	untrusted := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	misnamed := &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: new(x509.Certificate), Host: "192.0.2.1"}}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("%w: data 52e", ad.ErrAccountRefused), "--import-password-file"},
		{fmt.Errorf("%w: %w", ad.ErrUnavailable, untrusted), "--ca-file"},
		{fmt.Errorf("%w: %w", ad.ErrUnavailable, misnamed), "--dc a name"},
		{fmt.Errorf("%w: connection refused", ad.ErrUnavailable), "--discover, DNS"},
	} {
		got := advise(fmt.Errorf("read the root DSE: %w", tt.err))
		if !errors.Is(got, tt.err) || !strings.Contains(got.Error(), tt.want) {
			t.Errorf("got %q, want it to say %q", got, tt.want)
		}
	}
	if other := errors.New("no advice"); advise(other) != other {
		t.Error("an unknown error is changed")
	}
	w := newWorld(t)
	for _, tt := range []struct {
		change func(*ad.Config)
		want   string
	}{
		{func(c *ad.Config) { c.Password = secret.New([]byte("Wrong.Pass1")) }, "--import-password-file"},
		{func(c *ad.Config) { c.DCs = simDialer{w.ad.Addr(), certstest.New(t).Client("127.0.0.1")} }, "--ca-file"},
		{func(c *ad.Config) { c.DCs = simDialer{w.ad.Addr(), w.ca.Client("dc1.corp.example.test")} }, "--dc a name"},
		{func(c *ad.Config) { c.DCs = simDialer{"127.0.0.1:1", w.ca.Client("127.0.0.1")} }, "--discover, DNS"},
	} {
		w.connect(func(c *ad.Config, _ *jumpcloud.Config) { tt.change(c) })
		if _, _, err := w.register(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error that says %q", err, tt.want)
		}
	}
}

func TestShow(t *testing.T) {
	w := newWorld(t)
	d, _, err := w.register()
	if err != nil {
		t.Fatal(err)
	}
	show := func(name string) UserView {
		t.Helper()
		v, err := Show(t.Context(), w.store, d, w.peers, name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := show("alice")
	if v.Link != nil || v.JumpCloud == nil || v.JumpCloud.ID != w.id || v.PasswordStatus != "Pending" || !strings.Contains(v.Match, "not linked yet") {
		t.Errorf("before the join: %+v", v)
	}
	w.accept(w.alice, "Some.Pass1")
	w.step()
	v = show("alice@" + domainName)
	if v.Link == nil || v.PasswordStatus != "Active" || len(v.Changes) != 1 {
		t.Errorf("after the join: %+v", v)
	}
	if v := show("bob"); v.JumpCloud != nil || !strings.Contains(v.Match, "waits for the import") {
		t.Errorf("nobody to be joined with: %+v", v)
	}
	for range 3 { // whatever is asked
		w.cloud.Fail(jcsim.Fault{Kind: jcsim.Status, Code: 503})
	}
	if v := show("alice"); v.AD == nil || v.Link == nil || v.JumpCloud != nil || len(v.Changes) != 1 || !strings.Contains(v.Trouble, "503") {
		t.Errorf("JumpCloud away: %+v", v)
	}
	if _, err := Show(t.Context(), w.store, d, w.peers, "no*body"); err == nil {
		t.Error("a user was found by a name with a wildcard")
	}
}
