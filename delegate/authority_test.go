package delegate

import (
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestD1_Authority goes through every combination of what decides about a user
// that is on both sides, against the table of Decide's comment.
func TestD1_Authority(t *testing.T) {
	for _, use := range []identity.UseCase{identity.UseAD, identity.UseTwoWay, identity.UseJumpCloud} {
		for _, state := range []Delegation{DelegationEnabled, DelegationWaiting, DelegationDisabled, ""} {
			for bits := range 8 {
				f := Facts{InAD: true, InCloud: true, UseCase: use, Delegation: state,
					DelegatedToAD: bits&1 != 0, PasswordByAD: bits&2 != 0, Capture: bits&4 != 0}
				want := Decision{Authority: ByJumpCloud}
				switch {
				case f.DelegatedToAD && state == DelegationEnabled:
					want = Decision{Authority: ByAD}
				case f.DelegatedToAD && state == DelegationWaiting:
					want = Decision{Reason: DelegationPending}
				case f.PasswordByAD && !f.Capture:
					want = Decision{Reason: NotDelegated}
				case use == identity.UseAD && !f.DelegatedToAD && !f.PasswordByAD:
					want = Decision{Authority: ByAD}
				}
				if got := Decide(f); got != want {
					t.Errorf("%+v: got %+v, want %+v", f, got, want)
				}
			}
		}
	}
}

// TestD1_Rows are the rows of JumpCloud's documentation by name, where passwords
// are captured ("all DCs") and where they are not ("member servers").
func TestD1_Rows(t *testing.T) {
	on := Facts{InAD: true, InCloud: true, UseCase: identity.UseTwoWay, Delegation: DelegationEnabled}
	with := func(change func(*Facts)) Facts { f := on; change(&f); return f }
	for _, tt := range []struct {
		name string
		f    Facts
		want Decision
	}{
		{"all DCs, none, none", with(func(f *Facts) { f.Capture = true }), Decision{Authority: ByJumpCloud}},
		{"all DCs, AD, none", with(func(f *Facts) { f.Capture, f.PasswordByAD = true, true }), Decision{Authority: ByJumpCloud}},
		{"all DCs, AD, AD", with(func(f *Facts) { f.Capture, f.PasswordByAD, f.DelegatedToAD = true, true, true }), Decision{Authority: ByAD}},
		{"all DCs, none, AD", with(func(f *Facts) { f.Capture, f.DelegatedToAD = true, true }), Decision{Authority: ByAD}},
		{"member servers, none, none", on, Decision{Authority: ByJumpCloud}},
		{"member servers, AD, AD", with(func(f *Facts) { f.PasswordByAD, f.DelegatedToAD = true, true }), Decision{Authority: ByAD}},
		{"member servers, AD, none", with(func(f *Facts) { f.PasswordByAD = true }), Decision{Reason: NotDelegated}},
		{"any, any, AD while pending", with(func(f *Facts) { f.DelegatedToAD, f.Delegation = true, DelegationWaiting }), Decision{Reason: DelegationPending}},
		{"AD alone", Facts{InAD: true, UseCase: identity.UseTwoWay}, Decision{Authority: ByAD}},
		{"AD alone, where JumpCloud is the authority", Facts{InAD: true, UseCase: identity.UseJumpCloud}, Decision{Reason: NoSuchUser}},
		{"JumpCloud alone", Facts{InCloud: true, UseCase: identity.UseAD}, Decision{Authority: ByJumpCloud}},
		{"nobody", Facts{UseCase: identity.UseAD}, Decision{Reason: NoSuchUser}},
	} {
		if got := Decide(tt.f); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestNextDelegation(t *testing.T) {
	for _, tt := range []struct {
		now  Delegation
		use  identity.UseCase
		runs bool
		want Delegation
		move bool
	}{
		{DelegationWaiting, identity.UseAD, true, DelegationEnabled, true},
		{DelegationWaiting, identity.UseTwoWay, true, DelegationEnabled, true},
		{DelegationWaiting, identity.UseJumpCloud, true, DelegationWaiting, false},
		{DelegationWaiting, identity.UseAD, false, DelegationWaiting, false},
		{DelegationDisabled, identity.UseAD, true, DelegationDisabled, false},
		{DelegationEnabled, identity.UseAD, true, DelegationEnabled, false},
	} {
		if got, move := NextDelegation(tt.now, tt.use, tt.runs); got != tt.want || move != tt.move {
			t.Errorf("%+v: got %s, %v", tt, got, move)
		}
	}
}
