package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

var jcIsAuthority = Settings{Domain: "corp.example", ADID: "ad1", Use: identity.UseJumpCloud}

// synced is Alice on both sides, with nothing to do.
func synced(change func(*SyncCase)) SyncCase {
	ad, cloud := aliceAD, aliceJC
	c := SyncCase{Settings: jcIsAuthority, ID: "j1", Cloud: &cloud, AD: &ad, Bound: true,
		Link: &identity.Link{GUID: ad.GUID, JumpCloudID: "j1", Username: "alice", BySync: true, WasBound: true}}
	change(&c)
	return c
}

// unpaired is Alice at JumpCloud alone.
func unpaired(change func(*SyncCase)) SyncCase {
	return synced(func(c *SyncCase) {
		c.Link, c.AD, c.SAM, c.CN = nil, nil, "alice", "Alice Ng"
		change(c)
	})
}

// both is Alice where both sides are edited, with what they agreed on.
func both(change func(*SyncCase)) SyncCase {
	return synced(func(c *SyncCase) {
		c.Use, c.Link.Agreed = identity.UseTwoWay, map[string]string{FieldFirst: "Alice", FieldLast: "Ng"}
		change(c)
	})
}

func toldAll(v Verdict) string {
	s := told(v)
	for _, won := range v.Won {
		s += " won " + won
	}
	return s
}

func rulesOf(rules ...identity.TranslationRule) *Rules {
	for i := range rules {
		rules[i].Direction = identity.RuleExport
		if rules[i].AppliedOn == nil {
			rules[i].AppliedOn = []identity.RuleOccasion{identity.RuleOnCreate, identity.RuleOnUpdate}
		}
	}
	return NewRules(rules)
}

func TestSyncUser(t *testing.T) {
	same := func(change func(*identity.User)) func(*SyncCase) {
		return func(c *SyncCase) {
			ad := aliceAD
			change(&ad)
			c.Same = &ad
		}
	}
	department := func(c *SyncCase) { c.Rules, c.Cloud.Profile.Department = rulesOf(departmentRule), "Sales" }
	const create = "ad-create-user sAMAccountName=alice userPrincipalName=alice@corp.example cn=Alice Ng givenName=Alice sn=Ng mail=alice@corp.example displayName=Alice Ng"
	tests := []struct {
		name string
		c    SyncCase
		want string // begins with it
	}{
		{"S2 created", unpaired(func(*SyncCase) {}), create + "; "},
		{"S2 created by rules", unpaired(func(c *SyncCase) {
			department(c)
			c.Rules = rulesOf(departmentRule, identity.TranslationRule{Source: "jcUser.username + '@corp.test'", Destination: AttrUPN, SourceType: identity.RuleExpr})
		}), strings.Replace(create, "userPrincipalName=alice@corp.example", "userPrincipalName=alice@corp.test", 1) + " department=Sales; "},
		{"S2 not bound", unpaired(func(c *SyncCase) { c.Bound = false }), ""},
		{"S2 STAGED waits", unpaired(func(c *SyncCase) { c.Cloud.State = "STAGED" }), "STAGED in JumpCloud"},
		{"S2 suspended waits", unpaired(func(c *SyncCase) { c.Cloud.Disabled = true }), "suspended in JumpCloud"},
		{"S2 a name of 21 characters", unpaired(func(c *SyncCase) { c.SAM = "abcdefghijklmnopqrstu" }), `"abcdefghijklmnopqrstu" cannot be a name in AD: it has 21 characters`},
		{"S2 a name AD does not take", unpaired(func(c *SyncCase) { c.SAM = "alice+ng" }), `"alice+ng" cannot be a name in AD: AD allows no '+'`},
		{"S2 taken over, password left alone", unpaired(same(func(*identity.User) {})), "link; "},
		{"S2 taken over, names are JumpCloud's", unpaired(same(func(u *identity.User) { u.Last = "Old" })), "link; ad-update-user sn=Ng; "},
		{"S2 taken over in two-way, names are AD's", unpaired(func(c *SyncCase) {
			same(func(u *identity.User) { u.Last = "Old" })(c)
			c.Use = identity.UseTwoWay
		}), "link; "},
		{"S2 and JumpCloud's where AD has none", unpaired(func(c *SyncCase) {
			same(func(u *identity.User) { u.Last = "" })(c)
			c.Use = identity.UseTwoWay
		}), "link; ad-update-user sn=Ng; "},
		{"S2 the name with another mail is another person", unpaired(same(func(u *identity.User) { u.Mail = "x@y.example" })), `AD account "alice" (CN=Alice,DC=corp) has that username, but mail "x@y.example"`},
		{"S2 privileged", unpaired(same(func(u *identity.User) { u.Privileged = true })), `AD account "alice" (CN=Alice,DC=corp) is privileged (adminCount=1): never written`},
		{"S2 a computer", unpaired(same(func(u *identity.User) { u.Computer = true })), `AD account "alice" (CN=Alice,DC=corp) has that name and is not a person's`},
		{"S2 outside the root container", unpaired(same(func(u *identity.User) { u.InRoot = false })), `AD account "alice" (CN=Alice,DC=corp) has that name and is outside`},
		{"S2 disabled in AD", unpaired(same(func(u *identity.User) { u.Disabled = true })), `AD account "alice" (CN=Alice,DC=corp) is disabled: enable it`},
		{"S2 another user's", unpaired(func(c *SyncCase) { same(func(*identity.User) {})(c); c.SameLinked = true }), `AD account "alice" (CN=Alice,DC=corp) belongs to another JumpCloud user`},
		{"S2 the mail is taken", unpaired(func(c *SyncCase) { c.Taken = "AD account \"bob\" has mail" }), `AD account "bob" has mail`},
		{"S2 no common name is free", unpaired(func(c *SyncCase) { c.CN = "" }), "no common name is free"},

		{"S3 unchanged", synced(func(*SyncCase) {}), ""},
		{"S3 renamed", synced(func(c *SyncCase) { c.Cloud.First = "Alina" }), "ad-update-user givenName=Alina; "},
		{"S3 drift in AD is overwritten", synced(func(c *SyncCase) { c.AD.Last = "Drift" }), "ad-update-user sn=Ng; "},
		{"S3 the username is never written", synced(func(c *SyncCase) { c.Cloud.Username = "alina" }), ""},
		{"S3 a rule", synced(department), "ad-update-user department=Sales; "},
		{"S3 a rule's value that the mirror lacks", synced(func(c *SyncCase) {
			c.Rules = rulesOf(identity.TranslationRule{Source: "C7", Destination: "extensionAttribute1", SourceType: identity.RuleConstant})
		}), "ad-update-user extensionAttribute1=C7; "},
		{"S3 is written once", synced(func(c *SyncCase) {
			c.Rules = rulesOf(identity.TranslationRule{Source: "C7", Destination: "extensionAttribute1", SourceType: identity.RuleConstant})
			c.Link.Agreed = map[string]string{"ad:extensionattribute1": "C7"}
		}), ""},
		{"S3 suspended", synced(func(c *SyncCase) { c.Cloud.Disabled = true }), "ad-disable; "},
		{"S3 suspended, and disabled already", synced(func(c *SyncCase) { c.Cloud.Disabled, c.AD.Disabled = true, true }), ""},
		{"S3 activated: sync had disabled it", synced(func(c *SyncCase) { c.AD.Disabled, c.Link.DisabledByUs = true, true }), "ad-enable; "},
		{"S3 disabled by somebody in AD", synced(func(c *SyncCase) { c.AD.Disabled = true }), "disabled in AD, not by sync"},
		{"S3 deleted at JumpCloud", synced(func(c *SyncCase) { c.Cloud = nil }), "ad-disable; unlink; "},
		{"S3 deleted at JumpCloud, and disabled", synced(func(c *SyncCase) { c.Cloud, c.AD.Disabled = nil, true }), "unlink; "},
		{"S3 deleted at JumpCloud, privileged", synced(func(c *SyncCase) { c.Cloud, c.AD.Privileged = nil, true }), "the user was deleted at JumpCloud; the AD account is privileged"},
		{"S3 unbound", synced(func(c *SyncCase) { c.Bound = false }), "unlink; "},
		{"S3 privileged", synced(func(c *SyncCase) { c.AD.Privileged, c.Cloud.First = true, "X" }), "the AD account is privileged (adminCount=1): never written"},
		{"S3 moved out of the root container", synced(func(c *SyncCase) { c.AD.InRoot, c.Cloud.First = false, "X" }), "the AD account is outside"},
		{"deleted in AD: made anew", synced(func(c *SyncCase) { c.AD, c.SAM, c.CN = nil, "alice", "Alice Ng" }), "unlink; " + create},
		{"gone on both sides", synced(func(c *SyncCase) { c.AD, c.Cloud = nil, nil }), "unlink; "},
		{"what AD's authority restricted is lifted", synced(func(c *SyncCase) { c.Cloud.Restricted, c.Cloud.DelegatedTo = restricted(true), "ad1" }), "update-user restrictedFields= delegatedAuthority=; "},
		{"nothing where AD is the authority", synced(func(c *SyncCase) { c.Use, c.Cloud.First = identity.UseAD, "X" }), ""},

		{"S5 edited in JumpCloud", both(func(c *SyncCase) { c.Cloud.First = "Alina" }), "ad-update-user givenName=Alina; "},
		{"S5 edited in AD", both(func(c *SyncCase) { c.AD.First = "Alina" }), ""},
		{"S5 edited on both sides", both(func(c *SyncCase) { c.AD.First, c.Cloud.First = "Alina", "Ally" }), ""},
		{"S5 edited on both sides to the same", both(func(c *SyncCase) { c.AD.First, c.Cloud.First = "Alina", "Alina" }), ""},
		{"S5 emptied in AD", both(func(c *SyncCase) { c.AD.First = "" }), `ad-update-user givenName=Alice;  won firstname: JumpCloud's "Alice" over AD's "", since`},
		{"S5 suspended by the import", both(func(c *SyncCase) { c.Cloud.Disabled, c.Link.SuspendedByUs = true, true }), ""},
		{"S5 enabled in AD while suspended", both(func(c *SyncCase) { c.Cloud.Disabled, c.Link.DisabledByUs = true, true }), "ad-disable;  won disabled: JumpCloud's suspension"},
		{"S5 disabled in AD", both(func(c *SyncCase) { c.AD.Disabled = true }), ""},
		{"S5 deleted in AD", both(func(c *SyncCase) { c.AD = nil }), ""},
		{"S5 deleted at JumpCloud and edited in AD", both(func(c *SyncCase) { c.Cloud, c.AD.First = nil, "X" }), "ad-disable; unlink; "},
		{"S5 unbound, in the import's scope", both(func(c *SyncCase) { c.Bound, c.Imported = false, true }), resting},
		{"S5 not bound yet, in the import's scope", both(func(c *SyncCase) { c.Bound, c.Imported, c.Link.WasBound, c.Link.BySync = false, true, false, false }), ""},
		{"S5 unbound, out of it", both(func(c *SyncCase) { c.Bound = false }), "unlink; "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := toldAll(SyncUser(tt.c))
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestS5_Import: the other half of the compare.
func TestS5_Import(t *testing.T) {
	c2 := func(change func(*UserCase)) UserCase {
		return linkedCase(func(c *UserCase) {
			c.Link.WasBound = true
			c.Link.Agreed = map[string]string{FieldFirst: "Alice", FieldLast: "Ng", FieldEmail: "alice@corp.example", "department": "Sales"}
			c.AD.Profile.Department, c.Cloud.Profile.Department = "Sales", "Sales"
			change(c)
		})
	}
	exported := func(c *UserCase) { c.Rules = rulesOf(departmentRule) }
	tests := []struct {
		name string
		c    UserCase
		want string
	}{
		{"unchanged", c2(func(*UserCase) {}), ""},
		{"edited in AD", c2(func(c *UserCase) { c.AD.First = "Alina" }), "update-user firstname=Alina; "},
		{"edited in JumpCloud: sync's", c2(func(c *UserCase) { c.Cloud.First = "Alina" }), ""},
		{"edited on both sides", c2(func(c *UserCase) { c.AD.First, c.Cloud.First = "Alina", "Ally" }), `update-user firstname=Alina;  won firstname: AD's "Alina" over JumpCloud's "Ally"`},
		{"emptied in JumpCloud", c2(func(c *UserCase) { c.Cloud.First = "" }), `update-user firstname=Alice;  won firstname: AD's "Alice" over JumpCloud's ""`},
		{"not exported, edited in JumpCloud", c2(func(c *UserCase) { c.Cloud.Profile.Department = "Law" }), "edited in JumpCloud, not exported to AD, and left so: department"},
		{"not exported, edited in AD", c2(func(c *UserCase) { c.AD.Profile.Department = "Law" }), "update-user department=Law; "},
		{"not exported, emptied in AD", c2(func(c *UserCase) { c.AD.Profile.Department = "" }), "update-user department=; "},
		{"not exported, edited on both sides", c2(func(c *UserCase) { c.AD.Profile.Department, c.Cloud.Profile.Department = "Law", "Art" }), `update-user department=Law;  won department: AD's "Law" over JumpCloud's "Art"`},
		{"exported, edited in JumpCloud", c2(func(c *UserCase) { exported(c); c.Cloud.Profile.Department = "Law" }), ""},
		{"exported, emptied in AD", c2(func(c *UserCase) { exported(c); c.AD.Profile.Department = "" }), "update-user department=; "},
		{"the address, edited in JumpCloud", c2(func(c *UserCase) { c.Cloud.Mail = "a.ng@corp.example" }), "edited in JumpCloud, not exported to AD, and left so: email"},
		{"the address, moved to make room", c2(func(c *UserCase) { c.Cloud.Mail = "alice.00000001@corp.example" }), "update-user email=alice@corp.example; "},
		{"the username is always AD's", c2(func(c *UserCase) { c.Cloud.Username = "alina" }), "update-user username=alice; "},
		{"disabled in AD", c2(func(c *UserCase) { c.AD.Disabled = true }), "suspend; "},
		{"disabled in AD by sync", c2(func(c *UserCase) { c.AD.Disabled, c.Link.DisabledByUs = true, true }), ""},
		{"disabled by sync is no reason to remove", c2(func(c *UserCase) {
			c.AD.Disabled, c.Cloud.Disabled, c.Link.DisabledByUs, c.Actions.Disable = true, true, true, identity.ActionRemove
		}), ""},
		{"activated in JumpCloud while disabled in AD", c2(func(c *UserCase) { c.AD.Disabled, c.Link.SuspendedByUs = true, true }), "suspend;  won disabled: AD's disabling"},
		{"unbound by a person", c2(func(c *UserCase) { c.Bound, c.AD.First = false, "X" }), resting},
		{"unbound by a person, where AD is the authority", c2(func(c *UserCase) { c.Bound, c.Use, c.Cloud.Restricted = false, identity.UseAD, restricted(false) }), "bind-user; "},
		{"unbound by a person, and then deleted in AD", c2(func(c *UserCase) { c.Bound, c.AD = false, nil }), "unlink; "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := toldAll(User(tt.c))
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestS3_Group(t *testing.T) {
	a, b, x := identity.GUID{1}, identity.GUID{2}, identity.GUID{3}
	linked := func(change func(*SyncGroupCase)) SyncGroupCase {
		c := SyncGroupCase{Settings: jcIsAuthority, ID: "g1", Bound: true, Cloud: &identity.Group{ID: "g1", Name: "Sales", MemberIDs: []string{"j1", "j2", "own"}},
			Link:     &identity.GroupLink{GUID: identity.GUID{9}, GroupID: "g1", Name: "Sales", Agreed: []string{"j1", "j2"}, AgreedName: "Sales", WasBound: true, BySync: true},
			AD:       &identity.Group{GUID: identity.GUID{9}, Name: "Sales", Security: true, InRoot: true},
			Accounts: map[string]identity.GUID{"j1": a, "j2": b, "j3": x}, Direct: map[string]bool{"j1": true, "j2": true}}
		change(&c)
		return c
	}
	two := func(change func(*SyncGroupCase)) SyncGroupCase {
		return linked(func(c *SyncGroupCase) { c.Use = identity.UseTwoWay; change(c) })
	}
	fresh := func(change func(*SyncGroupCase)) SyncGroupCase {
		return linked(func(c *SyncGroupCase) {
			c.Link, c.AD, c.Direct = nil, nil, nil
			change(c)
		})
	}
	taken := &identity.Group{GUID: identity.GUID{7}, DN: "CN=Sales", Name: "sales", Security: true, InRoot: true}
	tests := []struct {
		name string
		c    SyncGroupCase
		want string
	}{
		{"created with its members who have accounts", fresh(func(*SyncGroupCase) {}), "ad-create-group sAMAccountName=Sales cn=Sales; ad-add-member; ad-add-member; "},
		{"taken over", fresh(func(c *SyncGroupCase) { c.Same, c.Direct = taken, map[string]bool{"j1": true} }), "link-group; ad-rename-group sAMAccountName=Sales cn=Sales; ad-add-member; "},
		{"another group's", fresh(func(c *SyncGroupCase) { c.Same, c.SameLinked = taken, true }), `AD group "sales" (CN=Sales) is another`},
		{"a distribution group's name", fresh(func(c *SyncGroupCase) { c.Same = &identity.Group{Name: "Sales", InRoot: true} }), `AD group "Sales" () is a distribution group`},
		{"a privileged group's name", fresh(func(c *SyncGroupCase) {
			c.Same = &identity.Group{Name: "Domain Admins", Security: true, InRoot: true, Privileged: true}
		}), `AD group "Domain Admins" () is privileged`},
		{"a privileged group is not written", linked(func(c *SyncGroupCase) {
			c.AD.Privileged, c.Cloud.MemberIDs, c.Cloud.Name = true, []string{"j2", "j3"}, "Vente"
		}), "the AD group is privileged"},
		{"a privileged group that is as it should be", linked(func(c *SyncGroupCase) { c.AD.Privileged = true }), ""},
		{"outside the root container", fresh(func(c *SyncGroupCase) { c.Same = &identity.Group{Name: "Sales", Security: true} }), `AD group "Sales" () is outside`},
		{"an account has the name", fresh(func(c *SyncGroupCase) { c.Taken = "AD account has it" }), "AD account has it"},
		{"a name AD does not take", fresh(func(c *SyncGroupCase) { c.Cloud.Name = "R&D: all" }), `"R&D: all" cannot be a group's name in AD: AD allows no ':'`},
		{"unchanged", linked(func(*SyncGroupCase) {}), ""},
		{"renamed", linked(func(c *SyncGroupCase) { c.Cloud.Name = "Vente" }), "ad-rename-group sAMAccountName=Vente cn=Vente; "},
		{"renamed to a name that is taken", linked(func(c *SyncGroupCase) { c.Cloud.Name, c.Same = "Vente", taken }), `AD group "sales" (CN=Sales) has that name`},
		{"a member more and one less", linked(func(c *SyncGroupCase) { c.Cloud.MemberIDs = []string{"j2", "j3"} }), "ad-add-member; ad-remove-member; "},
		{"drift in AD is overwritten", linked(func(c *SyncGroupCase) { c.Direct = map[string]bool{"j1": true, "j3": true} }), "ad-add-member; ad-remove-member; "},
		{"who is a member through a group stays", linked(func(c *SyncGroupCase) { c.Nested = map[string]bool{"j3": true} }), "some are members of the AD group through"},
		{"is not added beside it", linked(func(c *SyncGroupCase) {
			c.Nested, c.Cloud.MemberIDs = map[string]bool{"j3": true}, []string{"j1", "j2", "j3"}
		}), ""},
		{"deleted at JumpCloud", linked(func(c *SyncGroupCase) { c.Cloud = nil }), "unlink-group; "},
		{"deleted at JumpCloud, in the import's scope", two(func(c *SyncGroupCase) { c.Cloud, c.Imported = nil, true }), "the JumpCloud group was deleted there"},
		{"unbound", linked(func(c *SyncGroupCase) { c.Bound = false }), "unlink-group; "},
		{"unbound, in the import's scope", two(func(c *SyncGroupCase) { c.Bound, c.Imported = false, true }), resting},
		{"deleted in AD: made anew", linked(func(c *SyncGroupCase) { c.AD, c.Direct = nil, nil }), "unlink-group; ad-create-group"},
		{"deleted in AD in two-way: the import's", two(func(c *SyncGroupCase) { c.AD = nil }), ""},

		{"S5 added in JumpCloud", two(func(c *SyncGroupCase) { c.Cloud.MemberIDs = []string{"j1", "j2", "j3"} }), "ad-add-member; "},
		{"S5 removed in JumpCloud", two(func(c *SyncGroupCase) { c.Cloud.MemberIDs = []string{"j2"} }), "ad-remove-member; "},
		{"S5 added in AD", two(func(c *SyncGroupCase) { c.Direct["j3"] = true }), ""},
		{"S5 removed in AD", two(func(c *SyncGroupCase) { delete(c.Direct, "j1") }), ""},
		{"S5 one added there, another here", two(func(c *SyncGroupCase) { delete(c.Direct, "j1"); c.Cloud.MemberIDs = []string{"j1", "j2", "j3"} }), "ad-add-member; "},
		{"S5 a rule at JumpCloud says who is a member", two(func(c *SyncGroupCase) { c.Cloud.Dynamic = true; c.Direct["j3"] = true; delete(c.Direct, "j1") }), "ad-add-member; ad-remove-member; "},
		{"S5 renamed on both sides", two(func(c *SyncGroupCase) { c.Cloud.Name, c.AD.Name = "A", "B" }), ""},
		{"S5 renamed in JumpCloud", two(func(c *SyncGroupCase) { c.Cloud.Name = "A" }), "ad-rename-group sAMAccountName=A cn=A; "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := toldAll(SyncGroup(tt.c))
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestS5_Disabled goes through every sequence of edits of the two states, with
// passes after each: an account is enabled when the people of both sides want
// it so, and nobody lifts what the other side's people did.
func TestS5_Disabled(t *testing.T) {
	const edits = 5
	for n := range 1 << (2 * edits) {
		for _, importFirst := range []bool{true, false} {
			w := newTwin(t, 1, twoWay)
			guid := identity.GUID{1}
			ad, cloud := aliceAD, aliceJC
			w.Users[guid], w.Cloud.Users["j1"], w.Cloud.BoundUsers["j1"] = &ad, &cloud, true
			w.Links[guid] = identity.Link{GUID: guid, JumpCloudID: "j1", BySync: true, WasBound: true}
			wantAD, wantCloud := true, true
			for step := range edits {
				inAD, on := n>>(2*step)&1 == 0, n>>(2*step+1)&1 == 0
				u, c := *w.Users[guid], *w.Cloud.Users["j1"]
				if inAD && u.Disabled == on {
					u.Disabled, wantAD = !on, on
				} else if !inAD && c.Disabled == on {
					c.Disabled, wantCloud = !on, on
				}
				w.Users[guid], w.Cloud.Users["j1"] = &u, &c
				w.writes = 0
				for pass := range 3 {
					plan := Sync
					if (pass%2 == 0) == importFirst {
						plan = Import
					}
					p, err := plan(w.World)
					if err != nil {
						t.Fatal(err)
					}
					w.carry(p)
				}
				if a, b, want := w.Users[guid].Disabled, w.Cloud.Users["j1"].Disabled, !wantAD || !wantCloud; a != want || b != want {
					t.Fatalf("edits %b, step %d: disabled in AD %v, at JumpCloud %v, want %v\n%s", n, step, a, b, want, strings.Join(w.story, "\n"))
				}
				if w.writes > 1 {
					t.Fatalf("edits %b, step %d: %d writes\n%s", n, step, w.writes, strings.Join(w.story, "\n"))
				}
			}
		}
	}
}

// TestS5_WritesPerEdit: one edit of a field is one write, whichever direction
// looks first.
func TestS5_WritesPerEdit(t *testing.T) {
	for seed := range uint64(15) {
		w := newTwin(t, seed, twoWay)
		for range 40 {
			guid, ok := pick(w, w.alive(), compareGUID)
			if !ok {
				w.hire()
				w.settle()
				continue
			}
			w.writes = 0
			if w.rnd.IntN(2) == 0 {
				u := *w.Users[guid]
				u.First = w.unique()
				w.Users[guid] = &u
			} else {
				u := *w.alive()[guid]
				u.Last = w.unique()
				w.Cloud.Users[u.ID] = &u
			}
			w.pass()
			w.settle()
			if w.writes != 1 {
				w.fatal("%d writes", w.writes)
			}
			w.checkEqual()
		}
	}
}

// TestUseCases: each use case can be changed to each other: every pair is kept,
// nobody is deleted, and what is planned has an end.
func TestUseCases(t *testing.T) {
	all := []identity.UseCase{identity.UseAD, identity.UseTwoWay, identity.UseJumpCloud}
	for seed := range uint64(10) {
		for _, from := range all {
			for _, to := range all {
				w := newTwin(t, seed, Settings{Domain: "corp.example", ADID: "ad1", Use: from, Actions: identity.Actions{Disable: identity.ActionRemove}})
				if from != identity.UseTwoWay {
					w.Actions.Disable = identity.ActionSuspend
				}
				for range 12 {
					w.hire()
					if from.Syncs() {
						w.enrol()
					}
					w.settle()
				}
				for range 6 { // some are suspended by one side or the other
					if guid, ok := pick(w, w.alive(), compareGUID); ok && from.Syncs() {
						c := *w.alive()[guid]
						c.Disabled = true
						w.Cloud.Users[c.ID] = &c
						w.settle()
					}
				}
				links, groups := len(w.Links), len(w.GroupLinks)
				if links == 0 {
					t.Fatalf("seed %d: nobody is paired", seed)
				}
				pairs := make(map[identity.GUID]string)
				for guid, l := range w.Links {
					pairs[guid] = l.JumpCloudID
				}
				w.Use, w.deleted = to, make(map[string]bool)
				w.say("%s -> %s", from, to)
				w.settle()
				for guid, id := range pairs {
					if w.Links[guid].JumpCloudID != id || w.Cloud.Users[id] == nil || w.Users[guid] == nil {
						w.fatal("seed %d, %s to %s: the pair %.4s %s is lost", seed, from, to, guid, id)
					}
				}
				if len(w.GroupLinks) < groups {
					w.fatal("seed %d, %s to %s: a pair of groups is lost", seed, from, to)
				}
				w.checkEqual()
			}
		}
	}
}

// TestSyncWorld holds what only a whole world shows.
func TestSyncWorld(t *testing.T) {
	w := World{Settings: jcIsAuthority, Now: may, Complete: true, Tree: Tree{Users: map[identity.GUID]*identity.User{
		{1}: {GUID: identity.GUID{1}, DN: `CN=Ng\, Alice,DC=corp`, Username: "alice", Mail: "alice@corp.example", InRoot: true},
		{2}: {GUID: identity.GUID{2}, DN: "CN=Jane Doe,OU=x", Username: "jdoe", Mail: "jd@corp.example", UPN: "taken@corp.example", InRoot: true},
	}}, Cloud: Cloud{Complete: true, BoundUsers: map[string]bool{"a": true, "b": true, "c": true, "d": true, "e": true},
		Users: map[string]*identity.User{
			"a": {ID: "a", Username: "jane", Mail: "jane@corp.example", First: "Jane", Last: "Doe"},
			"b": {ID: "b", Username: "jane2", Mail: "jane2@corp.example", First: "Alice", Last: "Ng,"},
			"c": {ID: "c", Username: "other", Mail: "JD@corp.example", First: "O", Last: "T"},
			"d": {ID: "d", Username: "taken", Mail: "taken@x.example", First: "O", Last: "T"},
			"e": {ID: "e", Username: "twin", Mail: "twin@x.example", First: "Jane", Last: "Doe"},
			"f": {ID: "f", Username: "member", Mail: "member@x.example", First: "M", Last: "M"},
		},
		BoundGroups: map[string]bool{"g1": true}, Groups: map[string]identity.Group{"g1": {ID: "g1", Name: "Team", MemberIDs: []string{"a", "f"}}}}}
	p, err := Sync(w)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, r := range p.Results {
		got[r.CloudID] += told(r.Verdict)
		if r.Direction != identity.Sync || !r.GUID.IsZero() || slices.ContainsFunc(r.Actions, func(a Action) bool { return !a.GUID.IsZero() || !a.Member.IsZero() }) {
			t.Errorf("%+v: nothing in AD has a GUID yet", r)
		}
	}
	for id, part := range map[string]string{
		"a":  "cn=Jane Doe (jane) ",
		"b":  "cn=Alice Ng, ",
		"c":  `AD account "jdoe" (CN=Jane Doe,OU=x) has mail "JD@corp.example", but another username`,
		"d":  `AD account "jdoe" (CN=Jane Doe,OU=x) has userPrincipalName "taken@corp.example"`,
		"e":  "cn=Jane Doe (twin) ",
		"f":  "ad-create-user sAMAccountName=member ",
		"g1": "ad-create-group sAMAccountName=Team cn=Team; ad-add-member; ad-add-member; ",
	} {
		if !strings.Contains(got[id], part) {
			t.Errorf("%s: got %q, want it to contain %q", id, got[id], part)
		}
	}
	for _, cut := range []func(*World){func(w *World) { w.Complete = false }, func(w *World) { w.Cloud.Complete = false }} {
		half := w
		cut(&half)
		if p, err := Sync(half); err == nil {
			t.Errorf("from half a read: got %+v, want an error", p)
		}
		half.Use = identity.UseTwoWay
		if p, err := Both(half); err == nil {
			t.Errorf("from half a read: got %+v, want an error", p)
		}
	}
	w.Use = identity.UseAD
	if p, err := Sync(w); err != nil || len(p.Results) > 0 {
		t.Errorf("AD is the authority: got %+v, %v", p, err)
	}
}

// TestS5_Unbound: who is unbound in JumpCloud, and in the import's scope, rests:
// neither direction writes, and neither ends the pair.
func TestS5_Unbound(t *testing.T) {
	w := newTwin(t, 1, twoWay)
	guid := identity.GUID{1}
	ad, cloud := aliceAD, aliceJC
	cloud.First = "Edited"
	w.Users[guid], w.Cloud.Users["j1"] = &ad, &cloud
	w.Links[guid] = identity.Link{GUID: guid, JumpCloudID: "j1", WasBound: true}
	w.ScopeGroup = identity.GUID{} // everybody below the root container, and no groups by which they were bound
	for _, inScope := range []bool{true, false} {
		ad.InRoot = inScope
		var told []string
		p := w.plan()
		for _, r := range p.Results {
			if r.GUID == guid {
				told = append(told, fmt.Sprint(r.Direction, " ", r.Skip, len(r.Actions)))
			}
		}
		want := []string{"import " + resting + "0", "sync " + resting + "0"}
		if !inScope { // it left: the pair ends, and the user stays
			want = []string{"import 1"}
		}
		if !slices.Equal(told, want) {
			t.Errorf("in scope %v: got %q, want %q", inScope, told, want)
		}
	}
}

// TestI8_SyncLimits: many disabled at once in AD are held, as are many members
// taken out, and limits that do not name a class have its default.
func TestI8_SyncLimits(t *testing.T) {
	var actions []Action
	for i := range 30 {
		actions = append(actions, Action{Kind: ADDisable, GUID: identity.GUID{byte(i), 1}})
	}
	for range 300 {
		actions = append(actions, Action{Kind: ADRemoveMember, GUID: identity.GUID{9}}, Action{Kind: ADRenameGroup}, Action{Kind: ADEnable}, Action{Kind: ADUpdateUser})
	}
	all := Population{Users: 1000, Groups: 10, Memberships: 1000}
	for _, limits := range []Limits{DefaultLimits(), {Removals: {1, 1}}} {
		held := limits.Check(actions, all)
		if len(held) != 2 || held[ADDisables] == "" || held[ADMemberships] == "" {
			t.Errorf("got %v", held)
		}
	}
	for _, kind := range []Kind{ADDisable, ADRemoveMember, ADCreateUser, ADUpdateUser, ADEnable, ADCreateGroup, ADRenameGroup, ADAddMember} {
		if want := kind == ADDisable || kind == ADRemoveMember; kind.Destructive() != want || !kind.InAD() {
			t.Errorf("%s: destructive %v, in AD %v", kind, kind.Destructive(), kind.InAD())
		}
	}
}
