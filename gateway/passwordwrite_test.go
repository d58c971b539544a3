package gateway

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

const (
	baseDN   = "DC=corp,DC=example,DC=test"
	configDN = "CN=Configuration," + baseDN
	aliceSID = "S-1-5-21-1-2-3-1104"
)

var aliceSIDBytes = []byte{1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0x50, 4, 0, 0}

// directory is a DC that knows alice and itself, and keeps what it was asked.
type directory struct {
	heuristics string
	names      map[string]int // filter, as bytes, to how many entries it finds
	// answer replaces the success to a write.
	answer func(ldapwire.Message) []byte
	// hidden: nobody can be read.
	hidden bool

	mu       sync.Mutex
	writes   []ldapwire.Message // guarded by mu
	searches []string           // bases; guarded by mu
}

func (d *directory) serve(p *peer) {
	for {
		msg, err := p.read()
		if err != nil || msg.Op == ldapwire.OpUnbindRequest {
			return
		}
		switch msg.Op {
		case ldapwire.OpSearchRequest:
			p.send(d.search(msg))
		case ldapwire.OpModifyRequest, ldapwire.OpAddRequest:
			d.mu.Lock()
			d.writes = append(d.writes, msg)
			d.mu.Unlock()
			if d.answer != nil {
				answer := d.answer(msg)
				if answer == nil {
					return
				}
				p.send(answer)
				continue
			}
			p.send(plainAnswer(msg))
		default:
			p.send(plainAnswer(msg))
		}
	}
}

func (d *directory) search(msg ldapwire.Message) []byte {
	req, err := ldapwire.ParseSearchRequest(msg.Body)
	if err != nil {
		return ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultProtocolError, "", "")
	}
	base := string(req.BaseDN)
	d.mu.Lock()
	d.searches = append(d.searches, base)
	d.mu.Unlock()
	value := func(name string, v []byte) ldapwire.AttributeValues {
		return ldapwire.AttributeValues{Type: name, Values: [][]byte{v}}
	}
	var frame []byte
	switch {
	case base == "":
		frame = ldapwire.AppendSearchEntry(nil, msg.ID, "", []ldapwire.AttributeValues{value("defaultNamingContext", []byte(baseDN)),
			value("configurationNamingContext", []byte(configDN)), value("tokenGroups", aliceSIDBytes)})
	case strings.HasPrefix(base, "CN=Directory Service,"):
		if d.heuristics != "" {
			frame = ldapwire.AppendSearchEntry(nil, msg.ID, base, []ldapwire.AttributeValues{value("dSHeuristics", []byte(d.heuristics))})
		}
	case req.Scope == ldapwire.ScopeSubtree:
		for range d.names[string(req.Filter)] {
			frame = ldapwire.AppendSearchEntry(frame, msg.ID, aliceDN, nil)
		}
	case d.hidden:
		return ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultNoSuchObject, "", "")
	default:
		return plainAnswer(msg)
	}
	return ldapwire.AppendSearchDone(frame, msg.ID, ldapwire.ResultSuccess, "", "")
}

func (d *directory) write(t *testing.T) ldapwire.Message {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.writes) != 1 {
		t.Fatalf("the DC had %d writes, want 1", len(d.writes))
	}
	return d.writes[0]
}

func (d *directory) counts() (writes, searches int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.writes), len(d.searches)
}

// attrs shows what a write does, with passwords in the clear.
func attrs(t *testing.T, msg ldapwire.Message) string {
	t.Helper()
	var out []string
	show := func(op, name string, values ldapwire.Values) {
		line := op + " " + name
		for v, ok := values.Next(); ok; v, ok = values.Next() {
			if strings.EqualFold(name, "unicodePwd") {
				password, err := ldapwire.DecodeUnicodePwd(v)
				if err != nil {
					t.Fatal(err)
				}
				v = []byte(`"` + string(password.Expose()) + `"`)
			}
			line += " " + string(v)
		}
		out = append(out, line)
	}
	switch msg.Op {
	case ldapwire.OpModifyRequest:
		req, err := ldapwire.ParseModifyRequest(msg.Body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(req.DN))
		for mod, ok := req.Next(); ok; mod, ok = req.Next() {
			show(mod.Op.String(), string(mod.Type), mod.Values)
		}
	case ldapwire.OpAddRequest:
		req, err := ldapwire.ParseAddRequest(msg.Body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(req.DN))
		for attr, ok := req.Next(); ok; attr, ok = req.Next() {
			show("with", string(attr.Type), attr.Values)
		}
	}
	return strings.Join(out, "; ")
}

func modOf(op ldapwire.ModOp, typ string, values ...string) ldapwire.Mod {
	m := ldapwire.Mod{Op: op, Type: typ}
	for _, v := range values {
		m.Values = append(m.Values, []byte(v))
	}
	return m
}

func TestG4_UserPassword(t *testing.T) {
	add, del, replace := ldapwire.ModAdd, ldapwire.ModDelete, ldapwire.ModReplace
	const refused, constraint = ldapwire.ResultUnwillingToPerform, ldapwire.ResultConstraintViolation
	for _, tt := range []struct {
		name string
		mods []ldapwire.Mod
		sent string // after the DN; empty: nothing
		kind identity.ChangeKind
		code ldapwire.ResultCode
	}{
		{"reset", []ldapwire.Mod{modOf(replace, "userPassword", "Neü-1")}, `replace unicodePwd "Neü-1"`, identity.PasswordReset, 0},
		{"change", []ldapwire.Mod{modOf(del, "userPassword", "Old-1"), modOf(add, "userPassword", "Neü-1")},
			`delete unicodePwd "Old-1"; add unicodePwd "Neü-1"`, identity.PasswordChange, 0},
		{"among others, any spelling", []ldapwire.Mod{modOf(replace, "title", "a", "b"), modOf(replace, "2.5.4.35;x-y", "Neü-1"), modOf(del, "mail"), modOf(replace, "pwdLastSet", "0")},
			`replace title a b; replace unicodePwd "Neü-1"; delete mail; replace pwdLastSet 0`, identity.PasswordReset, 0},
		{"all deleted, one added", []ldapwire.Mod{modOf(del, "userPassword"), modOf(add, "userPassword", "Neü-1")},
			`delete unicodePwd; add unicodePwd "Neü-1"`, identity.PasswordReset, 0},
		{"taken away", []ldapwire.Mod{modOf(replace, "userPassword")}, "replace userPassword", "", 0},
		{"an old one taken away with a reset", []ldapwire.Mod{modOf(del, "userPassword"), modOf(replace, "unicodePwd", string(quoted(t, "Neü-1")))},
			`delete userPassword; replace unicodePwd "Neü-1"`, identity.PasswordReset, 0},

		{"hash", []ldapwire.Mod{modOf(replace, "userPassword", "{SSHA}abc=")}, "", "", refused},
		{"hash as proof", []ldapwire.Mod{modOf(del, "userPassword", "{CRYPT}abc"), modOf(add, "userPassword", "Neü-1")}, "", "", refused},
		{"two values", []ldapwire.Mod{modOf(replace, "userPassword", "a", "b")}, "", "", constraint},
		{"two additions", []ldapwire.Mod{modOf(add, "userPassword", "a"), modOf(add, "userPassword", "b")}, "", "", constraint},
		{"two proofs", []ldapwire.Mod{modOf(del, "userPassword", "a", "b"), modOf(add, "userPassword", "c")}, "", "", constraint},
		{"NUL", []ldapwire.Mod{modOf(replace, "userPassword", "a\x00b")}, "", "", refused},
		{"not UTF-8", []ldapwire.Mod{modOf(replace, "userPassword", "a\xffb")}, "", "", refused},
		{"old one not UTF-8", []ldapwire.Mod{modOf(del, "userPassword", "\xff"), modOf(add, "userPassword", "b")}, "", "", refused},
		{"empty", []ldapwire.Mod{modOf(replace, "userPassword", "")}, "", "", constraint},
		{"too long", []ldapwire.Mod{modOf(replace, "userPassword", strings.Repeat("x", 3000))}, "", "", constraint},
		{"both", []ldapwire.Mod{modOf(replace, "userPassword", "Neü-1"), modOf(replace, "unicodePwd", string(quoted(t, "Neü-1")))}, "", "", refused},
		{"increment", []ldapwire.Mod{modOf(ldapwire.ModIncrement, "userPassword", "1")}, "", "", refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d directory
			r, _ := newRig(t, d.serve)
			c := r.dial()
			c.bind(1)
			c.send(ldapwire.AppendModifyRequest(nil, 2, aliceDN, tt.mods...))
			c.wantResult(ldapwire.OpModifyResponse, 2, tt.code)
			if tt.sent == "" {
				if n, _ := d.counts(); n != 0 || slices.Contains([]identity.Outcome{identity.OutcomeAccepted, identity.OutcomeUnknown}, r.recorder.outcome(1)) {
					t.Errorf("%d writes reached the DC, outcome %q", n, r.recorder.outcome(1))
				}
				return
			}
			if got, want := attrs(t, d.write(t)), aliceDN+"; "+tt.sent; got != want {
				t.Errorf("the DC got %s\nwant %s", got, want)
			}
			if tt.kind == "" {
				if n := r.recorder.count(); n != 0 {
					t.Errorf("%d changes recorded, want none", n)
				}
				return
			}
			if got := r.recorder.intents[0]; got.Kind != tt.kind || r.recorder.passwords[0] != "Neü-1" || got.Account.GUID != aliceGUID {
				t.Errorf("recorded %+v with %q", got, r.recorder.passwords[0])
			}
			if o := r.recorder.outcome(1); o != identity.OutcomeAccepted {
				t.Errorf("outcome %q, want accepted", o)
			}
		})
	}
}

// TestG4_UserPasswordIsThePassword: where the domain says so, nothing is
// translated, and the DC is asked once per connection.
func TestG4_UserPasswordIsThePassword(t *testing.T) {
	for heuristics, want := range map[string]bool{"000000001": true, "0000000010000000": true, "000000002": false, "000000000": false, "00": false, "": false} {
		t.Run("dSHeuristics "+heuristics, func(t *testing.T) {
			d := directory{heuristics: heuristics}
			r, _ := newRig(t, d.serve)
			c := r.dial()
			c.bind(1)
			request := ldapwire.AppendModifyRequest(nil, 2, aliceDN, modOf(ldapwire.ModReplace, "userPassword", "Neü-1"))
			c.send(request)
			c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
			if got := bytes.Equal(d.write(t).Raw, request); got != want {
				t.Errorf("relayed as it is: %t, want %t", got, want)
			}
			if r.recorder.count() != 1 || r.recorder.passwords[0] != "Neü-1" {
				t.Errorf("recorded %v", r.recorder.intents)
			}
			_, before := d.counts()
			c.send(ldapwire.AppendModifyRequest(nil, 3, aliceDN, modOf(ldapwire.ModReplace, "userPassword", "Neü-2")))
			c.wantResult(ldapwire.OpModifyResponse, 3, ldapwire.ResultSuccess)
			if _, after := d.counts(); after-before != 1 {
				t.Errorf("%d searches for the second change, want that of its target alone", after-before)
			}
		})
	}
}

func TestG4_TranslationOff(t *testing.T) {
	off := func(c *Config) { c.NoPasswordTranslation = true }
	modify := ldapwire.AppendModifyRequest(nil, 2, aliceDN, modOf(ldapwire.ModReplace, "userPassword", "Neü-1"))
	add := ldapwire.AppendAddRequest(nil, 3, aliceDN, []ldapwire.AttributeValues{{Type: "userPassword", Values: [][]byte{[]byte("Neü-1")}}})
	passwd := ldapwire.AppendExtendedRequest(nil, 4, ldapwire.OIDPasswordModify, ldapwire.AppendPasswdModifyValue(nil, nil, []byte("a"), []byte("b")), true)
	var d directory
	r, _ := newRig(t, d.serve, off)
	c := r.dial()
	c.bind(1)
	c.send(modify)
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultUnwillingToPerform)
	c.send(add)
	c.wantResult(ldapwire.OpAddResponse, 3, ldapwire.ResultUnwillingToPerform)
	c.send(passwd)
	c.wantResult(ldapwire.OpExtendedResponse, 4, ldapwire.ResultProtocolError)
	if writes, _ := d.counts(); writes+r.recorder.count() != 0 {
		t.Error("something was sent or recorded")
	}
	d2 := directory{heuristics: "000000001"}
	r, _ = newRig(t, d2.serve, off)
	c = r.dial()
	c.bind(1)
	c.send(modify)
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	if r.recorder.count() != 1 {
		t.Errorf("where userPassword is the password %d changes were recorded, want 1", r.recorder.count())
	}
}

// TestG4_TranslatedKeepsControls: the DC judges the client's controls.
func TestG4_TranslatedKeepsControls(t *testing.T) {
	control := []byte{0x30, 0x06, 0x04, 0x04, '1', '.', '2', '3'}
	plain, err := ldapwire.ParseMessage(ldapwire.AppendModifyRequest(nil, 2, aliceDN, modOf(ldapwire.ModReplace, "userPassword", "Neü-1")))
	if err != nil {
		t.Fatal(err)
	}
	passwd, err := ldapwire.ParseMessage(ldapwire.AppendExtendedRequest(nil, 2, ldapwire.OIDPasswordModify,
		ldapwire.AppendPasswdModifyValue(nil, []byte(aliceDN), nil, []byte("Neü-1")), true))
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range []ldapwire.Message{plain, passwd} {
		var d directory
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(ldapwire.AppendMessage(nil, 2, msg.Op, msg.Body, control))
		c.wantResult(msg.Op.Response(), 2, ldapwire.ResultSuccess)
		if got := d.write(t); !bytes.Equal(got.Controls, control) {
			t.Errorf("%s: the DC got controls %x, want %x", msg.Op, got.Controls, control)
		}
	}
}

// TestG4_ValidateOnlyTranslatesToo: nothing is recorded, and nothing published.
func TestG4_ValidateOnlyTranslatesToo(t *testing.T) {
	ca := certstest.New(t)
	var d directory
	r := newRigFor(t, ca, &Domain{Name: "corp.example.test", DCs: newScriptedDC(t, ca, d.serve)})
	c := r.dial()
	c.bind(1)
	c.send(ldapwire.AppendModifyRequest(nil, 2, aliceDN, modOf(ldapwire.ModReplace, "userPassword", "Neü-1")))
	c.wantResult(ldapwire.OpModifyResponse, 2, ldapwire.ResultSuccess)
	if got, want := attrs(t, d.write(t)), aliceDN+`; replace unicodePwd "Neü-1"`; got != want {
		t.Errorf("the DC got %s, want %s", got, want)
	}
	if n := r.recorder.count(); n != 0 {
		t.Errorf("%d changes recorded, want none", n)
	}
}

func TestG4_Add(t *testing.T) {
	attr := attrOf
	q := func(password string) string { return string(quoted(t, password)) }
	for _, tt := range []struct {
		name       string
		attrs      []ldapwire.AttributeValues
		sent       string
		mustChange bool
		code       ldapwire.ResultCode
	}{
		{"quoted", []ldapwire.AttributeValues{attr("objectClass", "user"), attr("UNICODEPWD;x", q("Neü-1"))}, `with objectClass user; with UNICODEPWD;x `, false, 0},
		{"the last value wins", []ldapwire.AttributeValues{attr("unicodePwd", q("a"), q("b")), attr("unicodePwd", q("Neü-1"))}, `with unicodePwd "a" "b"; with unicodePwd "Neü-1"`, false, 0},
		{"plain", []ldapwire.AttributeValues{attr("userPassword", "Neü-1"), attr("objectClass", "top", "user"), attr("pwdLastSet", "0")},
			`with unicodePwd "Neü-1"; with objectClass top user; with pwdLastSet 0`, true, 0},
		{"hash", []ldapwire.AttributeValues{attr("userPassword", "{MD5}x")}, "", false, ldapwire.ResultUnwillingToPerform},
		{"two values", []ldapwire.AttributeValues{attr("userPassword", "a", "b")}, "", false, ldapwire.ResultConstraintViolation},
		{"both", []ldapwire.AttributeValues{attr("userPassword", "a"), attr("unicodePwd", q("a"))}, "", false, ldapwire.ResultUnwillingToPerform},
		{"unquoted", []ldapwire.AttributeValues{attr("unicodePwd", "abcd")}, "", false, ldapwire.ResultUnwillingToPerform},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d directory
			r, _ := newRig(t, d.serve)
			c := r.dial()
			c.bind(1)
			c.send(ldapwire.AppendAddRequest(nil, 2, aliceDN, tt.attrs))
			c.wantResult(ldapwire.OpAddResponse, 2, tt.code)
			if tt.sent == "" {
				if n, _ := d.counts(); n != 0 || r.recorder.count() != 0 {
					t.Errorf("%d writes reached the DC, %d were recorded", n, r.recorder.count())
				}
				return
			}
			if got := attrs(t, d.write(t)); !strings.HasPrefix(got, aliceDN+"; "+tt.sent) {
				t.Errorf("the DC got %s\nwant %s", got, tt.sent)
			}
			want := identity.Change{Kind: identity.PasswordAdd, DC: "scripted", Direction: identity.Import, Actor: "CN=alice", MustChange: tt.mustChange,
				Account: identity.Account{Domain: "corp.example.test", DN: aliceDN}}
			if got := r.recorder.intents[0]; got != want || r.recorder.passwords[0] != "Neü-1" {
				t.Errorf("recorded %+v with %q\nwant %+v", got, r.recorder.passwords[0], want)
			}
			found := identity.Account{Domain: "corp.example.test", GUID: aliceGUID, DN: aliceDN, SAM: "alice"}
			if got := r.recorder.accounts[1]; got != found || r.recorder.outcome(1) != identity.OutcomeAccepted {
				t.Errorf("settled as %+v, %s, want %+v, accepted", got, r.recorder.outcome(1), found)
			}
		})
	}
	t.Run("without a password", func(t *testing.T) {
		var d directory
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.send(ldapwire.AppendAddRequest(nil, 2, aliceDN, []ldapwire.AttributeValues{attr("objectClass", "user")}))
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultSuccess)
		if r.recorder.count() != 0 {
			t.Error("an Add without a password was recorded")
		}
	})
}

// TestG4_AddOutcomes: what is not known about a new account is said.
func TestG4_AddOutcomes(t *testing.T) {
	request := ldapwire.AppendAddRequest(nil, 2, aliceDN, []ldapwire.AttributeValues{{Type: "unicodePwd", Values: [][]byte{quoted(t, "Neü-1")}}})
	result := func(code ldapwire.ResultCode) func(ldapwire.Message) []byte {
		return func(msg ldapwire.Message) []byte {
			return ldapwire.AppendResult(nil, msg.ID, msg.Op.Response(), code, "", "00000524: exists")
		}
	}
	t.Run("refused", func(t *testing.T) {
		d := directory{answer: result(ldapwire.ResultEntryAlreadyExists)}
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultEntryAlreadyExists)
		if o := r.recorder.outcome(1); o != identity.OutcomeRefused || r.recorder.reasons[1] != "entryAlreadyExists: 00000524: exists" {
			t.Errorf("outcome %q, %q", o, r.recorder.reasons[1])
		}
	})
	t.Run("accepted and hidden", func(t *testing.T) {
		d := directory{hidden: true}
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultSuccess)
		if _, known := r.recorder.accounts[1]; known || r.recorder.outcome(1) != identity.OutcomeAccepted || !strings.Contains(r.recorder.reasons[1], "objectGUID") {
			t.Errorf("outcome %q, %q, account %v", r.recorder.outcome(1), r.recorder.reasons[1], r.recorder.accounts[1])
		}
		c.bind(3)
	})
	t.Run("accepted, and the DC is gone", func(t *testing.T) {
		r, _ := newRig(t, func(p *peer) {
			for {
				msg, err := p.read()
				if err != nil || msg.Op == ldapwire.OpSearchRequest {
					return
				}
				p.send(plainAnswer(msg))
			}
		})
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultSuccess)
		c.wantNotice(ldapwire.ResultUnavailable)
		if o := r.recorder.outcome(1); o != identity.OutcomeAccepted {
			t.Errorf("outcome %q, want accepted", o)
		}
	})
	t.Run("accepted, and the DC says no more", func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		r, _ := newRig(t, func(p *peer) {
			for {
				msg, err := p.read()
				if err != nil {
					return
				}
				if msg.Op == ldapwire.OpSearchRequest {
					<-release
				}
				p.send(plainAnswer(msg))
			}
		}, func(c *Config) { c.BindTimeout = 100e6 })
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultSuccess)
		c.wantNotice(ldapwire.ResultUnavailable)
		if o := r.recorder.outcome(1); o != identity.OutcomeAccepted || !strings.Contains(r.recorder.reasons[1], "objectGUID") {
			t.Errorf("outcome %q, %q, want accepted, and why the account is not known", o, r.recorder.reasons[1])
		}
	})
	t.Run("unanswered", func(t *testing.T) {
		d := directory{answer: func(ldapwire.Message) []byte { return nil }}
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultUnavailable)
		c.wantNotice(ldapwire.ResultUnavailable)
		if o := r.recorder.outcome(1); o != identity.OutcomeUnknown {
			t.Errorf("outcome %q, want unknown", o)
		}
	})
	t.Run("answered with something else", func(t *testing.T) {
		d := directory{answer: func(msg ldapwire.Message) []byte {
			return ldapwire.AppendResult(nil, msg.ID, ldapwire.OpModifyResponse, ldapwire.ResultSuccess, "", "")
		}}
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(request)
		c.wantResult(ldapwire.OpAddResponse, 2, ldapwire.ResultUnavailable)
		if o := r.recorder.outcome(1); o != identity.OutcomeUnknown {
			t.Errorf("outcome %q, want unknown", o)
		}
	})
}

// TestG5_EveryFormInOrder: the order that durability rests on holds for each.
func TestG5_EveryFormInOrder(t *testing.T) {
	for name, request := range map[string][]byte{
		"add":             ldapwire.AppendAddRequest(nil, 2, aliceDN, []ldapwire.AttributeValues{{Type: "userPassword", Values: [][]byte{[]byte("Neü-1")}}}),
		"userPassword":    ldapwire.AppendModifyRequest(nil, 2, aliceDN, modOf(ldapwire.ModReplace, "userPassword", "Neü-1")),
		"password modify": ldapwire.AppendExtendedRequest(nil, 2, ldapwire.OIDPasswordModify, ldapwire.AppendPasswdModifyValue(nil, nil, []byte("Old-1"), []byte("Neü-1")), true),
	} {
		t.Run(name, func(t *testing.T) {
			steps := make(chan string, 10)
			d := directory{answer: func(msg ldapwire.Message) []byte {
				steps <- "dc"
				return plainAnswer(msg)
			}}
			r, _ := newRig(t, d.serve, func(c *Config) {
				rec := c.Capture.(*recorder)
				rec.onIntent = func() { steps <- "intent" }
				rec.onSettle = func() { steps <- "outcome" }
			})
			c := r.dial()
			c.bind(1)
			c.send(request)
			if msg, err := c.read(); err != nil || msg.ID != 2 {
				t.Fatalf("got %v, %v", msg, err)
			}
			steps <- "client"
			for _, want := range []string{"intent", "dc", "outcome", "client"} {
				if got := receive(t, steps, want); got != want {
					t.Fatalf("got step %q, want %q", got, want)
				}
			}
			receiveUntil(t, func() bool { return r.server.turns.len() == 0 })
		})
	}
}

// TestG4_ReferralIsNotFollowed: another controller must not get what this one
// was not sent.
func TestG4_ReferralIsNotFollowed(t *testing.T) {
	for name, request := range map[string][]byte{
		"userPassword":    ldapwire.AppendModifyRequest(nil, 2, aliceDN, modOf(ldapwire.ModReplace, "userPassword", "Neü-1")),
		"password modify": ldapwire.AppendExtendedRequest(nil, 2, ldapwire.OIDPasswordModify, ldapwire.AppendPasswdModifyValue(nil, nil, []byte("Old-1"), []byte("Neü-1")), true),
	} {
		d := directory{answer: func(msg ldapwire.Message) []byte {
			return ldapwire.AppendReferral(nil, msg.ID, msg.Op.Response(), "", "", "ldap://other.example.test")
		}}
		r, _ := newRig(t, d.serve)
		c := r.dial()
		c.bind(1)
		c.send(request)
		msg, err := c.read()
		if err != nil || bytes.Contains(msg.Raw, []byte("other.example.test")) {
			t.Fatalf("%s: got %v, %v, and the other controller's name", name, msg, err)
		}
		if res, err := ldapwire.ParseResult(msg.Body); err != nil || res.Code != ldapwire.ResultUnwillingToPerform {
			t.Errorf("%s: got %s, %v, want unwillingToPerform", name, res.Code, err)
		}
		if o := r.recorder.outcome(1); o != identity.OutcomeRefused {
			t.Errorf("%s: outcome %q, want refused", name, o)
		}
	}
}

func TestIsHashed(t *testing.T) {
	for text, want := range map[string]bool{
		"{SSHA}x": true, "{CRYPT}$6$x": true, "{SCRAM-SHA-256}x": true, "{x-y/z.1}": true,
		"": false, "{": false, "{}x": false, "{a b}x": false, "x{SSHA}": false, "{SSHA": false, "{" + strings.Repeat("a", 33) + "}x": false, "{ü}": false,
	} {
		if got := isHashed([]byte(text)); got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}

func TestGeneratePassword(t *testing.T) {
	seen := make(map[string]bool)
	for range 200 {
		password := string(generatePassword().Expose())
		if len(password) < 16 || strings.ContainsAny(password, "lIO01") {
			t.Fatalf("%q is short, or hard to read", password)
		}
		for _, class := range []string{generatedLower, generatedUpper, generatedDigits, generatedSigns} {
			if !strings.ContainsAny(password, class) {
				t.Fatalf("%q has none of %s", password, class)
			}
		}
		if seen[password] {
			t.Fatalf("%q came twice", password)
		}
		seen[password] = true
	}
	if n := len(generatedLower + generatedUpper + generatedDigits + generatedSigns); 256%n != 0 {
		t.Errorf("%d characters: a byte does not choose evenly among them", n)
	}
}

func TestG7_OldPasswordOfEveryForm(t *testing.T) {
	del, add := ldapwire.ModDelete, ldapwire.ModAdd
	old, neu := string(quoted(t, "Old-1")), string(quoted(t, "Neü-1"))
	for name, tt := range map[string]struct {
		mods []ldapwire.Mod
		want string // empty: none
	}{
		"unicodePwd":                    {[]ldapwire.Mod{modOf(add, "unicodePwd", neu), modOf(del, "UNICODEPWD", old)}, "Old-1"},
		"userPassword":                  {[]ldapwire.Mod{modOf(del, "userPassword", "Old-1"), modOf(add, "userPassword", "Neü-1")}, "Old-1"},
		"userPassword only cleaned up":  {[]ldapwire.Mod{modOf(del, "unicodePwd", old), modOf(add, "unicodePwd", neu), modOf(del, "userPassword", "stale")}, "Old-1"},
		"a reset":                       {[]ldapwire.Mod{modOf(ldapwire.ModReplace, "userPassword", "Neü-1")}, ""},
		"longer than any password":      {[]ldapwire.Mod{modOf(del, "userPassword", strings.Repeat("x", 5000))}, ""},
		"no password that could be one": {[]ldapwire.Mod{modOf(del, "unicodePwd", "x")}, ""},
	} {
		got, ok := oldPassword(ldapwire.AppendModifyRequest(nil, 1, aliceDN, tt.mods...))
		if text := string(got.Expose()); text != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: got %q, %t, want %q", name, text, ok, tt.want)
		}
	}
}
