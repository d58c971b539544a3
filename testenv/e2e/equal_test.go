package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// TestG1_AnswersEqualTheDC sends the same frames to a DC and through the
// gateway: the answers must be the same bytes.
func TestG1_AnswersEqualTheDC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.dc.AddGroup(t, "team", w.dn, w.addUser("bob", []byte(before)), w.addUser("carol", []byte(before)))
	gone := w.addUser("gone", []byte(before))
	if err := w.dc.Conn(t).Del(ldap.NewDelRequest(gone, nil)); err != nil {
		t.Fatal(err)
	}
	w.serve()
	p := newPair(t, w)
	t.Run("searches", func(t *testing.T) { w.searchesAreEqual(t, p, group) })
	t.Run("paged results", func(t *testing.T) {
		w.pagesAreEqual(t, p, ldapwire.OIDControlPagedResults, func(cookie []byte) []byte {
			return tlv(0x30, tlv(0x02, []byte{7}), tlv(0x04, cookie))
		}, func() {})
	})
	t.Run("DirSync", func(t *testing.T) {
		most := []byte{0x7f, 0xff, 0xff, 0xff}
		w.pagesAreEqual(t, p, ldapwire.OIDControlDirSync, func(cookie []byte) []byte {
			return tlv(0x30, tlv(0x02, []byte{1}), tlv(0x02, most), tlv(0x04, cookie))
		}, func() { w.dc.Replace(t, w.dn, "givenName", "Changed") })
	})
	t.Run("change notification", func(t *testing.T) { w.notificationsAreEqual(t, p) })
	t.Run("writes", func(t *testing.T) { w.writesAreEqual(t, p) })
	t.Run("extended operations", func(t *testing.T) { extendedAreEqual(t, p) })
	t.Run("large answer", func(t *testing.T) { w.largeAnswersAreEqual(t, p) })
	t.Run("root DSE", func(t *testing.T) { rootDSEIsEqual(t, p) })
}

func (w *world) searchesAreEqual(t *testing.T, p *pair, group string) {
	users := filter(t, "(sAMAccountName=*)")
	p.id++
	ask := ldapwire.AppendSearchRequest(nil, p.id, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree, Attributes: []string{"cn"}})
	p.direct.send(t, ask)
	direct := p.direct.receive(t, 0)
	p.through.send(t, ask)
	wantEqual(t, "subtree, with references", p.through.receive(t, 0), direct)
	if !slices.ContainsFunc(direct, func(frame []byte) bool {
		msg, err := ldapwire.ParseMessage(frame)
		return err == nil && msg.Op == ldapwire.OpSearchResultReference
	}) {
		t.Error("the DC refers to no other naming context")
	}
	p.equal(t,
		search("base", 0, 1, ldapwire.SearchParams{BaseDN: w.dn, Attributes: []string{"*", "+"}}),
		search("one level", 0, 3, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeOneLevel}),
		search("subtree", 0, 100, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree}),
		search("binary values", 0, 3, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree, Filter: users,
			Attributes: []string{"objectGUID", "objectSid", "nTSecurityDescriptor"}}),
		search("types only", 0, 1, ldapwire.SearchParams{BaseDN: w.dn, TypesOnly: true}),
		search("first range", 0, 1, ldapwire.SearchParams{BaseDN: group, Attributes: []string{"member;range=0-1"}}),
		search("rest of the range", 0, 1, ldapwire.SearchParams{BaseDN: group, Attributes: []string{"member;range=2-*"}}),
		search("extensible match", 0, 3, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree,
			Filter: filter(t, "(memberOf:1.2.840.113556.1.4.1941:="+group+")")}),
		search("sorted by the server", 0, 3, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree, Filter: users, Attributes: []string{"cn"}},
			control(ldapwire.OIDControlServerSort, true, tlv(0x30, tlv(0x30, tlv(0x04, []byte("cn")))))),
		search("deleted", 0, 1, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree, Filter: filter(t, "(&(isDeleted=TRUE)(sAMAccountName=gone))")},
			control(ldapwire.OIDControlShowDeleted, true, nil)),
		search("deleted, not asked for", 0, 0, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree, Filter: filter(t, "(isDeleted=TRUE)")}),
		search("DN of another directory", ldapwire.ResultNoSuchObject, 0, ldapwire.SearchParams{BaseDN: "DC=elsewhere,DC=example"}),
		search("no such object", ldapwire.ResultNoSuchObject, 0, ldapwire.SearchParams{BaseDN: "OU=Nowhere," + w.base}),
		search("malformed DN", ldapwire.ResultInvalidDNSyntax, 0, ldapwire.SearchParams{BaseDN: "not a DN"}),
		search("size limit, which Samba does not hold", 0, 2, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree, SizeLimit: 2}),
		search("time limit", 0, 3, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree, Filter: users, TimeLimit: 20}),
		search("unknown critical control", ldapwire.ResultUnavailableCriticalExtension, 0, ldapwire.SearchParams{BaseDN: w.dn}, control("1.2.3.4.5", true, []byte("x"))),
		search("unknown control", 0, 1, ldapwire.SearchParams{BaseDN: w.dn}, control("1.2.3.4.5", false, []byte("x"))),
		step{name: "lengths in five octets", entries: 1, frame: func(id int32) []byte { return windowsSearch(id, w.dn) }},
		compare("compare, true", w.dn, "cn", "alice", ldapwire.ResultCompareTrue),
		compare("compare, false", w.dn, "cn", "bob", ldapwire.ResultCompareFalse),
		compare("compare, no such attribute, to Samba false", w.dn, "telexNumber", "1", ldapwire.ResultCompareFalse),
		compare("compare, no such object", "CN=nobody,"+w.base, "cn", "1", ldapwire.ResultNoSuchObject),
	)
}

func compare(name, dn, attr, value string, code ldapwire.ResultCode) step {
	return step{name: name, code: code, frame: func(id int32) []byte {
		return ldapwire.AppendCompareRequest(nil, id, dn, attr, []byte(value))
	}}
}

// pagesAreEqual asks twice, and calls between in between. The cookies of two
// connections are different (one names the state of its connection, or holds
// the time); what they lead to is not.
func (w *world) pagesAreEqual(t *testing.T, p *pair, oid string, value func(cookie []byte) []byte, between func()) {
	params := ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree, Attributes: []string{"cn", "givenName", "objectGUID"}}
	page := func(on *peer, cookie *[]byte) [][]byte {
		on.send(t, with(ldapwire.AppendSearchRequest(nil, p.id, params), control(oid, true, value(*cookie))))
		frames := on.receive(t, 0)
		last := len(frames) - 1
		if *cookie = cookieOf(t, frames[last], oid); len(*cookie) == 0 {
			t.Fatal("no cookie")
		}
		frames[last] = bytes.ReplaceAll(frames[last], *cookie, make([]byte, len(*cookie)))
		return frames
	}
	var cookies [2][]byte
	for _, name := range []string{"first page", "second page"} {
		p.id++
		direct, through := page(p.direct, &cookies[0]), page(p.through, &cookies[1])
		t.Logf("%s: %d messages", name, len(direct))
		if len(direct) < 2 {
			t.Errorf("%s: no entries", name)
		}
		wantEqual(t, name, through, direct)
		between()
	}
}

// notificationsAreEqual registers on both connections for one change that a
// third makes, and ends both with an abandon.
func (w *world) notificationsAreEqual(t *testing.T, p *pair) {
	p.id += 4
	watched := p.id - 3
	watch := with(ldapwire.AppendSearchRequest(nil, watched, ldapwire.SearchParams{BaseDN: w.dc.PeopleDN(), Scope: ldapwire.ScopeOneLevel,
		Attributes: []string{"description", "uSNChanged"}}), control(ldapwire.OIDControlNotification, true, nil))
	// sent sends a request that is not answered; the answer to a second one
	// says that the DC has the first.
	sent := func(frame []byte, probe int32) {
		for _, on := range []*peer{p.direct, p.through} {
			on.send(t, frame)
			on.send(t, ldapwire.AppendSearchRequest(nil, probe, ldapwire.SearchParams{BaseDN: w.dn, Attributes: []string{"cn"}}))
			on.receive(t, 0)
		}
	}
	sent(watch, watched+1)
	w.dc.Replace(t, w.dn, "description", "noticed")
	direct, through := p.direct.receive(t, 1), p.through.receive(t, 1)
	if !bytes.Contains(direct[0], []byte("noticed")) {
		t.Errorf("the DC says %q", direct[0])
	}
	wantEqual(t, "notice of the change", through, direct)
	sent(ldapwire.AppendAbandonRequest(nil, watched+2, watched), watched+3)
	w.dc.Replace(t, w.dn, "description", "unnoticed")
	p.equal(t, search("after the abandon", 0, 1, ldapwire.SearchParams{BaseDN: w.dn, Attributes: []string{"description"}}))
}

func (w *world) writesAreEqual(t *testing.T, p *pair) {
	dn, moved := "CN=Temp,"+w.dc.PeopleDN(), "CN=Temp 2,"+w.base
	photo := make([]byte, 70_000)
	for i := range photo {
		photo[i] = byte(i * 7)
	}
	attrs := []ldapwire.AttributeValues{{Type: "objectClass", Values: [][]byte{[]byte("contact")}}, {Type: "description", Values: [][]byte{[]byte("Grüße")}}}
	add := func(id int32) []byte { return ldapwire.AppendAddRequest(nil, id, dn, attrs) }
	modify := func(dn string, mods ...ldapwire.Mod) func(int32) []byte {
		return func(id int32) []byte { return ldapwire.AppendModifyRequest(nil, id, dn, mods...) }
	}
	read := []string{"cn", "description", "thumbnailPhoto", "objectClass"}
	p.equal(t,
		step{name: "add", frame: add},
		step{name: "add again", frame: add, code: ldapwire.ResultEntryAlreadyExists},
		step{name: "modify", frame: modify(dn, ldapwire.Mod{Op: ldapwire.ModAdd, Type: "thumbnailPhoto", Values: [][]byte{photo}})},
		step{name: "modify, no such attribute", code: ldapwire.ResultNoSuchAttribute,
			frame: modify(dn, ldapwire.Mod{Op: ldapwire.ModDelete, Type: "telexNumber"})},
		search("read", 0, 1, ldapwire.SearchParams{BaseDN: dn, Attributes: read}),
		step{name: "rename and move", frame: func(id int32) []byte {
			return ldapwire.AppendModifyDNRequest(nil, id, dn, "CN=Temp 2", true, w.base)
		}},
		search("read under the old name", ldapwire.ResultNoSuchObject, 0, ldapwire.SearchParams{BaseDN: dn}),
		search("read under the new name", 0, 1, ldapwire.SearchParams{BaseDN: moved, Attributes: read}),
		step{name: "delete", frame: func(id int32) []byte { return ldapwire.AppendDelRequest(nil, id, moved) }},
		step{name: "delete again", code: ldapwire.ResultNoSuchObject, frame: func(id int32) []byte { return ldapwire.AppendDelRequest(nil, id, moved) }},
	)
}

func extendedAreEqual(t *testing.T, p *pair) {
	extended := func(name, oid string, value []byte, code ldapwire.ResultCode) step {
		return step{name: name, code: code, frame: func(id int32) []byte {
			return ldapwire.AppendExtendedRequest(nil, id, oid, value, value != nil)
		}}
	}
	p.equal(t,
		extended("cancel of nothing", ldapwire.OIDCancel, tlv(0x30, tlv(0x02, []byte{1})), ldapwire.ResultProtocolError),
		extended("unknown operation", "1.2.3.4.5", []byte("value"), ldapwire.ResultProtocolError),
		extended("who am I, unknown to Samba", ldapwire.OIDWhoAmI, nil, ldapwire.ResultProtocolError),
	)
}

// largeAnswersAreEqual reads the schema, which is many messages of some
// megabytes, and pictures, which are few of 16 MiB together.
func (w *world) largeAnswersAreEqual(t *testing.T, p *pair) {
	conn := w.dc.Conn(t)
	for i := range 9 {
		m := ldap.NewModifyRequest(w.addUser(fmt.Sprint("pictured", i), []byte(before)), nil)
		m.Add("jpegPhoto", []string{strings.Repeat(fmt.Sprintf("\xff\xd8 %d\x00", i), 2<<20/5)})
		if err := conn.Modify(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		least int // bytes
		ask   ldapwire.SearchParams
	}{
		{"schema", 2 << 20, ldapwire.SearchParams{BaseDN: "CN=Schema,CN=Configuration," + w.base, Scope: ldapwire.ScopeSubtree,
			Attributes: []string{"*", "nTSecurityDescriptor", "replPropertyMetaData"}}},
		{"pictures", 16 << 20, ldapwire.SearchParams{BaseDN: w.base, Scope: ldapwire.ScopeSubtree,
			Filter: filter(t, "(jpegPhoto=*)"), Attributes: []string{"jpegPhoto"}}},
	} {
		p.id++
		ask := ldapwire.AppendSearchRequest(nil, p.id, tt.ask)
		p.direct.send(t, ask)
		direct := p.direct.receive(t, 0)
		p.through.send(t, ask)
		through := p.through.receive(t, 0)
		size := 0
		for _, frame := range direct {
			size += len(frame)
		}
		t.Logf("%s: %d messages, %d bytes", tt.name, len(direct), size)
		if size < tt.least {
			t.Errorf("%s: only %d bytes", tt.name, size)
		}
		wantEqual(t, tt.name, through, direct)
	}
}

// rootDSEIsEqual compares what the gateway does not rewrite, and what does not
// change by itself: the time and the DC's update sequence number.
func rootDSEIsEqual(t *testing.T, p *pair) {
	p.id++
	ask := ldapwire.AppendSearchRequest(nil, p.id, ldapwire.SearchParams{Attributes: []string{"*", "+"}})
	attributes := func(on *peer) (all []string) {
		on.send(t, ask)
		frames := on.receive(t, 0)
		message, err := ber.DecodePacketErr(frames[0])
		if err != nil || len(frames) != 2 {
			t.Fatalf("%d messages: %v", len(frames), err)
		}
		for _, a := range message.Children[1].Children[1].Children {
			name := a.Children[0].Data.String()
			switch strings.ToLower(name) {
			case "currenttime", "highestcommittedusn", "supportedextension", "supportedsaslmechanisms":
				continue
			}
			all = append(all, fmt.Sprintf("%s: %x", name, a.Bytes()))
		}
		return append(all, fmt.Sprintf("%x", frames[1]))
	}
	direct, through := attributes(p.direct), attributes(p.through)
	if len(direct) < 10 || !slices.Equal(direct, through) {
		t.Errorf("through the gateway %q\ndirectly %q", through, direct)
	}
}
