package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// SyncCase is what is known about one JumpCloud user and its AD account.
type SyncCase struct {
	Settings
	Rules *Rules
	ID    string         // JumpCloud's id of the user
	Cloud *identity.User // nil: it was deleted
	Bound bool           // to the AD object, directly or by a bound group
	Link  *identity.Link
	AD    *identity.User // the account that Link names; nil: it is gone
	// Imported: the import would pair AD by itself, since it is in its scope.
	Imported bool

	// Without Link, or without AD:

	SAM string // the sAMAccountName that the user asks for
	// Same is the AD account with that name, and SameLinked says that it is
	// another JumpCloud user's.
	Same       *identity.User
	SameLinked bool
	// Taken says what else of AD is in the way of making an account; empty:
	// nothing.
	Taken string
	CN    string // a name that is free in the root container
}

// SyncUser decides about one JumpCloud user (rules S2, S3 and S5).
func SyncUser(c SyncCase) Verdict {
	switch {
	case !c.Use.Syncs() || c.Link == nil && (c.Cloud == nil || !c.Bound):
		return Verdict{}
	case c.Link == nil:
		return c.pair()
	case c.AD == nil:
		return c.accountGone()
	case c.Cloud == nil:
		return c.userGone()
	case !c.Bound:
		return c.unbound()
	case c.AD.Computer:
		return Verdict{Skip: "the AD account is not a person's"}
	case c.service(c.AD):
		return Verdict{Skip: isService}
	case c.AD.Privileged:
		return Verdict{Skip: "the AD account is privileged (adminCount=1): never written"}
	case !c.AD.InRoot:
		return Verdict{Skip: "the AD account is outside the domain's root container: not written"}
	}
	return c.update()
}

// action is one about the user and its account; other fields are the caller's.
func (c *SyncCase) action(kind Kind, reason string) Action {
	a := Action{Kind: kind, UserID: c.ID, Name: c.SAM, Reason: reason}
	if c.Link != nil {
		a.GUID, a.Name = c.Link.GUID, c.Link.Username
	}
	if c.Cloud != nil {
		a.Name = c.Cloud.Username
	}
	if c.AD != nil {
		a.GUID, a.Name = c.AD.GUID, c.AD.Username
	}
	return a
}

// accountGone: the linked account is not in AD any more. In two-way use that is
// an edit made in AD, which the import carries over.
func (c *SyncCase) accountGone() Verdict {
	switch {
	case c.Use.Imports():
		return Verdict{}
	case c.Cloud == nil:
		return Verdict{Actions: []Action{c.action(Unlink, "both sides are gone")}}
	}
	why := c.action(Unlink, "the AD account was deleted")
	if !c.Bound {
		return Verdict{Actions: []Action{why}}
	}
	again := *c
	again.Link = nil
	v := SyncUser(again)
	v.Actions = append([]Action{why}, v.Actions...)
	return v
}

// userGone: the user was deleted at JumpCloud. The account is disabled, never
// deleted; the import makes no user of a disabled account, and when somebody
// enables it again, that is an order to have one.
func (c *SyncCase) userGone() Verdict {
	const why = "the user was deleted at JumpCloud"
	unlink := c.action(Unlink, why)
	switch {
	case c.AD.Disabled || !c.AD.InRoot || c.AD.Computer:
		return Verdict{Actions: []Action{unlink}}
	case c.service(c.AD):
		return Verdict{Skip: why + "; the AD account is " + isService}
	case c.AD.Privileged:
		return Verdict{Skip: why + "; the AD account is privileged (adminCount=1) and never written: disable it by hand"}
	}
	return Verdict{Actions: []Action{c.action(ADDisable, why), unlink}}
}

// unbound: the user is not bound to the AD object. Where the import would pair
// the account again, the pair is kept and rests.
func (c *SyncCase) unbound() Verdict {
	switch {
	case !c.Use.Imports() || !c.Imported:
		return Verdict{Actions: []Action{c.action(Unlink, "unbound from AD in JumpCloud: the account stays as it is")}}
	case released(c.Link):
		return Verdict{Skip: resting}
	}
	return Verdict{} // the import is about to bind it
}

const resting = "unbound from the AD object in JumpCloud: not replicated until it is bound again"

// Rests reports whether a verdict's reason to skip is that a person has unbound
// the user in JumpCloud. Passwords rest then, too.
func Rests(skip string) bool { return skip == resting }

// rest is what becomes of the password of a pair that rests: it is applied when
// the user is bound again soon.
func rest(doubt time.Duration) Decision {
	if doubt < DoubtLimit {
		return Decision{Verb: Wait, Reason: resting}
	}
	return Decision{Verb: Discard, Reason: resting}
}

// released: who was bound, and is not any more, was unbound by a person.
func released(link *identity.Link) bool { return link.WasBound || link.BySync }

// pair finds or makes the account of a user who has none (rule S2).
func (c *SyncCase) pair() Verdict {
	switch bad := badSAM(c.SAM, maxUserSAM); {
	case c.Cloud.State == "STAGED":
		return Verdict{Skip: "STAGED in JumpCloud: an AD account is made or taken over when the user is activated"}
	case c.Cloud.Disabled:
		return Verdict{Skip: "suspended in JumpCloud: an AD account is made or taken over when the user is activated"}
	case bad != "":
		return Verdict{Skip: fmt.Sprintf("%q cannot be a name in AD: %s; change the username, or have a translation rule of sAMAccountName", c.SAM, bad)}
	case c.Same != nil:
		return c.takeOver()
	case c.Taken != "":
		return Verdict{Skip: c.Taken}
	case c.CN == "":
		return Verdict{Skip: fmt.Sprintf("no common name is free in AD for %q: rename the object that has it", c.SAM)}
	}
	return c.create()
}

// takeOver pairs the user with an account that was there before. Its password
// is left alone.
func (c *SyncCase) takeOver() Verdict {
	ad := c.Same
	refuse := func(format string, args ...any) Verdict {
		return Verdict{Skip: fmt.Sprintf("AD account %q (%s) ", ad.Username, ad.DN) + fmt.Sprintf(format, args...)}
	}
	switch {
	case c.SameLinked:
		return refuse("belongs to another JumpCloud user: change one of the two names")
	case ad.Computer:
		return refuse("has that name and is not a person's: change the username")
	case c.service(ad):
		return refuse("is %s", isService)
	case ad.Privileged:
		return refuse("is privileged (adminCount=1): never written")
	case !ad.InRoot:
		return refuse("has that name and is outside the domain's root container: move it there, or change the username")
	case !strings.EqualFold(ad.JoinMail(), c.Cloud.Mail):
		return refuse("has that username, but mail %q where the JumpCloud user has %q: make them agree", ad.JoinMail(), c.Cloud.Mail)
	case ad.Disabled:
		return refuse("is disabled: enable it, and it is taken over")
	}
	paired := *c
	paired.AD = ad
	paired.Link = &identity.Link{Domain: c.Domain, GUID: ad.GUID, JumpCloudID: c.ID, Username: c.Cloud.Username, BySync: true}
	v := paired.update()
	v.Actions = append([]Action{paired.action(Link, "the same username and mail")}, v.Actions...)
	return v
}

// create makes an account. Values of translation rules come last, so that a
// writer who goes through the list lets them prevail.
func (c *SyncCase) create() (v Verdict) {
	u := c.Cloud
	values := []Field{{AttrSAM, "", c.SAM}, {AttrUPN, "", c.upn()}, {AttrCN, "", c.CN}, {AttrFirst, "", u.First}, {AttrLast, "", u.Last},
		{AttrMail, "", u.Mail}, {AttrDisplay, "", displayName(u)}}
	made, notes := c.Rules.values(u, c.Domain, identity.RuleOnCreate)
	for _, e := range made {
		if named(e.attr) {
			continue // is in SAM, upn and CN already
		}
		at := 0
		for at < len(values) && !strings.EqualFold(values[at].Name, e.attr) {
			at++
		}
		if at == len(values) {
			values = append(values, Field{Name: e.attr})
		}
		values[at].To = e.value
	}
	a := c.action(ADCreateUser, "bound to AD, and no account has the username and mail")
	a.Name = c.SAM
	a.Fields = make([]Field, 0, len(values))
	for _, f := range values {
		if f.To != "" {
			a.Fields = append(a.Fields, f)
		}
	}
	return Verdict{Actions: []Action{a}, Note: notes}
}

func displayName(u *identity.User) string {
	if u.Profile.DisplayName != "" {
		return u.Profile.DisplayName
	}
	return strings.Join(strings.Fields(u.First+" "+u.Last), " ")
}

// upn is the sign-in name of a new account.
func (c *SyncCase) upn() string {
	if made, ok := c.Rules.one(c.Cloud, c.Domain, AttrUPN); ok {
		return made
	}
	return c.SAM + "@" + c.Domain
}

// update makes a linked account what the user asks for.
func (c *SyncCase) update() (v Verdict) {
	c.attributes(&v)
	c.states(&v)
	if c.Use == identity.UseJumpCloud {
		c.lift(&v)
	}
	return v
}

// attributes brings names and exported attributes in line.
func (c *SyncCase) attributes(v *Verdict) {
	agreed := make(map[string]string)
	var fields []Field
	exports, notes := c.Rules.exports(c.Cloud, c.Domain)
	v.Note = notes
	for _, e := range exports {
		base, is := c.Link.Agreed[agreedName(e.attr)], ""
		switch field := importedFrom(e.attr); {
		case field == "": // the mirror does not have it: what was written last counts
			is = base
		case c.Use.Imports() && field == e.field:
			pair := compared{field, base, value(c.AD, field), value(c.Cloud, field), true, e.needed}
			to, won := pair.resolve()
			if won != "" && to == identity.AD {
				v.Won = append(v.Won, won)
			}
			if to == "" && base != pair.ad {
				agreed[field] = pair.ad
			}
			if to != identity.AD {
				continue
			}
			is = pair.ad
		default:
			is = value(c.AD, field)
		}
		if is != e.value {
			fields = append(fields, Field{e.attr, is, e.value})
		}
	}
	if len(fields) > 0 {
		a := c.action(ADUpdateUser, "changed in JumpCloud")
		a.Fields = fields
		v.Actions = append(v.Actions, a)
	}
	c.agree(v, agreed)
}

// agree tells what both sides have and the link does not say.
func (c *SyncCase) agree(v *Verdict, fields map[string]string) {
	a := Agreement{Fields: fields, Bound: true}
	a.Enabled = c.Link.DisabledByUs && !c.AD.Disabled && !c.Cloud.Disabled
	a.Activated = c.Link.SuspendedByUs && !c.Cloud.Disabled && !(c.AD.Disabled && c.Use.Imports())
	if len(fields) > 0 || a.Enabled || a.Activated || !c.Link.WasBound {
		v.Agreed = &a
	}
}

// states disables and enables. Only what sync disabled does it enable; what is
// suspended at JumpCloud because AD disabled it is the import's to activate.
func (c *SyncCase) states(v *Verdict) {
	switch imports := c.Use.Imports(); {
	case c.Cloud.Disabled && !c.AD.Disabled && !(imports && c.Link.SuspendedByUs):
		if c.Link.DisabledByUs {
			v.Won = append(v.Won, "disabled: JumpCloud's suspension over AD's enabling: to lift it, activate the user in JumpCloud")
		}
		v.Actions = append(v.Actions, c.action(ADDisable, "suspended in JumpCloud"))
	case !c.Cloud.Disabled && c.AD.Disabled && c.Link.DisabledByUs:
		v.Actions = append(v.Actions, c.action(ADEnable, "activated in JumpCloud"))
	case !c.Cloud.Disabled && c.AD.Disabled && !imports && v.Note == "":
		v.Note = "disabled in AD, not by sync: enable the account there if it shall be"
	}
}

// lift takes back what only the AD object could write at JumpCloud while AD was
// the authority.
func (c *SyncCase) lift(v *Verdict) {
	var want identity.User
	Ordered(&want, *c.Link, c.ADID)
	var fields []Field
	if c.Cloud.Restricted != want.Restricted {
		fields = append(fields, Field{FieldRestrict, c.Cloud.Restricted, want.Restricted})
	}
	if c.Cloud.DelegatedTo != want.DelegatedTo {
		fields = append(fields, Field{FieldDelegate, c.Cloud.DelegatedTo, want.DelegatedTo})
	}
	if len(fields) > 0 {
		a := c.action(UpdateUser, "JumpCloud is the authority")
		a.Fields = fields
		v.Actions = append(v.Actions, a)
	}
}
