package delegate

import (
	"context"
	"fmt"
	"time"
)

// accountDisabled, lockedOut and passwordExpired are bits of userAccountControl
// and of msDS-User-Account-Control-Computed (MS-ADTS 2.2.16).
const (
	accountDisabled = 0x2
	lockedOut       = 0x10
	passwordExpired = 0x800000
)

// Password says how a user's password stands (rule P5). Who asks must be
// entitled to know: nothing is proved here. The error wraps ErrNoUser when the
// name is nobody's.
func (v *Validator) Password(ctx context.Context, username string) (PasswordInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	n, ok := parseName(username)
	if !ok {
		return PasswordInfo{}, ErrNoUser
	}
	s, err := v.find(ctx, n)
	if err == nil && Decide(s.facts).Reason == NoSuchUser {
		err = ErrNoUser
	}
	if err != nil {
		return PasswordInfo{}, fmt.Errorf("password status of a user: %w", err)
	}
	return describe(s, v.cfg.Now()), nil
}

// describe is pure: what is known of a subject at a moment.
func describe(s subject, now time.Time) PasswordInfo {
	d := Decide(s.facts)
	info := PasswordInfo{User: *s.user(), Authority: d.Authority, Reason: d.Reason, ChangedAt: ChangedAt(s.facts)}
	byAD := d.Authority == ByAD || d.Authority == "" && s.facts.InAD
	if s.entry != nil {
		info.SetAt = pointInTime(s.entry.get("pwdlastset"))
	}
	if byAD {
		bits := number(s.entry.get("useraccountcontrol")) | number(s.entry.get("msds-user-account-control-computed"))
		info.Disabled, info.Locked = bits&accountDisabled != 0, bits&lockedOut != 0
		info.MustChange = s.entry.get("pwdlastset") == "0"
		info.ExpiresAt = s.expires
		info.Expired = !info.MustChange && (bits&passwordExpired != 0 || !s.expires.IsZero() && !now.Before(s.expires))
	} else if s.cloud != nil {
		info.Disabled, info.Locked, info.Expired, info.ExpiresAt = s.cloud.Suspended, s.cloud.Locked, s.cloud.Expired, s.cloud.PasswordExpires
	}
	info.InSync = s.entry != nil && s.cloud != nil && s.cloud.PasswordSet != 0 && s.cloud.PasswordSet == number(s.entry.get("pwdlastset"))
	info.Status = statusOf(s, info)
	return info
}

// statusOf derives one word, as JumpCloud's console shows it: Delegated before
// all, then what keeps the user out.
func statusOf(s subject, info PasswordInfo) PasswordStatus {
	switch {
	case s.cloud != nil && s.cloud.DelegatedToAD:
		return StatusDelegated
	case info.Locked:
		return StatusLocked
	case info.Expired, info.MustChange:
		return StatusExpired
	case s.cloud != nil && !s.cloud.HasPassword:
		return StatusPending
	}
	return StatusActive
}
