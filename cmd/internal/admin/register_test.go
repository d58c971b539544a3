package admin

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
)

func TestMergeNew(t *testing.T) {
	whole := func() RegisterRequest {
		return RegisterRequest{Name: domainName, DCs: []string{"ldaps://dc1"}, ImportAccount: new("svc"), ImportPassword: []byte("p"), JumpCloudAPIKey: []byte("k")}
	}
	r := whole()
	d, warnings, err := r.Merge(nil)
	if err != nil || len(warnings) != 0 {
		t.Fatalf("got %v, %q", err, warnings)
	}
	if d.UseCase != "ad" || d.PasswordSync != "capture" || d.JumpCloud.URL != DefaultJumpCloudURL || d.ScopeGroup != "" {
		t.Errorf("defaults: got %+v", d)
	}
	for _, tt := range []struct {
		change func(*RegisterRequest)
		want   string
	}{
		{func(r *RegisterRequest) { r.DCs = nil }, "--dc or --discover is required"},
		{func(r *RegisterRequest) { r.DCs, r.Discover = nil, new(false) }, "--dc or --discover is required"},
		{func(r *RegisterRequest) { r.Site = new("Berlin") }, "--site Berlin is for --discover"},
		{func(r *RegisterRequest) { r.ImportAccount = nil }, "--import-account is required"},
		{func(r *RegisterRequest) { r.ImportPassword = nil }, "--import-password-file is required"},
		{func(r *RegisterRequest) { r.JumpCloudAPIKey = nil }, "--api-key-file is required"},
		{func(r *RegisterRequest) { r.DCs, r.JumpCloudAPIKey = nil, nil }, "--dc or --discover, --api-key-file are required"},
		{func(r *RegisterRequest) { r.ImportAccount = new("") }, "--import-account is empty"},
		{func(r *RegisterRequest) { r.UseCase = new("both") }, `--use-case "both": want ad, two-way or jumpcloud`},
		{func(r *RegisterRequest) { r.UseCase = new("jumpcloud") }, "--use-case jumpcloud writes to Active Directory: --sync-account and --sync-password-file are required"},
		{func(r *RegisterRequest) { r.UseCase = new("two-way") }, "--use-case two-way writes to Active Directory: --sync-account and --sync-password-file are required"},
		{func(r *RegisterRequest) { r.UseCase, r.SyncAccount = new("two-way"), new("sync") }, "--sync-password-file is required"},
		{func(r *RegisterRequest) { r.SyncPassword = []byte("p") }, "--sync-account is required"},
		{func(r *RegisterRequest) { r.SyncAccount = new("") }, "--sync-account is empty"},
		{func(r *RegisterRequest) { r.PasswordSync = new("") }, `--password-sync "": want capture or validate-only`},
	} {
		r := whole()
		tt.change(&r)
		if _, _, err := r.Merge(nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestMergeStored(t *testing.T) {
	stored := store.Domain{
		Name: domainName, NetBIOS: "CORP", BaseDN: "DC=corp", RootDN: "OU=People,DC=corp", ScopeGroup: "CN=JumpCloud,DC=corp",
		DCs: []string{"ldaps://dc1", "ldaps://dc2"}, CAPEM: []byte("ca"), UseCase: "two-way", PasswordSync: "validate-only", ImportAccount: "svc", SyncAccount: "sync",
		JumpCloud: store.JumpCloudRegistration{URL: "https://jc", OrgID: "org", ADID: "id", AgentIDs: []string{"a"}, CAPEM: []byte("jca")},
	}
	tests := []struct {
		name     string
		request  RegisterRequest
		change   func(*store.Domain)
		warnings []string
		err      string
	}{
		{"nothing given", RegisterRequest{}, func(*store.Domain) {}, nil, ""},
		{"a new key alone", RegisterRequest{JumpCloudAPIKey: []byte("k")}, func(*store.Domain) {}, nil, ""},
		{"other controllers", RegisterRequest{DCs: []string{"ldaps://dc3"}}, func(d *store.Domain) { d.DCs = []string{"ldaps://dc3"} }, []string{"another controller, ldaps://dc3"}, ""},
		{"other controllers and one password", RegisterRequest{DCs: []string{"ldaps://dc3"}, ImportPassword: []byte("p")}, func(d *store.Domain) { d.DCs = []string{"ldaps://dc3"} }, []string{"the stored sync password will be sent to another controller, ldaps://dc3 (or give --sync-password-file)"}, ""},
		{"other controllers and the other password", RegisterRequest{DCs: []string{"ldaps://dc3"}, SyncPassword: []byte("p")}, func(d *store.Domain) { d.DCs = []string{"ldaps://dc3"} }, []string{"the stored import password will be sent to another controller, ldaps://dc3 (or give --import-password-file)"}, ""},
		{"other controllers and the passwords", RegisterRequest{DCs: []string{"ldaps://dc3"}, ImportPassword: []byte("p"), SyncPassword: []byte("p")}, func(d *store.Domain) { d.DCs = []string{"ldaps://dc3"} }, nil, ""},
		{"another sync account without its password", RegisterRequest{SyncAccount: new("sync2")}, nil, nil, "--sync-password-file is required"},
		{"another sync account", RegisterRequest{SyncAccount: new("sync2"), SyncPassword: []byte("p")}, func(d *store.Domain) { d.SyncAccount = "sync2" }, nil, ""},
		{"discovery", RegisterRequest{Discover: new(true), Site: new("Berlin")}, func(d *store.Domain) { d.Discover, d.Site = true, "Berlin" }, []string{"that DNS names for"}, ""},
		{"no discovery", RegisterRequest{Discover: new(false)}, func(*store.Domain) {}, nil, ""},
		{"fewer controllers", RegisterRequest{DCs: []string{"ldaps://DC2:636"}}, func(d *store.Domain) { d.DCs = []string{"ldaps://DC2:636"} }, nil, ""},
		{"another root container", RegisterRequest{RootDN: new("OU=Staff,DC=corp")}, func(d *store.Domain) { d.RootDN = "OU=Staff,DC=corp" }, []string{"is not below OU=People"}, ""},
		{"a container whose name ends alike", RegisterRequest{RootDN: new(`OU=x\,OU=People,DC=corp`)}, func(d *store.Domain) { d.RootDN = `OU=x\,OU=People,DC=corp` }, []string{"is not below OU=People"}, ""},
		{"a root container below", RegisterRequest{RootDN: new("ou=A,ou=people,DC=corp")}, func(d *store.Domain) { d.RootDN = "ou=A,ou=people,DC=corp" }, nil, ""},
		{"another scope group", RegisterRequest{ScopeGroup: new("CN=Other")}, func(d *store.Domain) { d.ScopeGroup = "CN=Other" }, []string{"to CN=Other"}, ""},
		{"no scope group", RegisterRequest{ScopeGroup: new("")}, func(d *store.Domain) { d.ScopeGroup = "" }, []string{"everyone in the root container"}, ""},
		{"no root container", RegisterRequest{RootDN: new("")}, func(d *store.Domain) { d.RootDN = "" }, []string{"users of the whole domain"}, ""},
		{"the same use case", RegisterRequest{UseCase: new("two-way")}, func(*store.Domain) {}, nil, ""},
		{"another use case", RegisterRequest{UseCase: new("ad")}, func(d *store.Domain) { d.UseCase = "ad" }, []string{"from two-way to ad"}, ""},
		{"the system's CAs", RegisterRequest{CAPEM: new("")}, func(d *store.Domain) { d.CAPEM = []byte{} }, []string{"other CAs"}, ""},
		{"capture again", RegisterRequest{PasswordSync: new("capture")}, func(d *store.Domain) { d.PasswordSync = "capture" }, []string{"captured and replicated"}, ""},
		{"another account without its password", RegisterRequest{ImportAccount: new("svc2")}, nil, nil, "--import-password-file is required"},
		{"another account", RegisterRequest{ImportAccount: new("svc2"), ImportPassword: []byte("p")}, func(d *store.Domain) { d.ImportAccount = "svc2" }, nil, ""},
		{"another service without its key", RegisterRequest{JumpCloudURL: new("https://other")}, nil, nil, "--api-key-file is required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.request.Name = domainName
			d, warnings, err := tt.request.Merge(&stored)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			want := stored
			tt.change(&want)
			if err != nil || !same(d, want) {
				t.Errorf("got %+v, %v, want %+v", d, err, want)
			}
			if len(warnings) != len(tt.warnings) {
				t.Fatalf("got warnings %q, want %q", warnings, tt.warnings)
			}
			for i, w := range warnings {
				if !strings.Contains(w, tt.warnings[i]) {
					t.Errorf("got warning %q, want %q", w, tt.warnings[i])
				}
			}
		})
	}
}

func same(a, b store.Domain) bool {
	return a.RootDN == b.RootDN && a.ScopeGroup == b.ScopeGroup && slices.Equal(a.DCs, b.DCs) && bytes.Equal(a.CAPEM, b.CAPEM) &&
		a.UseCase == b.UseCase && a.PasswordSync == b.PasswordSync && a.ImportAccount == b.ImportAccount && a.SyncAccount == b.SyncAccount && a.BaseDN == b.BaseDN &&
		a.JumpCloud.URL == b.JumpCloud.URL && a.JumpCloud.OrgID == b.JumpCloud.OrgID && a.JumpCloud.ADID == b.JumpCloud.ADID &&
		slices.Equal(a.JumpCloud.AgentIDs, b.JumpCloud.AgentIDs) && bytes.Equal(a.JumpCloud.CAPEM, b.JumpCloud.CAPEM) &&
		a.Actions == b.Actions && a.Mapping == b.Mapping
}

// TestRegisterAgain: what is not given stays, in the store and on both sides;
// what concerns more people needs a confirmation, whoever asks.
// TestRegisterServiceAccount: a domain needs no API key where JumpCloud is
// asked as a service account, and none is stored.
func TestRegisterServiceAccount(t *testing.T) {
	w := newWorld(t)
	withoutKey := func() RegisterRequest {
		r := w.request()
		r.JumpCloudAPIKey = nil
		return r
	}
	if _, err := w.client.Register(t.Context(), withoutKey()); err == nil || !strings.Contains(err.Error(), "--api-key-file is required") {
		t.Fatalf("without a service account: got %v", err)
	}
	w.local.ServiceAccount = true
	w.identify = func(c *jumpcloud.Config) {
		c.APIKey, c.ClientID, c.ClientSecret, c.TokenURL = secret.Bytes{}, w.cloud.ClientID(), w.cloud.ClientSecret(), w.cloud.TokenURL()
	}
	for range 2 {
		if _, err := w.client.Register(t.Context(), withoutKey()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.local.Store.Credential(domainName, store.CredAPIKey, w.local.Opener); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("API key: got %v, want none stored", err)
	}
	if n := w.cloud.Counts()["POST /oauth2/token"]; n != 2 {
		t.Errorf("%d tokens were asked for, want one by each client", n)
	}
}

func TestRegisterAgain(t *testing.T) {
	w := newWorld(t)
	first := w.register()
	scope := "CN=" + adsim.ScopeGroup + ",OU=Groups," + w.ad.BaseDN()
	if first.ScopeGroup != scope {
		t.Fatalf("scope group %q, want %q", first.ScopeGroup, scope)
	}
	again := func(r RegisterRequest) (store.Domain, error) {
		t.Helper()
		r.Name = domainName
		_, err := w.client.Register(t.Context(), r)
		d, derr := w.local.Store.Domain(domainName)
		if derr != nil {
			t.Fatal(derr)
		}
		return d, err
	}
	d, err := again(RegisterRequest{})
	if err != nil || !same(d, first) {
		t.Errorf("nothing given: got %+v, %v, want %+v", d, err, first)
	}
	account := w.addSync()
	for _, r := range []RegisterRequest{{ScopeGroup: new("")}, {UseCase: new("two-way"), SyncAccount: &account, SyncPassword: []byte(syncPassword)}} {
		d, err = again(r)
		if err == nil || !strings.Contains(err.Error(), "--yes") || !same(d, first) {
			t.Errorf("not confirmed: got %+v, %v, want nothing changed and advice to use --yes", d, err)
		}
	}
	d, err = again(RegisterRequest{JumpCloudAPIKey: []byte("not-the-key")})
	if err == nil || !strings.Contains(err.Error(), "--api-key-file") || !same(d, first) {
		t.Errorf("a wrong key: got %+v, %v, want a refusal and nothing changed", d, err)
	}
	if _, err = again(RegisterRequest{}); err != nil {
		t.Errorf("after a wrong key the stored one is used: got %v", err)
	}
	d, err = again(RegisterRequest{ScopeGroup: new(""), Confirmed: true})
	if err != nil || d.ScopeGroup != "" {
		t.Errorf("confirmed: got %q, %v, want no scope group", d.ScopeGroup, err)
	}
	d, err = again(RegisterRequest{UseCase: new("two-way"), SyncAccount: &account, SyncPassword: []byte("Wrong.Pass1"), Confirmed: true})
	if err == nil || !strings.Contains(err.Error(), "check --sync-account and --sync-password-file") || d.UseCase != "ad" || d.SyncAccount != "" {
		t.Errorf("a wrong sync password: got %q, %v", d.UseCase, err)
	}
	d, err = again(RegisterRequest{UseCase: new("two-way"), SyncAccount: &account, SyncPassword: []byte(syncPassword), Confirmed: true})
	if err != nil || d.UseCase != "two-way" || d.SyncAccount != account {
		t.Errorf("confirmed: got %q, %v, want two-way", d.UseCase, err)
	}
	if want := []string{domainName, domainName, domainName, domainName, domainName}; !slices.Equal(w.changed, want) {
		t.Errorf("told of changes %q, want %q", w.changed, want)
	}
}
