package identity

import (
	"cmp"
	"fmt"
)

// UseCase says which side users, groups and passwords are managed on.
type UseCase string

const (
	UseAD        UseCase = "ad"        // AD is the authority (JumpCloud: ADASAUTHORITY)
	UseTwoWay    UseCase = "two-way"   // both sides are (TWOWAYSYNC)
	UseJumpCloud UseCase = "jumpcloud" // JumpCloud is the authority (JCASAUTHORITY)
)

// Imports reports whether changes travel from AD to JumpCloud.
func (u UseCase) Imports() bool { return u == UseAD || u == UseTwoWay }

// Syncs reports whether changes travel from JumpCloud to AD.
func (u UseCase) Syncs() bool { return u == UseJumpCloud || u == UseTwoWay }

// UserAction is what is done to a JumpCloud user when its AD account changed
// in one of the ways that [Actions] lists.
type UserAction string

const (
	ActionRetain     UserAction = "retain"     // password and status stay
	ActionDeactivate UserAction = "deactivate" // the JumpCloud password must be set anew
	ActionRemove     UserAction = "remove"     // the user is deleted
	ActionUnbind     UserAction = "unbind"     // the user stays and is JumpCloud's alone
	ActionSuspend    UserAction = "suspend"    // the user is suspended
	ActionExpire     UserAction = "expire"     // the user's password is expired
	ActionIgnore     UserAction = "ignore"     // nothing
)

// Actions are the settings of a domain's import, with the values that
// JumpCloud's AD Integration has, and ignore.
type Actions struct {
	// Takeover: an AD account is paired with a user that was there before.
	// retain (the default) or deactivate.
	Takeover UserAction `json:"user_takeover_action,omitempty"`
	// Dissociation: the AD account was deleted, or left the scope. remove, the
	// default, or unbind.
	Dissociation UserAction `json:"user_dissociation_action,omitempty"`
	// Disable: the AD account was disabled. suspend (the default), remove,
	// unbind or ignore.
	Disable UserAction `json:"user_disable_action,omitempty"`
	// Expire: accountExpires of the AD account has passed. expire (the
	// default), suspend or ignore.
	Expire UserAction `json:"user_expire_action,omitempty"`
}

// Mapping says which AD attributes are imported.
type Mapping struct {
	// UsernameFrom is the attribute that gives the JumpCloud username:
	// sAMAccountName, the default, or userPrincipalName, of which the part
	// before the @ is used, since JumpCloud allows no @ in a username.
	UsernameFrom string `json:"user_field_mapping,omitempty"`
	// BasicOnly leaves Profile and Manager out: first name, last name,
	// username and mail only (sync_additional_attributes: false).
	BasicOnly bool `json:"basic_only,omitempty"`
}

const (
	FromSAM = "sAMAccountName"
	FromUPN = "userPrincipalName"
)

// From is UsernameFrom, or its default.
func (m Mapping) From() string { return cmp.Or(m.UsernameFrom, FromSAM) }

// Check returns an error that names the first setting with a value it cannot
// have, and the values it can.
func (m Mapping) Check() error {
	if from := m.From(); from != FromSAM && from != FromUPN {
		return fmt.Errorf("user_field_mapping %q: want %s or %s", from, FromSAM, FromUPN)
	}
	return nil
}

// WithDefaults fills in what is empty.
//
// The default of Takeover differs from that of JumpCloud's agent, which is
// deactivate: it locks people out who had a working password. Where it is
// wanted it must be asked for.
func (a Actions) WithDefaults() Actions {
	a.Takeover, a.Dissociation = cmp.Or(a.Takeover, ActionRetain), cmp.Or(a.Dissociation, ActionRemove)
	a.Disable, a.Expire = cmp.Or(a.Disable, ActionSuspend), cmp.Or(a.Expire, ActionExpire)
	return a
}

// Check returns an error that names the first setting with a value it cannot
// have, and the values it can.
func (a Actions) Check() error {
	for _, s := range []struct {
		name  string
		value UserAction
		may   []UserAction
	}{
		{"user_takeover_action", a.Takeover, []UserAction{ActionRetain, ActionDeactivate}},
		{"user_dissociation_action", a.Dissociation, []UserAction{ActionRemove, ActionUnbind}},
		{"user_disable_action", a.Disable, []UserAction{ActionSuspend, ActionRemove, ActionUnbind, ActionIgnore}},
		{"user_expire_action", a.Expire, []UserAction{ActionExpire, ActionSuspend, ActionIgnore}},
	} {
		if !oneOf(s.value, s.may) {
			return fmt.Errorf("%s %q: want %s", s.name, s.value, choice(s.may))
		}
	}
	return nil
}

// choice names values as a person would: "a, b or c".
func choice(may []UserAction) string {
	text := string(may[0])
	for i, m := range may[1:] {
		sep := ", "
		if i == len(may)-2 {
			sep = " or "
		}
		text += sep + string(m)
	}
	return text
}

func oneOf(value UserAction, may []UserAction) bool {
	for _, m := range may {
		if value == m || value == "" {
			return true
		}
	}
	return false
}
