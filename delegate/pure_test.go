package delegate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
)

func pw(text string) secret.Bytes { return secret.New([]byte(text)) }

// TestD2_Reasons: every sub-code, and what is no answer is no verdict.
func TestD2_Reasons(t *testing.T) {
	for _, tt := range []struct {
		code    ldapwire.ResultCode
		sub     string
		want    Outcome
		reason  Reason
		correct bool
	}{
		{ldapwire.ResultSuccess, "", Accepted, "", true},
		{49, "52e", Refused, BadCredentials, false}, {49, "525", Refused, NoSuchUser, false},
		{49, "52f", Refused, NotPermittedNow, false}, {49, "530", Refused, NotPermittedNow, true}, {49, "531", Refused, NotPermittedNow, true},
		{49, "532", Refused, Expired, true}, {49, "533", Refused, Disabled, true}, {49, "701", Refused, AccountExpired, true},
		{49, "773", Refused, MustChange, true}, {49, "775", Refused, LockedOut, false},
		{49, "568", Refused, BadCredentials, false}, {49, "", Refused, BadCredentials, false},
		{ldapwire.ResultUnavailable, "", Undecided, Unavailable, false}, {ldapwire.ResultBusy, "", Undecided, Unavailable, false},
		{ldapwire.ResultUnwillingToPerform, "", Undecided, Unavailable, false}, {80, "", Undecided, Unavailable, false},
	} {
		res := ldapwire.Result{Code: tt.code}
		if tt.sub != "" {
			res.Diagnostic = []byte("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data " + tt.sub + ", v4563\x00")
		}
		if v := fromAD(res); v.Verdict != tt.want || v.Reason != tt.reason || v.PasswordCorrect != tt.correct {
			t.Errorf("%d %s: got %+v", tt.code, tt.sub, v)
		}
	}
	for _, tt := range []struct {
		code    ldapwire.ResultCode
		user    CloudUser
		want    Outcome
		reason  Reason
		correct bool
	}{
		{0, CloudUser{}, Accepted, "", true}, {0, CloudUser{Suspended: true}, Refused, Disabled, true}, {0, CloudUser{Expired: true}, Refused, Expired, true},
		{49, CloudUser{}, Refused, BadCredentials, false}, {49, CloudUser{Suspended: true}, Refused, BadCredentials, false},
		{49, CloudUser{Locked: true}, Refused, LockedOut, false}, {52, CloudUser{}, Undecided, Unavailable, false},
	} {
		if v := fromCloud(ldapwire.Result{Code: tt.code}, tt.user); v.Verdict != tt.want || v.Reason != tt.reason || v.PasswordCorrect != tt.correct {
			t.Errorf("JumpCloud %d %+v: got %+v", tt.code, tt.user, v)
		}
	}
}

func TestParseName(t *testing.T) {
	for _, tt := range []struct {
		text string
		want name
		ok   bool
	}{
		{"alice", name{nameSAM, "", "alice"}, true},
		{" alice ", name{nameSAM, "", "alice"}, true},
		{`CORP\alice`, name{nameSAM, "CORP", "alice"}, true},
		{"alice@corp.example.test", name{nameMail, "", "alice@corp.example.test"}, true},
		{`CN=Al\, ice,DC=corp`, name{nameDN, "", `CN=Al\, ice,DC=corp`}, true},
		{"uid=alice,ou=Users,o=5f,dc=jumpcloud,dc=com", name{nameCloud, "", "alice"}, true},
		{"UID=Alice, OU=Users, O=5f, DC=jumpcloud, DC=com", name{nameCloud, "", "alice"}, true},
		{"", name{}, false}, {"a\x00b", name{}, false}, {"\xff", name{}, false}, {`\alice`, name{}, false}, {"@corp", name{}, false},
		{strings.Repeat("a", MaxName+1), name{}, false},
	} {
		if got, ok := parseName(tt.text); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q: got %+v, %v", tt.text, got, ok)
		}
	}
}

func rulesOf(list []Violation) (rules []Rule) {
	for _, v := range list {
		rules = append(rules, v.Rule)
		if v.Text == "" {
			rules = append(rules, "no text")
		}
	}
	return rules
}

// TestD4_ADPolicy: each rule that can be checked outside AD, and only those that
// are set.
func TestD4_ADPolicy(t *testing.T) {
	names := Names{SAM: "aarcher", Display: "Alice Q. Archer-Ö"}
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name     string
		p        ADPolicy
		password string
		set      time.Time
		want     []Rule
	}{
		{"no rules", ADPolicy{}, "a", time.Time{}, nil},
		{"one too short", ADPolicy{MinLength: 8}, "1234567", time.Time{}, []Rule{RuleMinLength}},
		{"long enough in characters", ADPolicy{MinLength: 4}, "äöüß", time.Time{}, nil},
		{"two kinds", ADPolicy{Complexity: true}, "abc123", time.Time{}, []Rule{RuleComplexity}},
		{"three kinds", ADPolicy{Complexity: true}, "Abc123", time.Time{}, nil},
		{"letters without case are a kind", ADPolicy{Complexity: true}, "a1漢", time.Time{}, nil},
		{"the account's name", ADPolicy{Complexity: true}, "xxAARCHER1!", time.Time{}, []Rule{RuleNameInside}},
		{"part of the display name", ADPolicy{Complexity: true}, "1!myALICE", time.Time{}, []Rule{RuleNameInside}},
		{"a short part is no part", ADPolicy{Complexity: true}, "Q1!xyz", time.Time{}, nil},
		{"too young", ADPolicy{MinAge: 24 * time.Hour}, "a", now.Add(-23 * time.Hour), []Rule{RuleMinAge}},
		{"old enough", ADPolicy{MinAge: 24 * time.Hour}, "a", now.Add(-24 * time.Hour), nil},
	} {
		if got := rulesOf(CheckAD(tt.p, names, pw(tt.password), tt.set, now)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestP3_CloudPolicy(t *testing.T) {
	names := Names{CloudUsername: "alice"}
	for _, tt := range []struct {
		p        CloudPolicy
		password string
		want     []Rule
	}{
		{CloudPolicy{}, "a", nil},
		{CloudPolicy{MinLength: 3}, "ab", []Rule{RuleMinLength}},
		{CloudPolicy{Lowercase: true, Uppercase: true, Numeric: true, Symbolic: true}, "", []Rule{RuleLowercase, RuleUppercase, RuleNumeric, RuleSymbolic}},
		{CloudPolicy{Lowercase: true, Uppercase: true, Numeric: true, Symbolic: true}, "aB1-", nil},
		{CloudPolicy{NoUsername: true}, "myALICE1", []Rule{RuleNameInside}},
		{CloudPolicy{NoSequences: true}, "xaaax", []Rule{RuleSequential}}, {CloudPolicy{NoSequences: true}, "x321", []Rule{RuleSequential}},
		{CloudPolicy{NoSequences: true}, "a1b2a1", nil},
	} {
		if got := rulesOf(CheckCloud(tt.p, names, pw(tt.password))); !slices.Equal(got, tt.want) {
			t.Errorf("%+v %q: got %v, want %v", tt.p, tt.password, got, tt.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Second: "1 minute", 61 * time.Second: "2 minutes", time.Hour: "1 hour", 25 * time.Hour: "2 days", 24 * time.Hour: "1 day"} {
		if got := span(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}

func TestClientKey(t *testing.T) {
	for in, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8:0:1:2::3": "2001:db8:0:1::/64", "x": ""} {
		if got := clientKey(in); got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
}
