package plan

import (
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestI7_Orders: what a person ordered for a user holds against the use case,
// and nothing else of it changes.
func TestI7_Orders(t *testing.T) {
	const adID = "5f0000000000000000000001"
	tests := []struct {
		name      string
		use       identity.UseCase
		delegated bool
		link      identity.Link
		password  bool // is among the restricted fields
		delegate  string
		profile   bool // so is the first name
	}{
		{"AD, nothing ordered", identity.UseAD, true, identity.Link{}, true, adID, true},
		{"AD, not delegated", identity.UseAD, false, identity.Link{}, true, "", true},
		{"AD, the password to JumpCloud", identity.UseAD, true, identity.Link{PasswordAuthority: identity.JumpCloud}, false, adID, true},
		{"AD, checked by JumpCloud", identity.UseAD, true, identity.Link{Delegation: identity.JumpCloud}, true, "", true},
		{"AD, checked by AD whatever the domain says", identity.UseAD, false, identity.Link{Delegation: identity.AD}, true, adID, true},
		{"AD, what is so already", identity.UseAD, true, identity.Link{PasswordAuthority: identity.AD, Delegation: identity.AD}, true, adID, true},
		{"two-way, nothing ordered", identity.UseTwoWay, true, identity.Link{}, false, "", false},
		{"two-way, both to AD", identity.UseTwoWay, false, identity.Link{PasswordAuthority: identity.AD, Delegation: identity.AD}, true, adID, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.link.JumpCloudID = "u1"
			ad := identity.User{Username: "alice", Mail: "alice@corp.example.test", First: "Alice", Last: "Liddell"}
			cloud := ad
			v := User(UserCase{Settings: Settings{ADID: adID, Use: tt.use, Delegated: tt.delegated}, AD: &ad, Link: &tt.link, Cloud: &cloud, Bound: true})
			for _, a := range v.Actions {
				for _, f := range a.Fields {
					Set(&cloud, f.Name, f.To)
				}
			}
			has := func(name string) bool { return strings.Contains(" "+cloud.Restricted+" ", " "+name+" ") }
			if has("password") != tt.password || has(FieldFirst) != tt.profile || cloud.DelegatedTo != tt.delegate {
				t.Errorf("restricted %q, delegated to %q", cloud.Restricted, cloud.DelegatedTo)
			}
			if again := User(UserCase{Settings: Settings{ADID: adID, Use: tt.use, Delegated: tt.delegated}, AD: &ad, Link: &tt.link, Cloud: &cloud, Bound: true}); len(again.Actions) > 0 {
				t.Errorf("planned again: %+v", again.Actions)
			}
		})
	}
}
