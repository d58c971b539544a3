package main

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// startRegistered starts an embedded AD and registers it with d.
func startRegistered(t *testing.T, d *daemon, domain string, users ...adsim.User) *adsim.Server {
	t.Helper()
	ca := certstest.New(t)
	ad, err := adsim.Start(adsim.Config{TLS: ca.Server("127.0.0.1"), Domain: domain, AdminPassword: secret.New([]byte("Admin.Pass1"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ad.Close() })
	for _, u := range append(users, adsim.User{Name: "svc"}) {
		u.Password = secret.New([]byte("Start.Pass1"))
		if _, err := ad.AddUser(u); err != nil {
			t.Fatal(err)
		}
	}
	caPEM, err := os.ReadFile(ca.File())
	if err != nil {
		t.Fatal(err)
	}
	reg := store.Domain{Name: domain, BaseDN: ad.BaseDN(), DCs: []string{ad.URL()}, CAPEM: caPEM, ImportAccount: "svc@" + domain, UseCase: store.UseCaseAD}
	reg.JumpCloud.URL = "https://127.0.0.1:1"
	if err := d.opened.store.PutDomain(t.Context(), reg, map[string]secret.Bytes{
		store.CredImportPassword: secret.New([]byte("Start.Pass1")), store.CredAPIKey: secret.New([]byte("k"))}); err != nil {
		t.Fatal(err)
	}
	d.domains.changed(domain)
	return ad
}

// TestG3_ResolveMail: whose a mail address is, over two domains.
func TestG3_ResolveMail(t *testing.T) {
	d, log := newTestDaemon(t, newInstallation(t))
	corp := startRegistered(t, d, "corp.test",
		adsim.User{Name: "alice", Mail: "alice.archer@mail.test"},
		adsim.User{Name: "team1", Mail: "team@mail.test"}, adsim.User{Name: "team2", Mail: "team@mail.test"},
		adsim.User{Name: "anna", Mail: "both@mail.test"},
		adsim.User{Name: "eve", Mail: "alice@corp.test"}) // somebody else's name
	lab := startRegistered(t, d, "lab.test",
		adsim.User{Name: "bob", Mail: "bob.baker@mail.test"},
		adsim.User{Name: "ben", Mail: "both@mail.test"},
		adsim.User{Name: "bea", Mail: "bea@lab.test", Attributes: []adsim.Attribute{{Name: "userPrincipalName", Values: []string{"bea@brand.test"}}}})
	now := time.Now()
	r := newResolver(d.domains, d.log)
	r.now = func() time.Time { return now }
	type answer struct{ domain, name string }
	resolve := func(name string) answer {
		domain, as := r.resolve(t.Context(), name)
		return answer{domain, as}
	}
	dn := func(s *adsim.Server, cn string) string { return "CN=" + cn + ",OU=People," + s.BaseDN() }
	for name, want := range map[string]answer{
		"alice.archer@mail.test": {"corp.test", dn(corp, "alice")},
		"Bob.Baker@MAIL.test":    {"lab.test", dn(lab, "bob")},
		"team@mail.test":         {},                               // two accounts'
		"both@mail.test":         {},                               // one in each domain
		"alice@corp.test":        {"corp.test", "alice@corp.test"}, // a name before it is a mail address
		"bea@brand.test":         {"lab.test", "bea@brand.test"},   // its suffix names no domain
		"bea@lab.test":           {"lab.test", "bea@lab.test"},     // implied
		"nobody@mail.test":       {},
		"*@mail.test":            {},
		"a\x00@mail.test":        {},
		"\xff@mail.test":         {},
	} {
		if got := resolve(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}

	// What is known needs no controller. What is not is not asked of one that
	// failed, until some time has passed.
	if err := lab.RefuseConnections(true); err != nil {
		t.Fatal(err)
	}
	lab.DropConnections()
	if got, want := resolve("alice.archer@mail.test"), (answer{"corp.test", dn(corp, "alice")}); got != want {
		t.Errorf("known, with a domain lost: got %q, want %q", got, want)
	}
	for _, name := range []string{"ALICE.archer@mail.test ", "x@mail.test", "y@mail.test"} {
		if got := resolve(name); got != (answer{}) {
			t.Errorf("%q, with a domain lost: got %q, want nothing", name, got)
		}
	}
	if n := log.count("not looked up for a while"); n != 1 {
		t.Errorf("the lost domain was asked %d times, want once", n)
	}
	if err := lab.RefuseConnections(false); err != nil {
		t.Fatal(err)
	}
	now = now.Add(knownFor + time.Second)
	if got, want := resolve("bob.baker@mail.test"), (answer{"lab.test", dn(lab, "bob")}); got != want {
		t.Errorf("after the pause: got %q, want %q", got, want)
	}
}

// TestResolveTurn: a lookup's time begins when it has its slot, and is not its
// client's.
func TestResolveTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResolver(nil, nil)
		for range lookupSlots {
			r.slots <- struct{}{}
		}
		if _, _, ok := r.turn(t.Context()); ok {
			t.Error("no slot is free: got one")
		}
		client, leave := context.WithCancel(t.Context())
		time.AfterFunc(lookupTime-time.Millisecond, func() { <-r.slots })
		ctx, done, ok := r.turn(client)
		if !ok {
			t.Fatal("got no slot, want the one that became free")
		}
		if deadline, _ := ctx.Deadline(); time.Until(deadline) != lookupTime {
			t.Errorf("got %v for the lookup, want %v", time.Until(deadline), lookupTime)
		}
		leave()
		if ctx.Err() != nil {
			t.Errorf("after the client left: got %v, want a lookup that goes on", ctx.Err())
		}
		done()
		if len(r.slots) != lookupSlots-1 {
			t.Errorf("got %d slots taken, want the lookup's given back", len(r.slots))
		}
	})
}
