package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/rogpeppe/go-internal/testscript"
)

// seed CONFIG [imported|synced] registers corp.example.test in the store of an
// installation, as if both sides had been reached, and with what an import
// leaves there, and a sync that a guard stopped.
func seed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: seed CONFIG [imported|synced]")
	}
	cfg, err := config.Load(ts.MkAbs(args[0]))
	ts.Check(err)
	opened, err := openStore(cfg, slog.New(slog.DiscardHandler))
	ts.Check(err)
	defer func() { ts.Check(opened.close()) }()
	ts.Check(opened.store.PutDomain(context.Background(), store.Domain{Name: "corp.example.test", BaseDN: "DC=corp,DC=example,DC=test",
		DCs: []string{"ldaps://dc1.corp.example.test"}, UseCase: store.UseCaseAD, PasswordSync: store.PasswordSyncCapture,
		ScopeGroup: "CN=Scope,DC=corp,DC=example,DC=test", ScopeGroupGUID: identity.GUID{100},
		JumpCloud: store.JumpCloudRegistration{URL: "https://jumpcloud.example.test", ADID: "5f0000000000000000000001", AgentIDs: []string{"5f0000000000000000000002"}}}, nil))
	if len(args) > 1 {
		ts.Check(seedImport(context.Background(), opened.store))
	}
	if len(args) > 1 && args[1] == "synced" {
		held := identity.Change{Kind: identity.UserChange, CloudID: "5f00000000000000000000a7"}
		ts.Check(opened.store.AppendSync(context.Background(), "corp.example.test", store.SyncBatch{
			Held: []store.HeldChange{{Change: held, Class: "ad_disables", Reason: "over a limit"}}}))
	}
}

// seedImport is an import of a scope group and one within it, which has the
// first as a member; of their three people one is linked, one waits and one
// has no last name.
func seedImport(ctx context.Context, st *store.Store) error {
	const base = ",DC=corp,DC=example,DC=test"
	user := func(n byte, name, last string) identity.User {
		return identity.User{Side: identity.AD, GUID: identity.GUID{n}, DN: "CN=" + name + base, Username: name, Mail: name + "@corp.example.test",
			First: name, Last: last, InRoot: true}
	}
	group := func(n byte, name string, members ...identity.GUID) identity.Group {
		return identity.Group{Side: identity.AD, GUID: identity.GUID{n}, DN: "CN=" + name + base, Name: name, Security: true, InRoot: true, Members: members}
	}
	now := time.Now()
	return errors.Join(
		st.AppendImport(ctx, "corp.example.test", store.ImportBatch{
			Users: []identity.User{user(1, "alice", "Liddell"), user(2, "bob", "Stone"), user(3, "carol", ""), user(4, "outsider", "Moor")},
			Groups: []identity.Group{group(100, "Scope", identity.GUID{1}, identity.GUID{101}), group(101, "Inner", identity.GUID{2}, identity.GUID{3}, identity.GUID{100}),
				group(102, "Elsewhere", identity.GUID{4})},
			CursorName: "import/corp.example.test", Cursor: []byte("{}"),
			Held: []store.HeldChange{{Change: identity.Change{Kind: identity.UserChange, Account: identity.Account{GUID: identity.GUID{2}, SAM: "bob"}},
				Class: "removals", Reason: "over a limit"}},
			Verdicts: []store.Verdict{
				{Direction: identity.Import, GUID: identity.GUID{2}, Name: "bob", Since: now, Actions: []string{"delete user (left the scope)"}},
				{Direction: identity.Import, GUID: identity.GUID{3}, Name: "carol", Since: now, Skip: "JumpCloud needs a first and a last name"},
				{Direction: identity.Import, GUID: identity.GUID{1}, Name: "alice", Since: now, Won: "lastname: AD's \"Liddell\" over JumpCloud's \"Hargreaves\"", WonAt: now},
			},
		}),
		st.PutLink(ctx, identity.Link{Domain: "corp.example.test", GUID: identity.GUID{1}, JumpCloudID: "5f00000000000000000000a1", Username: "alice.l", At: now,
			How: "taken over by the import", PasswordAuthority: identity.JumpCloud}),
		st.PutLink(ctx, identity.Link{Domain: "corp.example.test", GUID: identity.GUID{9}, JumpCloudID: "5f00000000000000000000a9", Username: "gone", At: now}),
		st.PutGroupLink(ctx, identity.GroupLink{Domain: "corp.example.test", GUID: identity.GUID{100}, GroupID: "5f00000000000000000000b1", Name: "Scope", At: now}),
	)
}
