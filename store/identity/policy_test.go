package identity

import (
	"strings"
	"testing"
)

func TestActions(t *testing.T) {
	if got, want := (Actions{}).WithDefaults(), (Actions{ActionRetain, ActionRemove, ActionSuspend, ActionExpire}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	chosen := Actions{ActionDeactivate, ActionUnbind, ActionIgnore, ActionSuspend}
	if got := chosen.WithDefaults(); got != chosen {
		t.Errorf("a default replaced a choice: %+v", got)
	}
	if err := chosen.Check(); err != nil {
		t.Error(err)
	}
	if err := (Actions{}).Check(); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]Actions{
		"user_takeover_action":     {Takeover: ActionRemove},
		"user_dissociation_action": {Dissociation: ActionSuspend},
		"user_disable_action":      {Disable: ActionExpire},
		"user_expire_action":       {Expire: "delete"},
	} {
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: got %v, want an error naming %s", bad, err, name)
		}
	}
}

func TestUseCase(t *testing.T) {
	for use, want := range map[UseCase][2]bool{UseAD: {true, false}, UseTwoWay: {true, true}, UseJumpCloud: {false, true}, "": {false, false}} {
		if got := [2]bool{use.Imports(), use.Syncs()}; got != want {
			t.Errorf("%q imports and syncs: %v, want %v", use, got, want)
		}
	}
}

func TestMapping(t *testing.T) {
	for _, m := range []Mapping{{}, {UsernameFrom: FromSAM}, {UsernameFrom: FromUPN, BasicOnly: true}} {
		if err := m.Check(); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	if from := (Mapping{}).From(); from != FromSAM {
		t.Errorf("without a choice: got %q, want %s", from, FromSAM)
	}
	if err := (Mapping{UsernameFrom: "cn"}).Check(); err == nil || !strings.Contains(err.Error(), "user_field_mapping") {
		t.Errorf("cn: got %v, want an error naming user_field_mapping", err)
	}
}
