package plan

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestAppliedMembers: many at once come to the same as one after the other, and
// the list of before is left alone.
func TestAppliedMembers(t *testing.T) {
	link := identity.GroupLink{Agreed: []string{"b", "d", "f"}}
	held := link.Agreed
	did := []Action{{Kind: AddMember, UserID: "e"}, {Kind: RemoveMember, UserID: "d"}, {Kind: ADAddMember, UserID: "b"},
		{Kind: ADRemoveMember, UserID: "x"}, {Kind: BindGroup, UserID: "y"}, {Kind: AddMember, UserID: "a"}}
	got, one := AppliedMembers(link, did), link
	for _, a := range did {
		one = AppliedGroup(one, a)
	}
	if want := "[a b e f]"; fmt.Sprint(got.Agreed) != want || fmt.Sprint(one.Agreed) != want {
		t.Errorf("at once %v, one by one %v, want %s", got.Agreed, one.Agreed, want)
	}
	if !slices.Equal(held, []string{"b", "d", "f"}) {
		t.Errorf("the list of before is %v now", held)
	}
}
