package adsim

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// passwords are an account's, as keyed hashes.
type passwords struct {
	salt    []byte
	current []byte   // nil: none was ever set
	history [][]byte // earlier ones, newest first
	changed time.Time
}

func (p *passwords) hash(password []byte) []byte {
	if p.salt == nil {
		p.salt = make([]byte, 16)
		_, _ = rand.Read(p.salt)
	}
	h := hmac.New(sha256.New, p.salt)
	h.Write(password)
	return h.Sum(nil)
}

func (p *passwords) matches(password []byte) bool {
	return p.current != nil && subtle.ConstantTimeCompare(p.hash(password), p.current) == 1
}

// wasPrevious reports whether password was replaced less than the grace ago.
func (p *passwords) wasPrevious(password []byte, now time.Time, grace time.Duration) bool {
	return now.Sub(p.changed) < grace && p.inHistory(password, 1)
}

// inHistory reports whether password is among the last n before the current.
func (p *passwords) inHistory(password []byte, n int) bool {
	hash := p.hash(password)
	for _, old := range p.history[:min(n, len(p.history))] {
		if bytes.Equal(old, hash) {
			return true
		}
	}
	return false
}

// keptHistory bounds the passwords remembered of an account: AD's highest
// pwdHistoryLength.
const keptHistory = 1024

// setPassword replaces the password, without asking the policy.
func (d *Directory) setPassword(e *entry, password []byte) {
	p := &e.secret
	hash := p.hash(password)
	if p.current != nil {
		p.history = append([][]byte{p.current}, p.history[:min(len(p.history), keptHistory-1)]...)
	}
	p.current, p.changed = hash, d.now()
	e.setNum("pwdLastSet", filetime(d.now()))
}

// A passwordWrite is what a Modify does to unicodePwd, all its changes together.
type passwordWrite struct {
	deletes, adds, replaces int // changes of each kind
	old                     []string
	added                   []string
	replacement             []string
	bareDelete              bool // a delete without a value
}

// isPassword reports whether a change is about unicodePwd. As in AD, an option
// or the OID in place of the name is another attribute, which does not exist.
func isPassword(c Change) bool { return strings.EqualFold(c.Name, "unicodePwd") }

func gatherPassword(changes []Change) (w passwordWrite, any bool) {
	for _, c := range changes {
		if !isPassword(c) {
			continue
		}
		any = true
		switch c.Op {
		case ldapwire.ModDelete:
			w.deletes++
			w.old = append(w.old, c.Values...)
			w.bareDelete = w.bareDelete || len(c.Values) == 0
		case ldapwire.ModAdd:
			w.adds++
			w.added = append(w.added, c.Values...)
		default:
			w.replaces++
			w.replacement = append(w.replacement, c.Values...)
		}
	}
	return w, any
}

const pwdAttr = "unicodePwd"

// writePassword carries out a change or a reset (MS-ADTS 3.1.1.3.1.5.1) on e, a
// copy of target. The order of changes does not matter; of several values to
// set, the last one counts.
func (d *Directory) writePassword(actor, target, e *entry, w passwordWrite) *Refusal {
	for _, v := range append(append(append([]string(nil), w.old...), w.added...), w.replacement...) {
		if v == "" {
			return badSyntax(pwdAttr)
		}
	}
	switch {
	case w.adds > 0 && w.deletes == 0 && !d.mayReset(actor, target):
		return denied(win32AccessDenied) // without an old value it would be a reset
	case w.replaces > 0 && w.deletes+w.adds > 0, w.replaces > 0 && len(w.replacement) == 0, w.adds == 0 && w.replaces == 0, w.adds > 0 && w.deletes == 0:
		return unwilling(win32GenFailure)
	case w.replaces > 0:
		return d.resetPassword(actor, e, w.replacement[len(w.replacement)-1])
	case len(w.old) > 1 || len(w.added) > 1:
		return constraint(win32PasswordPolicy, pwdAttr)
	case len(w.added) == 0:
		return unwilling(win32GenFailure)
	case w.bareDelete && !d.mayReset(actor, target):
		return constraint(win32InvalidPassword, pwdAttr) // a change without proof
	case w.bareDelete:
		return d.resetPassword(actor, e, w.added[0])
	}
	return d.changePassword(target, e, w.old[0], w.added[0])
}

// resetPassword needs the right to, and asks the policy only for length and
// complexity.
func (d *Directory) resetPassword(actor, e *entry, value string) *Refusal {
	if !d.mayReset(actor, e) {
		return denied(win32AccessDenied)
	}
	password, ok := decodePassword(value)
	if !ok {
		return unwilling(win32GenFailure)
	}
	policy := d.policy()
	if !policy.permits(password, e.first("sAMAccountName"), e.first("displayName")) {
		return unwilling(win32PasswordPolicy)
	}
	d.setPassword(e, password)
	return nil
}

// changePassword is open to whoever knows the old password. A wrong one counts
// as a failed logon, and is counted on target although the Modify fails.
func (d *Directory) changePassword(target, e *entry, oldValue, newValue string) *Refusal {
	now, policy := d.now(), d.policy()
	old, ok := decodePassword(oldValue)
	fresh, ok2 := decodePassword(newValue)
	if !ok || !ok2 {
		return unwilling(win32GenFailure)
	}
	if policy.locked(e, now) {
		return constraint(win32LockedOut, pwdAttr)
	}
	if !e.secret.matches(old) {
		d.countFailure(target, old, policy, now)
		return constraint(win32InvalidPassword, pwdAttr)
	}
	set := e.num("pwdLastSet")
	young := set != 0 && filetime(now) < set+int64(policy.MinAge/100)
	used := policy.History > 0 && (e.secret.matches(fresh) || e.secret.inHistory(fresh, policy.History-1))
	if young || used || !policy.permits(fresh, e.first("sAMAccountName"), e.first("displayName")) {
		return constraint(win32PasswordPolicy, pwdAttr)
	}
	d.setPassword(e, fresh)
	return nil
}

// decodePassword takes the quotes off UTF-16LE. An unpaired surrogate is kept,
// as the three bytes that UTF-8 would use if it could, and so is NUL: AD stores
// both, and then no simple bind can name the password.
func decodePassword(value string) ([]byte, bool) {
	if len(value)%2 != 0 || len(value) < 4 {
		return nil, false
	}
	units := make([]uint16, len(value)/2)
	for i := range units {
		units[i] = uint16(value[2*i]) | uint16(value[2*i+1])<<8
	}
	if units[0] != '"' || units[len(units)-1] != '"' {
		return nil, false
	}
	units = units[1 : len(units)-1]
	var out []byte
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if utf16.IsSurrogate(r) {
			if i+1 < len(units) {
				if pair := utf16.DecodeRune(r, rune(units[i+1])); pair != utf8.RuneError {
					out = utf8.AppendRune(out, pair)
					i++
					continue
				}
			}
			out = append(out, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0xbf, 0x80|byte(r)&0xbf)
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}
