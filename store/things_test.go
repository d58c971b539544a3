package store

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

func TestLinks(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	a := identity.Link{Domain: "Corp.Example", GUID: guid(1), JumpCloudID: "a", Username: "anna", At: start}
	ok(t, f.PutLink(ctx, a))
	a.Username = "anna.b"
	ok(t, f.PutLink(ctx, a))
	ok(t, f.PutLink(ctx, identity.Link{Domain: "corp.example", GUID: guid(2), JumpCloudID: "b", At: start}))
	for name, link := range map[string]identity.Link{
		"account linked to another user": {Domain: "corp.example", GUID: guid(1), JumpCloudID: "c"},
		"user linked to another account": {Domain: "corp.example", GUID: guid(3), JumpCloudID: "a"},
		"user linked in another domain":  {Domain: "other.example", GUID: guid(1), JumpCloudID: "a"},
	} {
		if err := f.PutLink(ctx, link); !errors.Is(err, ErrLinkConflict) {
			t.Errorf("%s: %v, want ErrLinkConflict", name, err)
		}
		seq := f.pend(t, 9, "pw")
		if err := f.MarkApplied(ctx, seq, &link); !errors.Is(err, ErrLinkConflict) || f.status(t, seq) != identity.StatusPending {
			t.Errorf("%s: mark applied: %v, and the change is %s", name, err, f.status(t, seq))
		}
	}
	f.reopen(t)
	a.Domain = "corp.example"
	for name, find := range map[string]func() (identity.Link, error){
		"by GUID": func() (identity.Link, error) { return f.LinkByGUID("CORP.example", guid(1)) },
		"by id":   func() (identity.Link, error) { return f.LinkByJumpCloudID("a") },
	} {
		if got, err := find(); err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, a)
		}
	}
	if _, err := f.LinkByGUID("corp.example", guid(7)); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown account: %v, want ErrNotFound", err)
	}
	if _, err := f.LinkByJumpCloudID("c"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown user: %v, want ErrNotFound", err)
	}
	if links, err := f.Links("corp.example"); err != nil || len(links) != 2 {
		t.Errorf("links: %v, %v, want 2", links, err)
	}
	if links, err := f.Links("corp"); err != nil || len(links) != 0 {
		t.Errorf("links of a domain with the beginning of that name: %v, %v", links, err)
	}
	for name, link := range map[string]identity.Link{
		"no GUID": {Domain: "corp.example", JumpCloudID: "c"}, "no id": {Domain: "corp.example", GUID: guid(4)},
		"no domain": {GUID: guid(4), JumpCloudID: "c"}, "NUL": {Domain: "corp.example\x00", GUID: guid(4), JumpCloudID: "c"},
	} {
		if err := f.PutLink(ctx, link); err == nil {
			t.Errorf("link with %s was stored", name)
		}
	}
}

func TestRemoveLink(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	ok(t, f.PutLink(ctx, identity.Link{Domain: "corp.example", GUID: guid(1), JumpCloudID: "a"}))
	ok(t, f.PutLink(ctx, identity.Link{Domain: "corp.example", GUID: guid(2), JumpCloudID: "b"}))
	ok(t, f.RemoveLink(ctx, "CORP.example", guid(1)))
	if err := f.RemoveLink(ctx, "corp.example", guid(1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v, want ErrNotFound", err)
	}
	if _, err := f.LinkByJumpCloudID("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("link by the id of the user: %v, want ErrNotFound", err)
	}
	ok(t, f.PutLink(ctx, identity.Link{Domain: "corp.example", GUID: guid(3), JumpCloudID: "a"})) // both are free again
	if links, err := f.Links("corp.example"); err != nil || len(links) != 2 {
		t.Errorf("links: %v, %v, want those of accounts 2 and 3", links, err)
	}
}

func TestCursor(t *testing.T) {
	f := newStore(t)
	if _, err := f.Cursor("dc1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("cursor that was never set: %v, want ErrNotFound", err)
	}
	ok(t, f.SetCursor(t.Context(), "dc1", []byte{1, 2}))
	ok(t, f.SetCursor(t.Context(), "dc1", []byte{3}))
	f.reopen(t)
	if got, err := f.Cursor("dc1"); err != nil || !bytes.Equal(got, []byte{3}) {
		t.Errorf("cursor: %v, %v", got, err)
	}
	if err := f.SetCursor(t.Context(), "dc1", make([]byte, maxCursor+1)); err == nil {
		t.Error("a cursor over the limit was stored")
	}
}

func TestDomains(t *testing.T) {
	f := newStore(t)
	ctx := t.Context()
	d := Domain{
		Name: "Corp.Example", NetBIOS: "CORP", BaseDN: "DC=corp,DC=example", DCs: []string{"ldaps://dc1.corp.example"},
		CAPEM: []byte("-----BEGIN"), UseCase: UseCaseAD, PasswordSync: PasswordSyncCapture, ScopeGroup: "CN=g", ScopeGroupGUID: guid(5),
		JumpCloud: JumpCloudRegistration{OrgID: "o", ADID: "ad", AgentIDs: []string{"g"}}, CreatedAt: start, UpdatedAt: start,
	}
	ok(t, f.PutDomain(ctx, d, map[string]secret.Bytes{
		CredImportPassword: secret.New([]byte("import pw")), CredAPIKey: secret.New([]byte("key 1")),
	}))
	ok(t, f.PutDomain(ctx, d, map[string]secret.Bytes{CredAPIKey: secret.New([]byte("key 2"))}))
	ok(t, f.PutDomain(ctx, Domain{Name: "corp.example.org"}, map[string]secret.Bytes{CredAPIKey: secret.New([]byte("other"))}))
	f.reopen(t)
	d.Name = "corp.example"
	if got, err := f.Domain("CORP.EXAMPLE"); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("domain: %+v, %v, want %+v", got, err, d)
	}
	if all, err := f.Domains(); err != nil || len(all) != 2 {
		t.Errorf("domains: %v, %v", all, err)
	}
	for name, want := range map[string]string{CredImportPassword: "import pw", CredAPIKey: "key 2"} {
		if got, err := f.Credential("corp.Example", name, f.opener); err != nil || string(got.Expose()) != want {
			t.Errorf("credential %s: %q, %v, want %q", name, got.Expose(), err, want)
		}
	}
	if _, err := f.Credential("corp.example", CredSyncPassword, f.opener); !errors.Is(err, ErrNotFound) {
		t.Errorf("credential that was never stored: %v, want ErrNotFound", err)
	}
	ok(t, f.RemoveDomain(ctx, "corp.example"))
	if _, err := f.Domain("corp.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed domain: %v, want ErrNotFound", err)
	}
	if _, err := f.Credential("corp.example", CredAPIKey, f.opener); !errors.Is(err, ErrNotFound) {
		t.Errorf("credential of a removed domain: %v, want ErrNotFound", err)
	}
	if got, err := f.Credential("corp.example.org", CredAPIKey, f.opener); err != nil || string(got.Expose()) != "other" {
		t.Errorf("credential of the other domain: %v", err)
	}
	if err := f.RemoveDomain(ctx, "corp.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("remove again: %v, want ErrNotFound", err)
	}
	for name, cred := range map[string]map[string]secret.Bytes{"": nil, "x.example": {CredAPIKey: {}}} {
		if err := f.PutDomain(ctx, Domain{Name: name}, cred); err == nil {
			t.Errorf("domain %q with credentials %v was stored", name, cred)
		}
	}
}

func TestList(t *testing.T) {
	f := newStore(t)
	var seqs []identity.Seq
	for i := range byte(6) {
		seqs = append(seqs, f.intend(t, i%2+1, "pw"))
	}
	ok(t, f.Settle(t.Context(), seqs[0], identity.OutcomeRefused, "no"))
	one := guid(1)
	for _, row := range []struct {
		name string
		o    ListOptions
		want []identity.Seq
	}{
		{"all", ListOptions{}, seqs},
		{"newest two", ListOptions{Newest: true, Limit: 2}, []identity.Seq{seqs[5], seqs[4]}},
		{"older than", ListOptions{Newest: true, After: seqs[2]}, []identity.Seq{seqs[1], seqs[0]}},
		{"newer than", ListOptions{After: seqs[3]}, []identity.Seq{seqs[4], seqs[5]}},
		{"refused", ListOptions{Status: []identity.Status{identity.StatusRefused, identity.StatusDead}}, seqs[:1]},
		{"of an account", ListOptions{Account: &one}, []identity.Seq{seqs[0], seqs[2], seqs[4]}},
		{"of an account, newest, older than", ListOptions{Account: &one, Newest: true, After: seqs[4]}, []identity.Seq{seqs[2], seqs[0]}},
		{"of another domain", ListOptions{Account: &one, Domain: "other.example"}, nil},
		{"of the domain", ListOptions{Domain: "CORP.EXAMPLE", Limit: 1}, seqs[:1]},
	} {
		entries, err := f.List(row.o)
		ok(t, err)
		var got []identity.Seq
		for _, e := range entries {
			got = append(got, e.Seq)
		}
		if !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
	unsettled, err := f.Unsettled(3, 0)
	if err != nil || len(unsettled) != 3 || unsettled[0].Seq != seqs[1] {
		t.Errorf("unsettled: %v, %v", unsettled, err)
	}
	if rest, err := f.Unsettled(3, seqs[3]); err != nil || len(rest) != 2 || rest[0].Seq != seqs[4] {
		t.Errorf("unsettled after %d: %v, %v, want %v", seqs[3], rest, err, seqs[4:])
	}
}

func TestAccountWithoutGUID(t *testing.T) {
	f := newStore(t)
	c := change(1)
	c.Account.GUID = identity.GUID{}
	var seqs []identity.Seq
	for _, dn := range []string{"CN=a,DC=corp", " cn = A , dc=corp ", `CN=a\,DC=corp`, `CN=a\ ,DC=corp`, "CN=b,DC=corp"} {
		c.Account.DN = dn
		seq, err := f.AppendIntent(t.Context(), c, secret.New([]byte(dn)))
		ok(t, err)
		ok(t, f.Settle(t.Context(), seq, identity.OutcomeAccepted, ""))
		seqs = append(seqs, seq)
	}
	for i, want := range []identity.Status{identity.StatusSuperseded, identity.StatusPending, identity.StatusPending, identity.StatusPending, identity.StatusPending} {
		if got := f.status(t, seqs[i]); got != want {
			t.Errorf("change %d is %s, want %s", seqs[i], got, want)
		}
	}
}

func TestAppendIntentRefuses(t *testing.T) {
	f := newStore(t)
	for name, spoil := range map[string]func(*identity.Change){
		"direction": func(c *identity.Change) { c.Direction = "up" },
		"kind":      func(c *identity.Change) { c.Kind = "" },
		"domain":    func(c *identity.Change) { c.Account.Domain = "" },
		"account":   func(c *identity.Change) { c.Account.GUID, c.Account.DN = identity.GUID{}, "" },
		"long DN":   func(c *identity.Change) { c.Account.DN = strings.Repeat("x", maxName+1) },
	} {
		c := change(1)
		spoil(&c)
		if _, err := f.AppendIntent(t.Context(), c, secret.New([]byte("pw"))); err == nil {
			t.Errorf("%s: the intent was recorded", name)
		}
	}
	if _, err := f.AppendIntent(t.Context(), change(1), secret.Take(make([]byte, secret.MaxSize+1))); err == nil {
		t.Error("a password over the limit was recorded")
	}
	if stats, _ := f.Stats(); stats.LastSeq != 0 {
		t.Errorf("last number %d, want none", stats.LastSeq)
	}
}

func TestClip(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"short", "short"}, {"0123456789ab", "0123456..."}, {"012345\u00e9\u00e9\u00e9", "012345..."}, {"a\xffb", "a\uFFFDb"},
	} {
		if got := clip(row.in, 10); got != row.want {
			t.Errorf("clip %q: got %q, want %q", row.in, got, row.want)
		}
	}
}
