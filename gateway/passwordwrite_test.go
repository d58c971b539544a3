package gateway

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/identity"
)

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
