package admin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// equal compares what crossed the socket with what did not.
func equal(t *testing.T, what string, got, want any, err error) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if err != nil || !bytes.Equal(g, w) || reflect.TypeOf(got) != reflect.TypeOf(want) {
		t.Errorf("%s: got %s, %v, want %s", what, g, err, w)
	}
}

// TestRoundTrip: each operation gives through the socket what it gives
// without one.
func TestRoundTrip(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	none, err := w.client.Domains(ctx)
	if err != nil || len(none) != 0 {
		t.Errorf("before the first registration: got %v, %v, want none", none, err)
	}
	if _, err := w.client.User(ctx, "", "alice"); err == nil || !strings.Contains(err.Error(), "no domain is registered") {
		t.Errorf("before the first registration: got %v", err)
	}
	a, err := w.client.Register(ctx, w.request())
	if err != nil || len(a.Checks) == 0 || a.Domain.BaseDN != w.ad.BaseDN() {
		t.Fatalf("register: got %+v, %v", a, err)
	}
	seq := w.changePassword()

	domains, err := w.client.Domains(ctx)
	wantDomains, _ := w.local.Domains(ctx)
	equal(t, "Domains", domains, wantDomains, err)
	for _, name := range []string{"", domainName, strings.ToUpper(domainName)} {
		d, err := w.client.Domain(ctx, name)
		equal(t, "Domain "+name, d, wantDomains[0], err)
	}
	view, err := w.client.User(ctx, domainName, "alice")
	wantView, _ := w.local.User(ctx, domainName, "alice")
	equal(t, "User", view, wantView, err)
	if view.AD == nil || view.JumpCloud == nil || len(view.Changes) != 1 {
		t.Errorf("User: got %+v, want both sides and a change", view)
	}
	q := ChangeQuery{Domain: domainName, Status: []identity.Status{identity.StatusPending}, Limit: 5, Newest: true}
	changes, err := w.client.Changes(ctx, q)
	wantChanges, _ := w.local.Changes(ctx, q)
	equal(t, "Changes", changes, wantChanges, err)
	if len(changes) != 1 {
		t.Errorf("Changes: got %d, want 1", len(changes))
	}
	change, err := w.client.Change(ctx, seq)
	wantChange, _ := w.local.Change(ctx, seq)
	equal(t, "Change", change, wantChange, err)
	records, err := w.client.Records(ctx, 0, 100, 0)
	wantRecords, _ := w.local.Records(ctx, 0, 100, 0)
	equal(t, "Records", records, wantRecords, err)
	last, err := w.client.LastSeq(ctx)
	equal(t, "LastSeq", last, records[len(records)-1].Seq, err)

	wantLink := identity.Link{Domain: domainName, GUID: view.AD.GUID, JumpCloudID: view.JumpCloud.ID, Username: "alice", At: time.Now().UTC()}
	if err := w.local.Store.PutLink(ctx, wantLink); err != nil {
		t.Fatal(err)
	}
	link, err := w.client.Unlink(ctx, "", "alice")
	equal(t, "Unlink", link, wantLink, err)
	if view, err := w.client.User(ctx, "", "alice"); err != nil || view.Link != nil {
		t.Errorf("after Unlink: got link %+v, %v, want none", view.Link, err)
	}

	if err := w.local.Store.MarkDead(ctx, seq, "for the test"); err != nil {
		t.Fatal(err)
	}
	wantStatus := func(err error, want identity.Status) {
		t.Helper()
		e, eerr := w.local.Store.Entry(seq)
		if err != nil || eerr != nil || e.Status != want {
			t.Errorf("got %s, %v, %v, want %s", e.Status, err, eerr, want)
		}
	}
	wantStatus(w.client.Retry(ctx, seq), identity.StatusPending)
	wantStatus(w.client.Discard(ctx, seq, "no longer wanted"), identity.StatusDiscarded)
	if e, _ := w.client.Change(ctx, seq); e.Reason != "no longer wanted" {
		t.Errorf("reason %q", e.Reason)
	}
}

// TestErrors: an error is told in the same words, with what was done before
// it.
func TestErrors(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.register()
	seq := w.changePassword()
	both := func(what string, do func(Backend) error) {
		t.Helper()
		got, want := do(w.client), do(w.local)
		if got == nil || want == nil || got.Error() != want.Error() {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	both("another domain", func(b Backend) error { _, err := b.Domain(ctx, "other.example.test"); return err })
	both("nobody", func(b Backend) error { _, err := b.User(ctx, "", "nobody"); return err })
	both("nobody to unlink", func(b Backend) error { _, err := b.Unlink(ctx, "", "alice"); return err })
	both("no such change", func(b Backend) error { _, err := b.Change(ctx, 77); return err })
	if err := w.client.Discard(ctx, seq, "for the test"); err != nil {
		t.Fatal(err)
	}
	both("retry of what was discarded", func(b Backend) error { return b.Retry(ctx, seq) })
	both("discard of nothing", func(b Backend) error { return b.Discard(ctx, 77, "") })

	// The root container is the third check, and the first to fail.
	wrong := func() RegisterRequest {
		return w.request(func(r *RegisterRequest) { r.RootDN = new("OU=Nowhere," + w.ad.BaseDN()) })
	}
	got, err := w.client.Register(ctx, wrong())
	want, wantErr := w.local.Register(ctx, wrong())
	if err == nil || wantErr == nil || err.Error() != wantErr.Error() || !strings.Contains(err.Error(), "--root-dn") {
		t.Errorf("register: got %v, want %v", err, wantErr)
	}
	equal(t, "checks before the error", got.Checks, want.Checks, nil)
	if len(got.Checks) != 1 {
		t.Errorf("got %d checks before the error, want 1", len(got.Checks))
	}
}

// TestP4_NoSecretInAnswers: secrets cross the socket in one direction.
func TestP4_NoSecretInAnswers(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	key := string(w.cloud.APIKey().Expose())
	request := w.request()
	if _, err := w.client.Register(ctx, request); err != nil {
		t.Fatal(err)
	}
	if string(request.ImportPassword) == servicePassword || string(request.JumpCloudAPIKey) == key {
		t.Error("the client keeps the secrets it sent")
	}
	seq := w.changePassword()
	// Answers of all kinds, errors too.
	_, _ = w.client.Register(ctx, w.request(func(r *RegisterRequest) { r.RootDN = new("OU=Nowhere") }))
	_, _ = w.client.Register(ctx, w.request(func(r *RegisterRequest) { r.ImportPassword = []byte("Wrong.Secret-5") }))
	_, _ = w.client.Domains(ctx)
	_, _ = w.client.User(ctx, "", "alice")
	_, _ = w.client.Change(ctx, seq)
	_, _ = w.client.Records(ctx, 0, 100, 0)
	_, _ = w.client.Changes(ctx, ChangeQuery{})
	answered := w.log.Bytes()
	if !bytes.Contains(answered, []byte(w.cloud.OrgID())) {
		t.Fatal("the answers were not seen")
	}
	for _, s := range []string{servicePassword, userPassword, "Wrong.Secret-5", key} {
		for form, text := range map[string]string{"clear": s, "base64": base64.StdEncoding.EncodeToString([]byte(s)), "hex": hex.EncodeToString([]byte(s))} {
			if bytes.Contains(answered, []byte(text)) {
				t.Errorf("a secret was answered in %s", form)
			}
		}
	}
}

// TestRecordsWaits: a request for records is answered when there is one.
func TestRecordsWaits(t *testing.T) {
	w := newWorld(t)
	w.register()
	after, err := w.client.LastSeq(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		n   int
		err error
	}
	got := make(chan result, 1)
	go func() {
		records, err := w.client.Records(t.Context(), after, 100, time.Minute)
		got <- result{len(records), err}
	}()
	w.changePassword()
	if r := <-got; r.err != nil || r.n == 0 {
		t.Errorf("got %d records, %v, want the new ones", r.n, r.err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	after, _ = w.client.LastSeq(ctx)
	cancel()
	if _, err := w.client.Records(ctx, after, 100, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait: got %v", err)
	}
}

// TestRequests: what is not a request of this version's client is refused.
func TestRequests(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"an oversized body", "POST", pathRegister, `{"name":"` + strings.Repeat("n", maxBody) + `"}`, http.StatusRequestEntityTooLarge},
		{"an unknown field", "POST", pathUser, `{"nmae":"alice"}`, http.StatusBadRequest},
		{"no JSON", "POST", pathChange, `seq=1`, http.StatusBadRequest},
		{"an unknown operation", "POST", "/v1/everything", `{}`, http.StatusNotFound},
		{"a GET", "GET", pathDomains, ``, http.StatusMethodNotAllowed},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://dirgate"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := w.client.http.Do(req)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		body := readAll(t, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != tt.want || strings.Contains(body, "nnnn") {
			t.Errorf("%s: got %s %.80s, want status %d", tt.name, res.Status, body, tt.want)
		}
	}
	if _, err := call[nothing](t.Context(), w.client, "/v1/everything", nothing{}); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("an unknown operation: got %v, want a word about versions", err)
	}
}

func TestDial(t *testing.T) {
	dir := t.TempDir()
	absent := filepath.Join(dir, "absent.sock")
	if _, err := Dial(absent); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("no socket: got %v, want ErrNoDaemon", err)
	}
	stale := filepath.Join(dir, "stale.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	if _, err := os.Lstat(stale); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(stale); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("a socket that nobody serves: got %v, want ErrNoDaemon", err)
	}
	if _, err := Dial(dir + "/" + strings.Repeat("n", 200)); err == nil || errors.Is(err, ErrNoDaemon) {
		t.Errorf("a path that cannot be one: got %v, want an error that is shown", err)
	}
}
