package gateway

import (
	"strconv"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// passwordFacts is what the DC that accepted a bind says about the account and
// its password, to the account itself.
type passwordFacts struct {
	dcTime     time.Time // the DC's clock; zero: not said
	pwdLastSet int64     // 100 ns since 1601; meaningless unless saysSet
	saysSet    bool
	control    int64 // userAccountControl; 0: not said
	privileged bool  // of a group that AdminSDHolder protects, or marked as such
}

// read takes one attribute, by its name in lower case.
func (f *passwordFacts) read(name, value string) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return
	}
	switch name {
	case "pwdlastset":
		f.pwdLastSet, f.saysSet = n, true
	case "useraccountcontrol":
		f.control = n
	case "admincount":
		f.privileged = f.privileged || n == 1
	}
}

// userAccountControl (MS-ADTS 2.2.16).
const (
	controlNormalAccount     = 0x200
	controlOtherAccounts     = 0x800 | 0x1000 | 0x2000 // of a trusted domain, a workstation, a controller
	controlSmartCardRequired = 0x40000
)

// lookAgain is when a password that teaches nothing is looked at again: the
// account may come into scope, or get a user to be paired with.
const lookAgain = 10 * time.Minute

// proves decides whether a bind that the DC accepted proves what the account's
// password is now (rule G6). why is empty when it does; else again says when
// the same bind may prove more.
//
// For OldPasswordAllowedPeriod after a change, 60 minutes by default, a DC
// accepts the password before it too (Microsoft KB 906305). It compares
// pwdLastSet with its own clock, and so is done here: whether that clock is
// right makes no difference. minAge is the period and a margin.
func proves(f passwordFacts, minAge time.Duration) (why string, again time.Duration) {
	switch {
	case f.privileged:
		return "the account is privileged", lookAgain
	case f.control&controlNormalAccount == 0 || f.control&controlOtherAccounts != 0:
		return "not a person's account, as far as the controller says", lookAgain
	case f.control&controlSmartCardRequired != 0:
		return "the account must use a smart card", lookAgain
	case !f.saysSet || f.dcTime.IsZero():
		return "the controller does not say when the password was set, or its time", lookAgain
	case f.pwdLastSet <= 0:
		return "the password is temporary (must change at next logon)", lookAgain
	}
	age := f.dcTime.Sub(identity.FileTime(f.pwdLastSet))
	if age <= minAge {
		return "the password before this one may still be accepted", min(minAge, minAge-age) + time.Minute
	}
	return "", 0
}

// generalizedTime reads a time as AD writes it (RFC 4517 section 3.3.13, with
// "Z" and with or without fractions); zero: it is none.
func generalizedTime(text string) time.Time {
	t, err := time.Parse("20060102150405Z", text)
	if err != nil {
		t, err = time.Parse("20060102150405.9Z", text)
	}
	if err != nil {
		return time.Time{}
	}
	return t
}

// isPrivilegedSID reports whether a SID is that of an account or a group which
// AdminSDHolder protects. adminCount says the same up to an hour late, since
// the protection is renewed hourly (MS-ADTS 3.1.1.6.1).
func isPrivilegedSID(sid string) bool {
	if builtin, ok := strings.CutPrefix(sid, "S-1-5-32-"); ok {
		switch builtin {
		case "544", "548", "549", "550", "551", "552": // administrators and operators, replicators
			return true
		}
		return false
	}
	if !strings.HasPrefix(sid, "S-1-5-21-") {
		return false
	}
	switch sid[strings.LastIndexByte(sid, '-')+1:] {
	case "500", "502", "512", "516", "518", "519", "521", "526", "527":
		// Administrator, krbtgt; domain admins, controllers, schema and
		// enterprise admins, read-only controllers, key admins.
		return strings.Count(sid, "-") == 7
	}
	return false
}
