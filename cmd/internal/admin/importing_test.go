package admin

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/go-ldap/ldap/v3"
)

// reconciler is what the daemon gives a Local.
func (w *world) reconciler(d store.Domain) (*reconcile.Reconciler, func(), error) {
	peers, err := w.peers(d.Name)
	if err != nil {
		return nil, nil, err
	}
	password, err := w.local.Store.Credential(d.Name, store.CredImportPassword, w.local.Opener)
	if err != nil {
		return nil, nil, err
	}
	reader, err := ad.NewReader(ad.ReaderConfig{Config: ad.Config{DCs: dialer{w.ad.Addr(), w.ca.Client("127.0.0.1")},
		Account: d.ImportAccount, Password: password, ScopeGroup: d.ScopeGroup}})
	if err != nil {
		return nil, nil, err
	}
	conf := reconcile.Config{Store: w.local.Store, Domain: d, Reader: reader, AD: peers.AD, JumpCloud: peers.JumpCloud,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now}
	end := reader.Close
	if identity.UseCase(d.UseCase).Syncs() {
		writer, err := w.writer(d, secret.New([]byte(syncPassword)))
		if err != nil {
			return nil, nil, err
		}
		conf.Writer, end = writer, func() { reader.Close(); writer.Close() }
	}
	im, err := reconcile.New(conf)
	return im, end, err
}

// TestImport: plan, run, guard and approve, through the socket.
func TestImport(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.register()
	if _, err := w.client.PlanImport(ctx, ""); err == nil || !strings.Contains(err.Error(), errNoImport.Error()) {
		t.Errorf("without a reconciler: %v", err)
	}
	w.local.Reconciler = w.reconciler
	w.cloud.ForgetHistory()

	planned, err := w.client.PlanImport(ctx, "")
	if err != nil || len(w.cloud.Writes()) > 0 {
		t.Fatalf("plan: %v, and it wrote %v", err, w.cloud.Writes())
	}
	first := func(name string) plan.Kind {
		t.Helper()
		i := slices.IndexFunc(planned, func(p Planned) bool { return p.Name == name })
		if i < 0 || len(planned[i].Actions) == 0 {
			t.Fatalf("nothing is planned for %q: %+v", name, planned)
		}
		return planned[i].Actions[0].Kind
	}
	if a, b := first("alice"), first("bob"); a != plan.Link || b != plan.CreateUser {
		t.Errorf("planned: %s for alice and %s for bob", a, b)
	}
	if i := slices.IndexFunc(planned, func(p Planned) bool { return p.Name == "carol" }); i < 0 || !strings.Contains(planned[i].Skip, "disabled") {
		t.Errorf("of carol, who is disabled: %+v", planned)
	}
	run, err := w.client.RunImport(ctx, domainName, false)
	if want := (ImportRun{Recorded: 6, Applied: 6}); err != nil || run != want { // five people and the scope group
		t.Errorf("first run: %+v, %v; want %+v", run, err, want)
	}
	w.cloud.ForgetHistory()
	run, err = w.client.RunImport(ctx, "", true)
	if err != nil || run != (ImportRun{}) || len(w.cloud.Writes()) > 0 {
		t.Errorf("second run: %+v, %v, and it wrote %v", run, err, w.cloud.Writes())
	}

	w.empty(adsim.ScopeGroup)
	run, err = w.client.RunImport(ctx, "", false)
	if want := (ImportRun{Recorded: 5, Held: 5}); err != nil || run != want {
		t.Errorf("with the scope group emptied: %+v, %v; want %+v", run, err, want)
	}
	before := len(w.cloud.Users())
	held, err := w.client.Held(ctx, HeldQuery{Class: string(plan.Removals)})
	if err != nil || len(held) != 5 {
		t.Fatalf("held: %+v, %v", held, err)
	}
	if err := w.client.Reject(ctx, held[0].Seq, "she stays"); err != nil {
		t.Error(err)
	}
	for _, e := range held[1:] {
		if err := w.client.Approve(ctx, e.Seq, "admin"); err != nil {
			t.Error(err)
		}
	}
	if err := w.client.Approve(ctx, held[0].Seq, "admin"); err == nil {
		t.Error("what was rejected was approved")
	}
	if _, err = w.client.RunImport(ctx, "", false); err != nil {
		t.Error(err)
	}
	if n := before - len(w.cloud.Users()); n != 4 {
		t.Errorf("%d users were removed, want the 4 that were approved", n)
	}
}

// empty takes all members out of a group, as an administrator does.
func (w *world) empty(group string) {
	w.t.Helper()
	w.replace("CN="+group+",OU=Groups,"+w.ad.BaseDN(), "member")
}

// replace changes an attribute, as an administrator does.
func (w *world) replace(dn, attribute string, values ...string) {
	w.t.Helper()
	conn, err := ldap.DialURL(w.ad.URL(), ldap.DialWithTLSConfig(w.ca.Client("127.0.0.1")))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	m := ldap.NewModifyRequest(dn, nil)
	m.Replace(attribute, values)
	if err = conn.Bind(w.ad.AdminDN(), "Admin.Pass1"); err == nil {
		err = conn.Modify(m)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestOneImport: two at a time would make every user twice.
func TestOneImport(t *testing.T) {
	w := newWorld(t)
	w.register()
	w.local.Reconciler = w.reconciler
	w.local.imports.Lock()
	_, err := w.client.RunImport(t.Context(), "", false)
	w.local.imports.Unlock()
	if err == nil || !strings.Contains(err.Error(), "another import is running") {
		t.Errorf("a second import: %v", err)
	}
}

// TestPlanNamesMembers: who is put into a group has a name in the plan.
func TestPlanNamesMembers(t *testing.T) {
	w := newWorld(t)
	w.register()
	w.local.Reconciler = w.reconciler
	planned, err := w.client.PlanImport(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	members := 0
	for _, p := range planned {
		for _, a := range p.Actions {
			if a.Kind == plan.AddMember {
				members++
				if name := p.Members[a.UserID]; name == "" || strings.Contains(name, "-") {
					t.Errorf("%s: member %q has the name %q", p.Name, a.UserID, name)
				}
			}
		}
	}
	if members == 0 {
		t.Errorf("the plan puts nobody into a group: %+v", planned)
	}
}
