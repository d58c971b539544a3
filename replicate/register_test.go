package replicate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"slices"
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

// withSync gives a registration a sync account, which has the rights it needs
// if granted.
func (w *world) withSync(granted bool) func(*Registration) {
	w.t.Helper()
	password := secret.New([]byte("Sync.Pass1"))
	dn, err := w.ad.AddUser(adsim.User{Name: "jcsync", Password: password})
	if err == nil && granted {
		err = w.ad.GrantSync(dn, w.ad.BaseDN())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	writer, err := ad.NewWriter(ad.WriterConfig{Config: ad.Config{DCs: simDialer{w.ad.Addr(), w.ca.Client("127.0.0.1")},
		Account: "jcsync@" + domainName, Password: password}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(writer.Close)
	return func(r *Registration) {
		r.Domain.SyncAccount, r.Sync = "jcsync@"+domainName, writer
		r.Credentials[store.CredSyncPassword] = password
	}
}

// atJumpCloud is the domain's AD object and the kinds of its agents, in order.
func (w *world) atJumpCloud() (jumpcloud.ActiveDirectory, []string) {
	w.t.Helper()
	all, err := w.peers.JumpCloud.ActiveDirectories(w.t.Context())
	if err != nil || len(all) != 1 {
		w.t.Fatalf("JumpCloud has %+v, %v, want one AD object", all, err)
	}
	agents, err := w.peers.JumpCloud.Agents(w.t.Context(), all[0].ID)
	if err != nil {
		w.t.Fatal(err)
	}
	kinds := []string{}
	for _, a := range agents {
		kinds = append(kinds, string(a.Kind))
	}
	slices.Sort(kinds)
	return all[0], kinds
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
	if len(checks) != 7 {
		t.Errorf("%d checks told, want 7: %+v", len(checks), checks)
	}
	if !slices.ContainsFunc(checks, func(c Check) bool {
		return c.Name == "deleted objects" && strings.Contains(c.Detail, "tells of deletions")
	}) {
		t.Errorf("nothing is said of deleted objects: %+v", checks)
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
		sync := w.withSync(true)
		change := func(r *Registration) {
			r.Domain.UseCase = store.UseCaseTwoWay
			sync(r)
		}
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
		if objects, agents := w.directories(); objects != 1 || agents != 2 {
			t.Errorf("JumpCloud has %d objects and %d agents, want one with an import and a sync agent", objects, agents)
		}
		all, _ := w.peers.JumpCloud.ActiveDirectories(t.Context())
		if all[0].UseCase != "TWOWAYSYNC" {
			t.Errorf("use case %s", all[0].UseCase)
		}
	})
}

// TestRegisterUseCases: each of the three, and each change of one into another,
// leaves JumpCloud with its useCase, its delegation and its agents.
func TestRegisterUseCases(t *testing.T) {
	wanted := map[string]struct {
		useCase, delegation string
		agents              []string
	}{
		store.UseCaseAD:        {"ADASAUTHORITY", "PENDING", []string{"IMPORT"}}, // enabled, and no agent has reported
		store.UseCaseTwoWay:    {"TWOWAYSYNC", "DISABLED", []string{"IMPORT", "SYNC"}},
		store.UseCaseJumpCloud: {"JCASAUTHORITY", "DISABLED", []string{"SYNC"}},
	}
	w := newWorld(t)
	sync := w.withSync(true)
	for _, use := range []string{store.UseCaseJumpCloud, store.UseCaseAD, store.UseCaseTwoWay, store.UseCaseJumpCloud, store.UseCaseTwoWay, store.UseCaseAD, store.UseCaseJumpCloud} {
		for range 2 { // again changes nothing
			d, _, err := w.register(sync, func(r *Registration) { r.Domain.UseCase, r.ChangeUseCase = use, true })
			if err != nil {
				t.Fatalf("%s: %v", use, err)
			}
			object, agents := w.atJumpCloud()
			if want := wanted[use]; object.UseCase != want.useCase || object.DelegationState != want.delegation || !slices.Equal(agents, want.agents) || len(d.JumpCloud.AgentIDs) != len(agents) {
				t.Errorf("%s: JumpCloud has %+v with agents %v, registered %v; want %+v", use, object, agents, d.JumpCloud.AgentIDs, want)
			}
		}
	}
	for _, name := range []string{store.CredSyncPassword, store.CredSyncAgentKey, store.CredAgentKey} {
		if c, err := w.store.Credential(domainName, name, w.opener); err != nil || c.IsEmpty() {
			t.Errorf("credential %s: %v", name, err)
		}
	}
	// A delegation that somebody switched on in a two-way domain stays.
	sync2 := func(r *Registration) { sync(r); r.Domain.UseCase, r.ChangeUseCase = store.UseCaseTwoWay, true }
	if _, _, err := w.register(sync2); err != nil {
		t.Fatal(err)
	}
	object, _ := w.atJumpCloud()
	if _, err := w.peers.JumpCloud.UpdateActiveDirectory(t.Context(), object.ID, jumpcloud.ActiveDirectoryUpdate{DelegationState: "ENABLED"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.register(sync2); err != nil {
		t.Fatal(err)
	}
	if object, _ := w.atJumpCloud(); object.DelegationState != "PENDING" {
		t.Errorf("delegation %s after the same use case was registered again", object.DelegationState)
	}
}

// TestRegisterSyncRights: each right that the sync account lacks is told with
// the command that grants it, nothing is written before, and the commands cure
// it.
func TestRegisterSyncRights(t *testing.T) {
	w := newWorld(t)
	sync := w.withSync(false)
	twoWay := func(r *Registration) { r.Domain.UseCase = store.UseCaseTwoWay }
	w.cloud.ForgetHistory()
	_, checks, err := w.register(sync, twoWay)
	if err == nil || !strings.Contains(err.Error(), "lacks 10 of 10 rights on "+w.ad.BaseDN()) || !strings.Contains(err.Error(), "Create user objects, Create group objects, Reset password of user objects") {
		t.Fatalf("got %v, want all ten rights by name", err)
	}
	if written := w.cloud.Writes(); len(written) > 0 {
		t.Errorf("written to JumpCloud before the rights were there: %v", written)
	}
	granted := 0
	for _, c := range checks {
		if !c.Failed {
			continue
		}
		line := regexp.MustCompile("`(dsacls .*?)`").FindStringSubmatch(c.Detail)
		if line == nil {
			t.Fatalf("no command in %q", c.Detail)
		}
		if err := w.ad.DSACLs(line[1]); err != nil {
			t.Errorf("the command that was told: %v", err)
		}
		granted++
	}
	if _, checks, err = w.register(sync, twoWay); err != nil || granted != 10 {
		t.Errorf("after %d commands: %v", granted, err)
	}
	if !slices.ContainsFunc(checks, func(c Check) bool { return strings.Contains(c.Detail, "has 10 of 10 rights") }) {
		t.Errorf("checks %+v", checks)
	}
}

// TestRegisterUndo: what fails in the middle of a change leaves JumpCloud and
// the store as they were.
func TestRegisterUndo(t *testing.T) {
	for _, tt := range []struct {
		name, from, to string
		fault          jcsim.Fault
		want           string
	}{
		{"no second agent", store.UseCaseAD, store.UseCaseTwoWay, jcsim.Fault{Method: "POST", PathPrefix: "/api/v2/activedirectories/", Kind: jcsim.Status, Code: 403, Times: 9}, "register the sync agent with JumpCloud"},
		{"no use case", store.UseCaseAD, store.UseCaseTwoWay, jcsim.Fault{Method: "PATCH", PathPrefix: "/api/v2/activedirectories/", Kind: jcsim.Status, Code: 400}, "set use case TWOWAYSYNC"},
		{"the agent stays", store.UseCaseTwoWay, store.UseCaseAD, jcsim.Fault{Method: "DELETE", PathPrefix: "/api/v2/activedirectories/", Kind: jcsim.Status, Code: 403}, "remove the sync agent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			sync := w.withSync(true)
			use := func(use string) func(*Registration) {
				return func(r *Registration) { r.Domain.UseCase, r.ChangeUseCase = use, true }
			}
			first, _, err := w.register(sync, use(tt.from))
			if err != nil {
				t.Fatal(err)
			}
			before, agents := w.atJumpCloud()
			w.cloud.Fail(tt.fault)
			if _, _, err := w.register(sync, use(tt.to)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			w.cloud.Heal()
			after, now := w.atJumpCloud()
			if after.UseCase != before.UseCase || after.DelegationState != before.DelegationState || !slices.Equal(now, agents) {
				t.Errorf("JumpCloud has %+v with %v, want %+v with %v", after, now, before, agents)
			}
			if d, err := w.store.Domain(domainName); err != nil || d.UseCase != tt.from || !slices.Equal(d.JumpCloud.AgentIDs, first.JumpCloud.AgentIDs) {
				t.Errorf("stored %+v, %v", d, err)
			}
			if _, _, err := w.register(sync, use(tt.to)); err != nil {
				t.Errorf("once more: %v", err)
			}
		})
	}
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
		{"an unknown use case", func(r *Registration) { r.Domain.UseCase = "both" }, nil, "want ad, two-way or jumpcloud"},
		{"two-way without a sync account", func(r *Registration) { r.Domain.UseCase = store.UseCaseTwoWay }, nil, "give --sync-account and --sync-password-file"},
		{"jumpcloud without a sync account", func(r *Registration) { r.Domain.UseCase = store.UseCaseJumpCloud }, nil, "give --sync-account and --sync-password-file"},
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
		got := advise(fmt.Errorf("read the root DSE: %w", tt.err), "import")
		if !errors.Is(got, tt.err) || !strings.Contains(got.Error(), tt.want) {
			t.Errorf("got %q, want it to say %q", got, tt.want)
		}
	}
	if other := errors.New("no advice"); advise(other, "import") != other {
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
