package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

var (
	may     = time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	aliceAD = identity.User{GUID: identity.GUID{1}, DN: "CN=Alice,DC=corp", Username: "alice", Mail: "alice@corp.example", UPN: "ally@corp.example",
		First: "Alice", Last: "Ng", InRoot: true}
	aliceJC = identity.User{ID: "j1", Username: "alice", Mail: "alice@corp.example", First: "Alice", Last: "Ng", ExternalDN: "CN=Alice,DC=corp"}
	twoWay  = Settings{Domain: "corp.example", ADID: "ad1", Use: identity.UseTwoWay}
)

// linkedCase is Alice, imported, with nothing to do.
func linkedCase(change func(*UserCase)) UserCase {
	ad, cloud := aliceAD, aliceJC
	c := UserCase{Settings: twoWay, Now: may, AD: &ad, Cloud: &cloud, Bound: true,
		Link: &identity.Link{GUID: ad.GUID, JumpCloudID: "j1", Username: "alice"}}
	change(&c)
	return c
}

// newCase is Alice, not imported yet.
func newCase(change func(*UserCase)) UserCase {
	return linkedCase(func(c *UserCase) {
		c.Link, c.Cloud, c.Bound = nil, nil, false
		change(c)
	})
}

// told writes a verdict in one line: kinds and fields, then skip and note.
func told(v Verdict) string {
	var b strings.Builder
	for _, a := range v.Actions {
		fmt.Fprintf(&b, "%s", a.Kind)
		for _, f := range a.Fields {
			fmt.Fprintf(&b, " %s=%s", f.Name, f.To)
		}
		b.WriteString("; ")
	}
	return b.String() + v.Skip + v.Note
}

func TestUser(t *testing.T) {
	holder := func(h Holder) func(*UserCase) { return func(c *UserCase) { c.Holders = []Holder{h} } }
	boss := &identity.Link{GUID: identity.GUID{2}, JumpCloudID: "j2"}
	tests := []struct {
		name string
		c    UserCase
		want string // begins with it
	}{
		{"I1 created", newCase(func(*UserCase) {}), "create-user username=alice email=alice@corp.example firstname=Alice lastname=Ng external_dn=CN=Alice,DC=corp; bind-user; "},
		{"I4 the UPN stands in for a missing mail", newCase(func(c *UserCase) { c.AD.Mail = "" }), "create-user username=alice email=ally@corp.example"},
		{"I4 user_field_mapping", newCase(func(c *UserCase) { c.Mapping.UsernameFrom = identity.FromUPN }), "create-user username=ally "},
		{"I4 sync_additional_attributes", newCase(func(c *UserCase) { c.AD.Profile.WorkPhone = "1" }), "create-user username=alice email=alice@corp.example firstname=Alice lastname=Ng phoneNumbers.work=1"},
		{"I4 without them", newCase(func(c *UserCase) { c.AD.Profile.WorkPhone, c.Mapping.BasicOnly = "1", true }), "create-user username=alice email=alice@corp.example firstname=Alice lastname=Ng external_dn"},
		{"I7 AD is the authority", newCase(func(c *UserCase) { c.Use, c.Mapping.BasicOnly = identity.UseAD, true }),
			"create-user username=alice email=alice@corp.example firstname=Alice lastname=Ng external_dn=CN=Alice,DC=corp restrictedFields=email firstname lastname password username; bind-user; "},
		{"I7 delegated", linkedCase(func(c *UserCase) {
			c.Use, c.Delegated, c.Cloud.Restricted = identity.UseAD, true, restricted(false)
		}), "update-user delegatedAuthority=ad1; "},
		{"I5 a member of JumpCloud Admins", newCase(func(c *UserCase) { c.Admin = true }), "create-user username=alice email=alice@corp.example firstname=Alice lastname=Ng external_dn=CN=Alice,DC=corp sudo=true; "},
		{"nothing where JumpCloud is the authority", newCase(func(c *UserCase) { c.Use = identity.UseJumpCloud }), "users are managed in JumpCloud"},

		{"I1 privileged", newCase(func(c *UserCase) { c.AD.Privileged = true }), "privileged account"},
		{"I1 privileged later: left as it is", linkedCase(func(c *UserCase) { c.AD.Privileged, c.Out = true, "out" }), "privileged account"},
		{"I1 a computer", newCase(func(c *UserCase) { c.AD.Computer = true }), "not a person's"},
		{"I1 without a surname", newCase(func(c *UserCase) { c.AD.Last = "" }), "JumpCloud needs a first and a last name"},
		{"I1 lost its surname", linkedCase(func(c *UserCase) { c.AD.Last = "" }), "JumpCloud needs a first and a last name"},
		{"I1 without an address", newCase(func(c *UserCase) { c.AD.Mail, c.AD.UPN = "", "" }), "no mail address"},
		{"I1 with half an address", newCase(func(c *UserCase) { c.AD.Mail = "alice" }), `"alice" is not a mail address`},
		{"I1 a name JumpCloud does not take", newCase(func(c *UserCase) { c.AD.Username = "1alice" }), `username "1alice"`},
		{"I1 and another", newCase(func(c *UserCase) { c.AD.Username = "alice ng" }), `username "alice ng"`},
		{"I1 out of scope", newCase(func(c *UserCase) { c.Out = "not a member of the scope group" }), "not a member of the scope group"},
		{"I1 two with one address", newCase(func(c *UserCase) { c.Rival = "mail address is that of CN=Bob too" }), "mail address is that of CN=Bob too"},
		{"I1 disabled", newCase(func(c *UserCase) { c.AD.Disabled = true }), "disabled in AD: a user is made"},
		{"I1 expired", newCase(func(c *UserCase) { c.AD.AccountExpires = may }), "expired in AD: a user is made"},

		{"I3 taken over", newCase(holder(Holder{User: aliceJC})), "link; bind-user; "},
		{"I6 taken over and deactivated", newCase(func(c *UserCase) {
			c.Holders, c.Actions.Takeover = []Holder{{User: aliceJC}}, identity.ActionDeactivate
		}), "link; bind-user; expire-password; "},
		{"I3 the name alone is another person", newCase(holder(Holder{User: identity.User{ID: "j9", Username: "ALICE", Mail: "x@y"}})), `JumpCloud user j9 has username "ALICE" but mail "x@y"`},
		{"I3 the address alone is another person", newCase(holder(Holder{User: identity.User{ID: "j9", Username: "x", Mail: "Alice@corp.example"}})), `JumpCloud user j9 has mail "Alice@corp.example" but username "x"`},
		{"I3 linked to another that keeps the name", newCase(holder(Holder{User: aliceJC, Link: boss, Username: "alice", Mail: "alice@corp.example"})), `username "alice" belongs to JumpCloud user j1 of another AD account`},
		{"I3 linked to another that gave the name up", newCase(holder(Holder{User: aliceJC, Link: boss, Username: "bob", Mail: "bob@corp.example"})),
			"update-user username=alice.00000002 email=alice.00000002@corp.example; create-user username=alice"},

		{"I3 unchanged", linkedCase(func(*UserCase) {}), ""},
		{"I3 names are the same in any case", linkedCase(func(c *UserCase) { c.AD.Username, c.Cloud.Mail = "Alice", "ALICE@CORP.EXAMPLE" }), ""},
		{"I3 renamed", linkedCase(func(c *UserCase) { c.AD.Username, c.AD.DN = "alina", "CN=Alina,DC=corp" }), "update-user username=alina external_dn=CN=Alina,DC=corp; "},
		{"I3 the new name belongs to somebody of JumpCloud's", linkedCase(func(c *UserCase) {
			c.AD.Username, c.AD.Last, c.Holders = "alina", "Berg", []Holder{{User: identity.User{ID: "j9", Username: "alina", Mail: "a@b"}}}
		}), `update-user lastname=Berg; username "alina" belongs to JumpCloud user j9, which was not imported`},
		{"I3 two swap their names", linkedCase(func(c *UserCase) {
			c.AD.Username, c.Holders = "bob", []Holder{{User: identity.User{ID: "j2", Username: "bob", Mail: "bob@corp.example"}, Link: boss, Username: "alice", Mail: "bob@corp.example"}}
		}), "update-user username=bob.00000002; update-user username=bob; "},
		{"I4 emptied", linkedCase(func(c *UserCase) {
			c.Cloud.Profile.Department, c.Link.Agreed = "Sales", map[string]string{"department": "Sales"}
		}), "update-user department=; "},
		{"I4 what JumpCloud has and AD never had goes where AD is the authority", linkedCase(func(c *UserCase) {
			c.Use, c.Cloud.Profile.Department, c.Cloud.Restricted = identity.UseAD, "Sales", restricted(false)
		}), "update-user department=; "},
		{"S5 and stays where both are", linkedCase(func(c *UserCase) { c.Cloud.Profile.Department = "Sales" }), "edited in JumpCloud, not exported to AD, and left so: department"},
		{"I4 the password's expiry", linkedCase(func(c *UserCase) { c.AD.PasswordExpires = may }), "update-user external_password_expiration_date=2026-05-01T08:00:00Z; "},
		{"I4 the manager", linkedCase(func(c *UserCase) { c.AD.Manager.GUID, c.ManagerID = boss.GUID, "j2" }), "update-user manager=j2; "},
		{"I4 a manager who is no user keeps what is there", linkedCase(func(c *UserCase) { c.AD.Manager.GUID, c.Cloud.Manager.ID = boss.GUID, "j7" }), ""},
		{"I4 no manager any more", linkedCase(func(c *UserCase) {
			c.Cloud.Manager.ID, c.Link.Agreed = "j7", map[string]string{"manager": "j7"}
		}), "update-user manager=; "},
		{"I7 the binding is missing", linkedCase(func(c *UserCase) { c.Bound = false }), "bind-user; "},
		{"I5 sudo of JumpCloud's own giving stays", linkedCase(func(c *UserCase) { c.Cloud.Sudo = true }), ""},
		{"I5 sudo that the import gave goes", linkedCase(func(c *UserCase) { c.Cloud.Sudo, c.Link.SudoGiven = true, true }), "update-user sudo=false; "},

		{"I6 disabled", linkedCase(func(c *UserCase) { c.AD.Disabled = true }), "suspend; "},
		{"I6 disabled, ignored", linkedCase(func(c *UserCase) { c.AD.Disabled, c.Actions.Disable = true, identity.ActionIgnore }), ""},
		{"I6 disabled, removed", linkedCase(func(c *UserCase) { c.AD.Disabled, c.Actions.Disable = true, identity.ActionRemove }), "delete-user; unlink; "},
		{"I6 disabled, unbound", linkedCase(func(c *UserCase) { c.AD.Disabled, c.Actions.Disable = true, identity.ActionUnbind }), "unbind-user; unlink; "},
		{"I6 disabled does not follow dissociation", linkedCase(func(c *UserCase) { c.AD.Disabled, c.Actions.Dissociation = true, identity.ActionRemove }), "suspend; "},
		{"I6 disabled and suspended", linkedCase(func(c *UserCase) { c.AD.Disabled, c.Cloud.Disabled = true, true }), ""},
		{"I6 enabled again", linkedCase(func(c *UserCase) { c.Cloud.Disabled, c.Link.SuspendedByUs = true, true }), "activate; "},
		{"I6 suspended by an administrator of JumpCloud", linkedCase(func(c *UserCase) { c.Cloud.Disabled = true }), "suspended at JumpCloud, not for AD"},
		{"I6 expired", linkedCase(func(c *UserCase) { c.AD.AccountExpires = may }), "expire-password; "},
		{"I6 expired, once", linkedCase(func(c *UserCase) { c.AD.AccountExpires, c.Link.ExpiredFor = may, may }), ""},
		{"I6 not expired yet", linkedCase(func(c *UserCase) { c.AD.AccountExpires = may.Add(1) }), ""},
		{"I6 expired, suspended", linkedCase(func(c *UserCase) { c.AD.AccountExpires, c.Actions.Expire = may, identity.ActionSuspend }), "suspend; "},
		{"I6 expired, ignored", linkedCase(func(c *UserCase) { c.AD.AccountExpires, c.Actions.Expire = may, identity.ActionIgnore }), ""},
		{"I6 deleted in AD", linkedCase(func(c *UserCase) { c.AD = nil }), "delete-user; unlink; "},
		{"I6 deleted in AD, unbound", linkedCase(func(c *UserCase) { c.AD, c.Actions.Dissociation = nil, identity.ActionUnbind }), "unbind-user; unlink; "},
		{"I6 left the scope", linkedCase(func(c *UserCase) { c.Out = "not a member" }), "delete-user; unlink; "},
		{"gone on both sides", linkedCase(func(c *UserCase) { c.AD, c.Cloud = nil, nil }), "unlink; "},
		{"deleted in JumpCloud, which sync carries to AD", linkedCase(func(c *UserCase) { c.Cloud = nil }), "the JumpCloud user was deleted there"},
		{"deleted in JumpCloud where AD is the authority", linkedCase(func(c *UserCase) { c.Cloud, c.Use = nil, identity.UseAD }), "unlink; create-user"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := told(User(tt.c))
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestI5_Group(t *testing.T) {
	g := identity.Group{GUID: identity.GUID{9}, Name: "Sales", Security: true, InRoot: true}
	linked := func(change func(*GroupCase)) GroupCase {
		ad := g
		c := GroupCase{Settings: twoWay, AD: &ad, Bound: true, Cloud: &identity.Group{ID: "g1", Name: "Sales", MemberIDs: []string{"j1", "j2", "own"}},
			Link: &identity.GroupLink{GUID: g.GUID, GroupID: "g1", Name: "Sales", Agreed: []string{"j1", "j2"}},
			Want: []string{"j1", "j2"}, Managed: map[string]bool{"j1": true, "j2": true, "j3": true}}
		change(&c)
		return c
	}
	fresh := func(change func(*GroupCase)) GroupCase {
		return linked(func(c *GroupCase) {
			c.Link, c.Cloud, c.Bound = nil, nil, false
			change(c)
		})
	}
	tests := []struct {
		name string
		c    GroupCase
		want string
	}{
		{"created", fresh(func(*GroupCase) {}), "create-group name=Sales; bind-group; add-member; add-member; "},
		{"taken over; its own members stay", fresh(func(c *GroupCase) {
			c.Holder = &identity.Group{ID: "g7", Name: "Sales", MemberIDs: []string{"j1", "own"}}
		}), "link-group; bind-group; add-member; "},
		{"works its members out itself", fresh(func(c *GroupCase) { c.Holder = &identity.Group{ID: "g7", Name: "Sales", Dynamic: true} }), `JumpCloud group "Sales" (g7) works out`},
		{"another group's", fresh(func(c *GroupCase) { c.Holder, c.HolderLinked = &identity.Group{ID: "g7", Name: "Sales"}, true }), `JumpCloud group "Sales" (g7) is another AD group's`},
		{"unchanged", linked(func(*GroupCase) {}), ""},
		{"renamed", linked(func(c *GroupCase) { c.AD.Name = "Vente" }), "update-group name=Vente; "},
		{"renamed to a name that is taken", linked(func(c *GroupCase) { c.AD.Name, c.Holder = "Vente", &identity.Group{ID: "g7", Name: "Vente"} }), ""},
		{"a member more and one less", linked(func(c *GroupCase) { c.Want = []string{"j2", "j3"} }), "add-member; remove-member; "},
		{"a member whom JumpCloud does not have any more", linked(func(c *GroupCase) { c.Want, c.Gone = []string{"j1", "j2", "j3"}, map[string]bool{"j3": true} }), ""},
		{"added at JumpCloud stays where both sides are the authority", linked(func(c *GroupCase) { c.Cloud.MemberIDs = []string{"j1", "j2", "j3"} }), ""},
		{"removed at JumpCloud is sync's where both sides are", linked(func(c *GroupCase) {
			c.Cloud.MemberIDs, c.Direct = []string{"j2"}, map[string]bool{"j1": true, "j2": true}
		}), ""},
		{"but comes back if AD has it through a group within", linked(func(c *GroupCase) { c.Cloud.MemberIDs, c.Direct = []string{"j2"}, map[string]bool{"j2": true} }), "add-member; "},
		{"who was let go stays a member", linked(func(c *GroupCase) { c.Want, c.Namesakes = []string{"j2"}, map[string]bool{"j1": true} }), ""},
		{"unbound by a person", linked(func(c *GroupCase) { c.Bound, c.Link.WasBound, c.Want = false, true, nil }), resting},
		{"added at JumpCloud goes where AD is", linked(func(c *GroupCase) { c.Cloud.MemberIDs, c.Use = []string{"j1", "j2", "j3"}, identity.UseAD }), "remove-member; "},
		{"dynamic since", linked(func(c *GroupCase) { c.Cloud.Dynamic, c.Want = true, nil }), ""},
		{"deleted in AD", linked(func(c *GroupCase) { c.AD, c.Link.Created = nil, true }), "delete-group; unlink-group; "},
		{"deleted in AD, and was JumpCloud's before", linked(func(c *GroupCase) { c.AD = nil }), "unbind-group; unlink-group; "},
		{"out of scope", linked(func(c *GroupCase) { c.Out = "x" }), "unbind-group; unlink-group; "},
		{"never in scope", fresh(func(c *GroupCase) { c.Out = "a distribution group" }), "a distribution group"},
		{"gone at JumpCloud, AD the authority", linked(func(c *GroupCase) { c.Cloud, c.Use = nil, identity.UseAD }), "unlink-group; create-group name=Sales; bind-group; "},
		{"gone at JumpCloud", linked(func(c *GroupCase) { c.Cloud = nil }), "the JumpCloud group was deleted there"},
		{"gone on both sides", linked(func(c *GroupCase) { c.Cloud, c.AD = nil, nil }), "unlink-group; "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := told(Group(tt.c))
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestI5_GoneMembers: a user who was deleted at JumpCloud, and whose pair a guard
// still holds, keeps nobody else out of a group.
func TestI5_GoneMembers(t *testing.T) {
	gone, there, group := identity.GUID{1}, identity.GUID{2}, identity.GUID{9}
	account := func(guid identity.GUID, name string) *identity.User {
		return &identity.User{Side: identity.AD, GUID: guid, Username: name, Mail: name + "@x.example", First: name, Last: "Test", InRoot: true}
	}
	w := World{Settings: twoWay, Complete: true,
		Tree: Tree{Users: map[identity.GUID]*identity.User{gone: account(gone, "gone"), there: account(there, "there")},
			Groups:     map[identity.GUID]identity.Group{group: {GUID: group, Name: "Sales", Security: true, InRoot: true, Members: []identity.GUID{gone, there}}},
			ScopeGroup: group},
		Links:      map[identity.GUID]identity.Link{gone: {GUID: gone, JumpCloudID: "j1"}, there: {GUID: there, JumpCloudID: "j2"}},
		GroupLinks: map[identity.GUID]identity.GroupLink{group: {GUID: group, GroupID: "g1", Name: "Sales", AgreedName: "Sales"}},
		Cloud: Cloud{Users: map[string]*identity.User{"j2": {ID: "j2", Username: "there", Mail: "there@x.example"}},
			Groups: map[string]identity.Group{"g1": {ID: "g1", Name: "Sales"}}, BoundGroups: map[string]bool{"g1": true}}}
	p, err := Import(w)
	if err != nil {
		t.Fatal(err)
	}
	var added []string
	for _, a := range p.Actions() {
		if a.Kind == AddMember {
			added = append(added, a.UserID)
		}
	}
	if !slices.Equal(added, []string{"j2"}) {
		t.Errorf("made members: %v, want j2 alone", added)
	}
}

// TestI8_Limits: emptying the scope group is held, a leaver is not.
func TestI8_Limits(t *testing.T) {
	leave := func(n int) (actions []Action) {
		for i := range n {
			guid := identity.GUID{byte(i), byte(i >> 8), 1}
			actions = append(actions, Action{Kind: DeleteUser, GUID: guid}, Action{Kind: Unlink, GUID: guid})
		}
		return actions
	}
	limits := DefaultLimits()
	for _, tt := range []struct {
		leavers, users int
		held           bool
	}{{1, 10, false}, {2, 10, false}, {3, 10, true}, {3, 100, false}, {20, 2000, false}, {21, 2000, true}, {500, 500, true}} {
		_, held := limits.Check(leave(tt.leavers), Population{Users: tt.users})[Removals]
		if held != tt.held {
			t.Errorf("%d of %d leave: held %v, want %v", tt.leavers, tt.users, held, tt.held)
		}
	}
	if held := limits.Check([]Action{{Kind: CreateUser}, {Kind: AddMember}}, Population{}); len(held) != 0 {
		t.Errorf("nothing is lost, and held: %v", held)
	}
	for kind, class := range map[Kind]Class{DeleteUser: Removals, UnbindUser: Removals, Suspend: Suspensions, ExpirePassword: Suspensions,
		DeleteGroup: GroupEnds, UnbindGroup: GroupEnds, RemoveMember: Memberships, CreateUser: "", AddMember: "", Unlink: ""} {
		if ClassOf(kind) != class || kind.Destructive() != (class != "") {
			t.Errorf("%s: class %q, destructive %v", kind, ClassOf(kind), kind.Destructive())
		}
	}
}

// TestI8_Incomplete: what was not read completely deletes nobody.
func TestI8_Incomplete(t *testing.T) {
	w := World{Settings: twoWay, Links: map[identity.GUID]identity.Link{{1}: {JumpCloudID: "j1"}}}
	if p, err := Import(w); err == nil {
		t.Errorf("got %+v, want an error", p)
	}
}
