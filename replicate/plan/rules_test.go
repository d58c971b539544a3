package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestS3_Rules: what a rule says is written to the letter, and what is not
// understood is named and not written.
func TestS3_Rules(t *testing.T) {
	u := &identity.User{Username: "alice", First: "Alice", Last: "Ng", Mail: "a@x.example", Profile: identity.Profile{Department: "R&D", WorkPhone: "1"}}
	tests := []struct {
		kind                identity.RuleSource
		source, destination string
		value, note         string // of a note a part
	}{
		{identity.RulePath, "department", "department", "R&D", ""},
		{identity.RulePath, "jcUser.department", "info", "R&D", ""},
		{identity.RulePath, "phoneNumbers.work", "telephoneNumber", "1", ""},
		{identity.RulePath, "domain.domainName", "info", "corp.example", ""},
		{identity.RulePath, "costCenter", "info", "", `"costCenter" is not a field that is known here`},
		{identity.RulePath, "manager", "info", "", `"manager" is not a field`},
		{identity.RuleConstant, "42", "extensionAttribute1", "42", ""},
		{identity.RuleExpr, "jcUser.username + '@' + domain.domainName", "info", "alice@corp.example", ""},
		{identity.RuleExpr, `jcUser.firstname+" "+jcUser.lastname`, "info", "Alice Ng", ""},
		{identity.RuleExpr, "'only text'", "info", "only text", ""},
		{identity.RuleExpr, "jcUser.company + '!'", "info", "", ""}, // without a company there is no value
		{identity.RuleExpr, "jcUser.username.toUpperCase()", "info", "", "is not a field"},
		{identity.RuleExpr, "upper(jcUser.username)", "info", "", "more than texts and fields"},
		{identity.RuleExpr, "jcUser.username +", "info", "", "more than texts and fields"},
		{identity.RuleExpr, "jcUser.username - 'x'", "info", "", "more than texts and fields"},
		{identity.RuleExpr, "jcUser.username 'x'", "info", "", "more than texts and fields"},
		{identity.RuleExpr, `'it\'s'`, "info", "", "more than texts and fields"},
		{identity.RuleExpr, "'open", "info", "", "more than texts and fields"},
		{identity.RuleExpr, "username", "info", "", "more than texts and fields"},
		{identity.RuleExpr, "", "info", "", "more than texts and fields"},
		{identity.RuleTemplate, "{{.jcUser.firstname}}.{{ .jcUser.lastname }}", "info", "Alice.Ng", ""},
		{identity.RuleTemplate, "{{.domain.domainName}}", "info", "corp.example", ""},
		{identity.RuleTemplate, "{{.jcUser.username | printf \"%s\"}}", "info", "", "cannot be read"},
		{identity.RuleTemplate, "{{if .jcUser.username}}x{{end}}", "info", "", "more than texts and fields"},
		{identity.RuleTemplate, "{{.jcUser}}", "info", "", "more than texts and fields"},
		{identity.RuleTemplate, "{{template \"x\"}}", "info", "", "more than texts and fields"},
		{identity.RuleTemplate, "{{", "info", "", "cannot be read"},
		{"JSONATA", "x", "info", "", `source type "JSONATA" is not known`},
		{identity.RuleConstant, "x", "unicodePwd", "", "never written by a rule"},
		{identity.RuleConstant, "x", "USERACCOUNTCONTROL", "", "never written by a rule"},
		{identity.RuleConstant, "x", "msDS-KeyCredentialLink", "", "never written by a rule"},
		{identity.RuleConstant, "x", "mS-DS-ConsistencyGuid", "", "never written by a rule"},
		{identity.RuleConstant, "0", "uidNumber", "", "never written by a rule"},
		{identity.RuleConstant, "x", "profilePath", "", "never written by a rule"},
		{identity.RuleConstant, "x", "manager", "", "never written by a rule"},
		{identity.RuleConstant, "x", "member", "", "never written by a rule"},
		{identity.RuleConstant, "x", "adminCount", "", "never written by a rule"},
		{identity.RuleConstant, "x", "nTSecurityDescriptor", "", "never written by a rule"},
		{identity.RuleConstant, "x", "customAttributes.shoe", "", "which AD does not have"},
		{identity.RuleConstant, "x", "a b", "", "not the name of an attribute"},
		{identity.RuleConstant, "x", "", "", "not the name of an attribute"},
		{identity.RulePath, "lastname", "givenName", "", "givenName always comes from firstname"},
		{identity.RulePath, "username", "sAMAccountName", "", "carried out on creation alone"},
	}
	for _, tt := range tests {
		r := rulesOf(identity.TranslationRule{ID: "r7", Source: tt.source, Destination: tt.destination, SourceType: tt.kind})
		made, _ := r.values(u, "corp.example", identity.RuleOnUpdate)
		got := ""
		for _, e := range made {
			got += e.value
		}
		notes := strings.Join(r.Notes, "; ")
		if got != tt.value || !strings.Contains(notes, tt.note) || (tt.note == "") != (notes == "") || notes != "" && !strings.Contains(notes, "r7") {
			t.Errorf("%s %q: got %q, notes %q", tt.kind, tt.source, got, notes)
		}
	}
}

func TestS3_RulesTogether(t *testing.T) {
	create, update := identity.RuleOnCreate, identity.RuleOnUpdate
	r := rulesOf(
		identity.TranslationRule{ID: "1", Source: "department", Destination: "Department", SourceType: identity.RulePath, AppliedOn: []identity.RuleOccasion{update}},
		identity.TranslationRule{ID: "2", Source: "company", Destination: "department", SourceType: identity.RulePath, AppliedOn: []identity.RuleOccasion{create, update}},
		identity.TranslationRule{ID: "3", Source: "lastname", Destination: "sn", SourceType: identity.RulePath, AppliedOn: []identity.RuleOccasion{create}},
		identity.TranslationRule{ID: "4", Source: "company", Destination: "company", SourceType: identity.RulePath, Required: true},
		identity.TranslationRule{ID: "5", Source: "location", Destination: "l", SourceType: identity.RulePath},
	)
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "(2): another rule has that destination") {
		t.Errorf("notes are %q", r.Notes)
	}
	for field, want := range map[string]bool{FieldFirst: true, "department": true, "company": true, "location": false, FieldEmail: false} {
		if r.exported(field) != want || (*Rules)(nil).exported(field) != (field == FieldFirst) {
			t.Errorf("%s exported: %v", field, !want)
		}
	}
	u := &identity.User{First: "A", Last: "B", Profile: identity.Profile{Department: "D", Location: "L"}}
	all, note := r.exports(u, "corp.example")
	var got []string
	for _, e := range all {
		got = append(got, e.attr+"="+e.value)
	}
	if want := "givenName=A sn=B Department=D l=L"; strings.Join(got, " ") != want || !strings.Contains(note, "company is required") {
		t.Errorf("got %v, note %q, want %s", got, note, want)
	}
	imports := NewRules([]identity.TranslationRule{{ID: "6", Direction: identity.RuleImport, Destination: "department"}})
	if len(imports.list) != 0 || len(imports.Notes) != 1 {
		t.Errorf("a rule of the other direction: %+v", imports)
	}
}

// FuzzExpression: a source either is not understood, or is fields and texts
// that all stand in it.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{"jcUser.username + '@' + domain.domainName", `"a"+'b'`, "{{.jcUser.firstname}} x {{.domain.domainName}}", "{{range .}}{{end}}", "'", "+", "{{", "\x00"} {
		f.Add(seed)
	}
	u := &identity.User{Username: "USER", First: "FIRST", Last: "LAST", Mail: "MAIL"}
	f.Fuzz(func(t *testing.T, source string) {
		for _, read := range []func(string) ([]part, error){readExpression, readTemplate, readPath} {
			parts, err := read(source)
			if err != nil {
				continue
			}
			if len(parts) == 0 {
				t.Fatalf("%q: nothing", source)
			}
			for _, p := range parts {
				is := p.of(u, "DOMAIN")
				switch {
				case p.other && strings.Contains(source, "domainName"):
				case p.field != "" && strings.Contains(source, p.field):
				case p.field == "" && !p.other && (strings.Contains(source, p.text) || strings.Contains(source, "{{")):
				default:
					t.Fatalf("%q: %+v is %q", source, p, is)
				}
			}
		}
	})
}

// TestS2_Names holds the rules of names in AD.
func TestS2_Names(t *testing.T) {
	for name, good := range map[string]bool{"alice": true, "a.b-c_d": true, "O'Neil": true, "zoë": true, strings.Repeat("x", 20): true, strings.Repeat("ü", 20): true,
		"": false, " ": false, " a": false, "a ": false, "a.": false, strings.Repeat("x", 21): false, "a@b": false, `a\b`: false, "a\x00": false, "a\tb": false, "a\xff": false, "a*": false, `a"`: false} {
		if bad := badSAM(name, maxUserSAM); (bad == "") != good {
			t.Errorf("%q: %q", name, bad)
		}
	}
	for dn, want := range map[string]string{`CN=Ng\, Alice,DC=x`: "Ng, Alice", `CN=a\2Cb\C3\A4,OU=y`: "a,bä", "CN=x+OU=z,DC=y": "x", `CN=\#1`: "#1", "": "", `CN=a\`: `a\`} {
		if got := rdn(dn); got != want {
			t.Errorf("%s: got %q, want %q", dn, got, want)
		}
	}
	for _, tt := range []struct{ first, last, want string }{
		{"Alice", "Ng", "Alice Ng|Alice Ng (alice)|alice"}, {"", "", "alice|alice|alice"}, {"", "Ng", "Ng|Ng (alice)|alice"},
		{strings.Repeat("A", 40), strings.Repeat("B", 23), strings.Repeat("A", 40) + " " + strings.Repeat("B", 23) + "|alice"},
	} {
		if got := strings.Join(commonNames(&identity.User{First: tt.first, Last: tt.last}, "alice"), "|"); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// TestRulesWritten: a right of its own takes only what is written to accounts
// that exist.
func TestRulesWritten(t *testing.T) {
	rule := func(to string, on ...identity.RuleOccasion) identity.TranslationRule {
		return identity.TranslationRule{ID: to, Source: "department", Destination: to, SourceType: identity.RulePath, Direction: identity.RuleExport, AppliedOn: on}
	}
	rules := NewRules([]identity.TranslationRule{rule("department", identity.RuleOnCreate, identity.RuleOnUpdate), rule("division", identity.RuleOnCreate), rule("info", identity.RuleOnUpdate)})
	if got := rules.Written(); !slices.Equal(got, []string{"department", "info"}) {
		t.Errorf("got %q, notes %q", got, rules.Notes)
	}
}
