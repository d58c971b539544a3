package jumpcloud

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

const (
	adID    = "64b0c0ffee64b0c0ffee0001"
	otherID = "64b0c0ffee64b0c0ffee0002"
)

// TestI4_UserDocument: only the named fields are written, and lists keep what
// others put there.
func TestI4_UserDocument(t *testing.T) {
	was := User{
		PhoneNumbers:     []PhoneNumber{{"other", "1"}, {"Work", "2"}, {"work", "3"}, {"mobile", "4"}},
		Addresses:        []Address{{Type: "home", Locality: "Bergen"}, {Type: "work", ExtendedAddress: "floor 3", Locality: "Oslo"}},
		RestrictedFields: []RestrictedField{{"email", "active_directory", adID}, {"email", "scim", otherID}, {"sudo", "active_directory", otherID}},
	}
	onlyOslo := User{Addresses: []Address{{Type: "work", Locality: "Oslo"}}}
	for _, tt := range []struct {
		name   string
		was    User
		fields []Field
		want   string
	}{
		{"text", was, []Field{{"firstname", "Åsa"}, {"manager", otherID}, {"external_dn", ""}}, `{"external_dn":"","firstname":"Åsa","manager":"64b0c0ffee64b0c0ffee0002"}`},
		{"flags", was, []Field{{"sudo", "true"}, {"state", "STAGED"}}, `{"state":"STAGED","sudo":true}`},
		{"delegated", was, []Field{{"delegatedAuthority", adID}}, `{"delegatedAuthority":{"name":"ActiveDirectory","id":"` + adID + `"}}`},
		{"not delegated", was, []Field{{"delegatedAuthority", ""}}, `{"delegatedAuthority":null}`},
		{"expiry", was, []Field{{"external_password_expiration_date", "2026-05-04T09:00:00Z"}}, `{"external_password_expiration_date":"2026-05-04T09:00:00Z"}`},
		{"phones", was, []Field{{"phoneNumbers.work", "22"}, {"phoneNumbers.home", "5"}, {"phoneNumbers.mobile", ""}},
			`{"phoneNumbers":[{"type":"other","number":"1"},{"type":"Work","number":"22"},{"type":"work","number":"3"},{"type":"home","number":"5"}]}`},
		{"phone emptied", was, []Field{{"phoneNumbers.work", ""}}, `{"phoneNumbers":[{"type":"other","number":"1"},{"type":"mobile","number":"4"}]}`},
		{"last phone emptied", User{PhoneNumbers: []PhoneNumber{{"work", "1"}}}, []Field{{"phoneNumbers.work", ""}}, `{"phoneNumbers":[]}`},
		{"address", was, []Field{{"addresses.work.locality", ""}, {"addresses.work.country", "NO"}},
			`{"addresses":[{"type":"home","locality":"Bergen"},{"type":"work","extendedAddress":"floor 3","country":"NO"}]}`},
		{"new address", User{}, []Field{{"addresses.work.poBox", "7"}}, `{"addresses":[{"type":"work","poBox":"7"}]}`},
		{"empty address", onlyOslo, []Field{{"addresses.work.locality", ""}}, `{"addresses":[]}`},
		{"restricted", was, []Field{{"restrictedFields", "firstname password"}},
			`{"restrictedFields":[{"field":"email","type":"scim","id":"` + otherID + `"},{"field":"sudo","type":"active_directory","id":"` + otherID + `"},` +
				`{"field":"firstname","type":"active_directory","id":"` + adID + `"},{"field":"password","type":"active_directory","id":"` + adID + `"}]}`},
		{"restricted by nobody", User{}, []Field{{"restrictedFields", ""}}, `{"restrictedFields":[]}`},
	} {
		before, _ := json.Marshal(tt.was)
		doc, err := userDocument(tt.fields, adID, &tt.was)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, err := json.Marshal(doc)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", tt.name, got, err, tt.want)
		}
		if after, _ := json.Marshal(tt.was); string(after) != string(before) {
			t.Errorf("%s: the user as it was became %s", tt.name, after)
		}
	}
	for _, bad := range []Field{{"password", "x"}, {"_id", "x"}, {"", ""}, {"sudo", "yes"}, {"state", "GONE"}, {"phoneNumbers.", "1"}, {"addresses.work.planet", "x"},
		{"addresses.home.country", "NO"}, {"external_password_expiration_date", "tomorrow"}, {"externally_managed", "true"}} {
		if doc, err := userDocument([]Field{bad}, adID, &User{}); err == nil {
			t.Errorf("%v: got %v, want an error", bad, doc)
		}
	}
	if doc, err := userDocument([]Field{{"restrictedFields", "email"}}, "", &User{}); err == nil {
		t.Errorf("no AD object: got %v, want an error", doc)
	}
}

// TestToIdentity: what is read is what was written, and a round trip changes
// nothing.
func TestToIdentity(t *testing.T) {
	raw := `{"_id":"65a000000000000000000001","username":"alice.ng","email":"alice.ng@corp.example","firstname":"Alice","lastname":"Ng",
		"displayname":"Alice Ng","description":"d","jobTitle":"Engineer","department":"R&D","company":"Corp","location":"Oslo HQ","employeeType":"staff",
		"state":"SUSPENDED","activated":true,"sudo":true,"manager":"65a000000000000000000002","password_date":"2026-01-02T03:04:05.000Z",
		"phoneNumbers":[{"id":"x","type":"work","number":"1"},{"type":"work","number":"2"},{"type":"mobile","number":"3"},{"type":"home","number":"4"},{"type":"work_fax","number":"5"}],
		"addresses":[{"type":"home","country":"SE"},{"id":"y","type":"work","streetAddress":"Gate 1","locality":"Oslo","region":"r","postalCode":"0150","country":"NO","poBox":"7"}],
		"external_dn":"CN=Alice","external_password_expiration_date":"2026-05-04T09:00:00.000Z","delegatedAuthority":{"name":"ActiveDirectory","id":"` + adID + `"},
		"restrictedFields":[{"field":"username","type":"active_directory","id":"` + adID + `"},{"field":"email","type":"active_directory","id":"` + adID + `"},
			{"field":"sudo","type":"scim","id":"` + adID + `"},{"field":"company","type":"active_directory","id":"` + otherID + `"}]}`
	var u User
	if err := json.Unmarshal([]byte(raw), &u); err != nil {
		t.Fatal(err)
	}
	want := identity.User{
		Side: identity.JumpCloud, ID: "65a000000000000000000001", Username: "alice.ng", Mail: "alice.ng@corp.example", First: "Alice", Last: "Ng",
		Disabled: true, State: "SUSPENDED", Activated: true, Sudo: true, PasswordDate: "2026-01-02T03:04:05.000Z",
		Manager: identity.Ref{ID: "65a000000000000000000002"}, ExternalDN: "CN=Alice", DelegatedTo: adID, Restricted: "email username",
		PasswordExpires: time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC),
		Profile: identity.Profile{DisplayName: "Alice Ng", Description: "d", JobTitle: "Engineer", Department: "R&D", Company: "Corp", Location: "Oslo HQ",
			EmployeeType: "staff", WorkPhone: "1", MobilePhone: "3", HomePhone: "4", WorkFax: "5",
			Address: identity.Address{Street: "Gate 1", Locality: "Oslo", Region: "r", PostalCode: "0150", Country: "NO", POBox: "7"}},
	}
	if got := ToIdentity(&u, adID); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	u.ExternalExpiry, u.DelegatedAuthority, u.State, u.Suspended = "soon", nil, "ACTIVATED", false
	if got := ToIdentity(&u, otherID); !got.PasswordExpires.IsZero() || got.DelegatedTo != "" || got.Restricted != "company" || got.Disabled {
		t.Errorf("got %+v", got)
	}
}

// TestI5_GroupDocument: a group is replaced as a whole, so what is not meant
// must be written back.
func TestI5_GroupDocument(t *testing.T) {
	var was map[string]json.RawMessage
	raw := `{"id":"1","type":"user_group","organizationObjectId":"2","suggestionCounts":{},"memberQueryErrorFlags":[],"email":"g@corp.example","name":"Old",
		"description":"d","attributes":{"sudo":{"enabled":true}},"memberQuery":null,"membershipMethod":"STATIC","addedSomeDay":[1]}`
	if err := json.Unmarshal([]byte(raw), &was); err != nil {
		t.Fatal(err)
	}
	doc, err := groupDocument(was, []Field{{"name", "New"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(doc)
	want := `{"addedSomeDay":[1],"attributes":{"sudo":{"enabled":true}},"description":"d","email":"g@corp.example","membershipMethod":"STATIC","name":"New"}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	for _, bad := range []Field{{"name", ""}, {"email", "x"}, {"attributes", ""}} {
		if _, err := groupDocument(was, []Field{bad}); err == nil {
			t.Errorf("%v: got no error", bad)
		}
	}
	for method, dynamic := range map[string]bool{"": false, "NOTSET": false, "STATIC": false, "DYNAMIC_AUTOMATED": true, "DYNAMIC_REVIEW_REQUIRED": true} {
		if g := (&Group{MembershipMethod: method}); g.Dynamic() != dynamic || g.ToIdentity().Dynamic != dynamic {
			t.Errorf("%q: got dynamic %t", method, g.Dynamic())
		}
	}
}

func FuzzUserDocument(f *testing.F) {
	f.Add("phoneNumbers.work", "1", `{"phoneNumbers":[{"type":"work"}]}`)
	f.Add("addresses.work.country", "NO", `{"addresses":[{"type":"home"}]}`)
	f.Add("restrictedFields", "a b", `{"restrictedFields":[{"field":"a"}]}`)
	f.Fuzz(func(t *testing.T, name, to, raw string) {
		var was User
		if json.Unmarshal([]byte(raw), &was) != nil {
			return
		}
		doc, err := userDocument([]Field{{name, to}}, adID, &was)
		if err != nil {
			return
		}
		if len(doc) != 1 {
			t.Fatalf("%q: %d fields would be written", name, len(doc))
		}
		if _, err := json.Marshal(doc); err != nil {
			t.Fatal(err)
		}
	})
}
