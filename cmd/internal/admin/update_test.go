package admin

import (
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// TestUpdate: settings are checked, confirmed and stored, and everything else
// stays.
func TestUpdate(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	first, account := w.register(), w.addSync()
	stored := func() store.Domain {
		t.Helper()
		d, err := w.local.Store.Domain(domainName)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, tt := range []struct {
		req  UpdateRequest
		want string
	}{
		{UpdateRequest{Disable: new("delete"), Confirmed: true}, `user_disable_action "delete": want suspend, remove, unbind or ignore`},
		{UpdateRequest{UserField: new("cn"), Confirmed: true}, `user_field_mapping "cn": want sAMAccountName or`},
		{UpdateRequest{UseCase: new("both"), Confirmed: true}, `--use-case "both"`},
		{UpdateRequest{UseCase: new("jumpcloud"), Confirmed: true}, "--sync-account and --sync-password-file are required"},
		{UpdateRequest{PasswordSync: new("never"), Confirmed: true}, `--password-sync "never"`},
		{UpdateRequest{Disable: new("remove")}, "whose AD account is disabled are deleted; repeat with --yes"},
		{UpdateRequest{UseCase: new("two-way"), SyncAccount: &account, SyncPassword: []byte(syncPassword)}, "repeat with --yes"},
		{UpdateRequest{Name: "other.example.test", Disable: new("ignore"), Confirmed: true}, "is not registered"},
	} {
		if _, err := w.client.Update(ctx, tt.req); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.req, err, tt.want)
		}
		if got := stored(); !same(got, first) {
			t.Errorf("%+v: something was stored: %+v", tt.req, got)
		}
	}

	writes := len(w.cloud.Writes())
	a, err := w.client.Update(ctx, UpdateRequest{Disable: new("ignore"), Expire: new("suspend"), Dissociation: new("unbind"), Takeover: new("deactivate"),
		UserField: new("userPrincipalName"), Additional: new(false), PasswordSync: new("validate-only"), Confirmed: true})
	want := first
	want.PasswordSync = store.PasswordSyncValidateOnly
	want.Actions = identity.Actions{Takeover: identity.ActionDeactivate, Dissociation: identity.ActionUnbind, Disable: identity.ActionIgnore, Expire: identity.ActionSuspend}
	want.Mapping = identity.Mapping{UsernameFrom: identity.FromUPN, BasicOnly: true}
	if err != nil || !same(a.Domain, want) || !same(stored(), want) || len(w.cloud.Writes()) != writes {
		t.Errorf("got %+v, %v, want %+v, and nothing written to JumpCloud", stored(), err, want)
	}
	if n := len(w.changed); n != 2 {
		t.Errorf("told of %d changes, want 2: the registration and the update", n)
	}
	// Registered again, the settings stay.
	if _, err := w.client.Register(ctx, RegisterRequest{Name: domainName}); err != nil || !same(stored(), want) {
		t.Errorf("registered again: got %+v, %v, want %+v", stored(), err, want)
	}

	if _, err = w.client.Update(ctx, UpdateRequest{UseCase: new("two-way"), SyncAccount: &account, SyncPassword: []byte(syncPassword), Disable: new(""), Confirmed: true}); err != nil {
		t.Fatal(err)
	}
	want.UseCase, want.Actions.Disable, want.SyncAccount = store.UseCaseTwoWay, "", account
	want.JumpCloud.AgentIDs = stored().JumpCloud.AgentIDs // one more
	if !same(stored(), want) {
		t.Errorf("another use case: got %+v, want %+v", stored(), want)
	}
	peers, err := w.peers(domainName)
	if err != nil {
		t.Fatal(err)
	}
	all, err := peers.JumpCloud.ActiveDirectories(ctx)
	if err != nil || len(all) != 1 || all[0].UseCase != "TWOWAYSYNC" {
		t.Errorf("at JumpCloud: %+v, %v, want TWOWAYSYNC", all, err)
	}
}

// TestUpdateWarnings: what concerns users is asked for, and only that.
func TestUpdateWarnings(t *testing.T) {
	stored := store.Domain{Name: domainName, DCs: []string{"ldaps://dc1"}, UseCase: store.UseCaseAD, PasswordSync: store.PasswordSyncValidateOnly,
		Actions: identity.Actions{Takeover: identity.ActionDeactivate}, Mapping: identity.Mapping{BasicOnly: true}}
	for _, tt := range []struct {
		name string
		req  UpdateRequest
		want string // empty: no warning
	}{
		{"the default by name", UpdateRequest{Disable: new("suspend"), Expire: new("expire"), Dissociation: new("remove"), UserField: new("sAMAccountName")}, ""},
		{"a milder takeover", UpdateRequest{Takeover: new("retain")}, ""},
		{"what it is", UpdateRequest{UseCase: new(""), PasswordSync: new("validate-only"), Additional: new(false)}, ""},
		{"access after disabling", UpdateRequest{Disable: new("ignore")}, "with user_disable_action ignore, JumpCloud users whose AD account is disabled can sign in"},
		{"unbind", UpdateRequest{Dissociation: new("unbind")}, "leaves the scope stay"},
		{"suspend", UpdateRequest{Expire: new("suspend")}, "has expired are suspended"},
		{"other usernames", UpdateRequest{UserField: new("userPrincipalName")}, "usernames of all imported users become those of userPrincipalName"},
		{"more attributes", UpdateRequest{Additional: new(true)}, "additional attributes of all imported users are overwritten"},
		{"capture, the default", UpdateRequest{PasswordSync: new("")}, "are captured and replicated"},
	} {
		_, warnings, err := tt.req.Merge(stored)
		got := strings.Join(warnings, "|")
		if err != nil || tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}
