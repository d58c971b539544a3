package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// Settings are a registered domain's, as far as they decide about users and
// groups.
type Settings struct {
	Domain  string
	ADID    string // JumpCloud's id of the AD object
	Use     identity.UseCase
	Actions identity.Actions
	Mapping identity.Mapping
	// Delegated: JumpCloud lets AD check passwords (delegationState ENABLED),
	// so that a user may be told to. Without it such a user cannot sign in.
	Delegated bool
	// ImportAccount and SyncAccount are the bind names of the service accounts,
	// as they are registered; empty: there is none.
	ImportAccount, SyncAccount string
}

// UserCase is what is known about one AD account and its JumpCloud user.
type UserCase struct {
	Settings
	Rules *Rules
	Now   time.Time
	// AD is the account; nil: it was deleted.
	AD *identity.User
	// Out says why the account is not in scope; empty: it is. Without AD it
	// has no meaning.
	Out string
	// Rival says which other account in scope needs the same username or mail
	// address; empty: none. It concerns only accounts without Link.
	Rival string
	// Admin: the account is a direct member of the domain's "JumpCloud Admins".
	Admin bool
	// ManagerID is the JumpCloud user that AD.Manager is linked to; empty: the
	// account has no manager, or the manager no user (yet).
	ManagerID string

	Link  *identity.Link
	Cloud *identity.User // the user that Link names; nil: it is gone
	Bound bool           // Cloud is bound to the domain's AD object
	// Holders are the other JumpCloud users that have the wanted username or
	// mail address.
	Holders []Holder
}

// Holder is a JumpCloud user that has a name somebody else needs.
type Holder struct {
	User  identity.User
	Bound bool // to the domain's AD object
	// Link pairs it with an AD account; nil: none.
	Link *identity.Link
	// Username and Mail are what that account wants to be called; empty:
	// not known, or not in scope any more.
	Username, Mail string
}

// Verdict is what is to be done about one account. Without actions, Skip says
// why an account that a person might expect at JumpCloud is left alone; it is
// empty when everything is as it should be.
type Verdict struct {
	Actions []Action
	Skip    string
	// Note says what of an account in scope cannot be carried over.
	Note string
	// Won says, for each field that was edited on both sides, whose value
	// prevails over which (rule S5).
	Won []string
	// Agreed is to be put into the link with [Agree] or [AgreeGroup]; nil:
	// nothing.
	Agreed *Agreement
}

// User decides about one account (rules I1, I3, I4, I6 and I7).
func User(c UserCase) Verdict {
	c.Actions = c.Actions.WithDefaults()
	switch {
	case !c.Use.Imports():
		return Verdict{Skip: "users are managed in JumpCloud"}
	case c.Link == nil && c.AD == nil:
		return Verdict{}
	case c.Link != nil && c.Cloud == nil:
		return c.cloudGone()
	case c.AD == nil:
		return c.dissociate("the AD account was deleted")
	case c.AD.Computer:
		return Verdict{Skip: "not a person's account"}
	case c.service(c.AD):
		return Verdict{Skip: isService}
	case c.AD.Privileged:
		// A linked one stays as it is: privileges may be taken away again, and
		// to delete or unbind somebody for a promotion would be absurd.
		return Verdict{Skip: "privileged account (adminCount=1): not replicated"}
	case c.Out != "" && c.Link == nil:
		return Verdict{Skip: c.Out}
	case c.Out != "":
		return c.dissociate(c.Out)
	}
	want, unusable := c.want()
	switch {
	case unusable != "":
		return Verdict{Skip: unusable}
	case c.Link == nil:
		return c.pair(want)
	}
	return c.update(want)
}

// want is the JumpCloud user that the account asks for; unusable says why it
// can have none.
func (c *UserCase) want() (want identity.User, unusable string) {
	ad := c.AD
	if unusable = c.unusable(ad); unusable != "" {
		return want, unusable
	}
	name := Username(c.Mapping, ad)
	want = identity.User{
		Side: identity.JumpCloud, GUID: ad.GUID, Username: name, Mail: joinMail(ad), First: ad.First, Last: ad.Last,
		ExternalDN: ad.DN, PasswordExpires: ad.PasswordExpires, Manager: identity.Ref{ID: c.ManagerID},
	}
	if !c.Mapping.BasicOnly {
		want.Profile = ad.Profile
	}
	if c.Use == identity.UseAD {
		want.Restricted = restrictedAll
		if c.Mapping.BasicOnly {
			want.Restricted = restrictedBasic
		}
		if c.Delegated {
			want.DelegatedTo = c.ADID
		}
	}
	if c.Link != nil {
		Ordered(&want, *c.Link, c.ADID)
	}
	return want, ""
}

// unusable says why an account can have no JumpCloud user; empty: it can.
func (s *Settings) unusable(ad *identity.User) string {
	name := Username(s.Mapping, ad)
	switch mail := joinMail(ad); {
	case ad.First == "" || ad.Last == "":
		return fmt.Sprintf("JumpCloud needs a first and a last name (givenName %q, sn %q)", ad.First, ad.Last)
	case mail == "":
		return "no mail address and no userPrincipalName"
	case !strings.Contains(mail, "@"):
		return fmt.Sprintf("%q is not a mail address", mail)
	case !usable(name):
		return fmt.Sprintf("username %q: JumpCloud wants a letter first, then letters, digits, and . _ - only", name)
	}
	return ""
}

// joinMail is [identity.User.JoinMail] without a copy of the user, which has
// some 600 bytes.
func joinMail(u *identity.User) string { return cmp.Or(u.Mail, u.UPN) }

// Username is the JumpCloud username that an AD account asks for.
func Username(m identity.Mapping, ad *identity.User) string {
	if m.UsernameFrom != identity.FromUPN {
		return ad.Username
	}
	name, _, _ := strings.Cut(ad.UPN, "@")
	return name
}

// usable holds JumpCloud's rules for usernames.
func usable(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		case i > 0 && (c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return name != ""
}

var restrictedAll, restrictedBasic = restricted(false), restricted(true)

// restricted are the fields that JumpCloud's admins and users may not write
// where AD is the authority. The password is among them.
func restricted(basicOnly bool) string {
	fields := []string{FieldUsername, FieldEmail, FieldFirst, FieldLast, "password"}
	if !basicOnly {
		for _, f := range profileFields {
			fields = append(fields, f.restrict)
		}
	}
	slices.Sort(fields)
	return strings.Join(slices.Compact(fields), " ")
}

// action is one about the linked user; other fields are the caller's.
func (c *UserCase) action(kind Kind, reason string) Action {
	a := Action{Kind: kind, Reason: reason}
	if c.Link != nil {
		a.GUID, a.UserID, a.Name = c.Link.GUID, c.Link.JumpCloudID, c.Link.Username
	}
	if c.AD != nil {
		a.GUID, a.Name = c.AD.GUID, c.AD.Username
	}
	return a
}

// cloudGone: somebody deleted the user at JumpCloud.
func (c *UserCase) cloudGone() Verdict {
	v := Verdict{Actions: []Action{c.action(Unlink, "the JumpCloud user was deleted")}}
	if c.Use != identity.UseAD {
		// The deletion is a change of its own, which sync carries to AD; to
		// create the user again would undo it.
		v.Actions = nil
		v.Skip = "the JumpCloud user was deleted there"
		if c.AD == nil {
			v.Skip, v.Actions = "", []Action{c.action(Unlink, "both sides are gone")}
		}
		return v
	}
	unlinked := *c
	unlinked.Link, unlinked.Bound = nil, false
	next := User(unlinked)
	v.Actions, v.Skip, v.Note = append(v.Actions, next.Actions...), next.Skip, next.Note
	return v
}

// rests: somebody unbound the user in JumpCloud, where that is an edit like any
// other, so neither side is written.
func (c *UserCase) rests() bool {
	return c.Use == identity.UseTwoWay && !c.Bound && released(c.Link)
}

// dissociate ends the pair of an account that is gone or out of scope.
func (c *UserCase) dissociate(why string) Verdict {
	if c.rests() {
		return Verdict{Actions: []Action{c.action(Unlink, why)}}
	}
	return Verdict{Actions: c.end(c.Actions.Dissociation, why)}
}

// end carries out remove or unbind.
func (c *UserCase) end(how identity.UserAction, why string) []Action {
	if how == identity.ActionRemove {
		return []Action{c.action(DeleteUser, why), c.action(Unlink, why)}
	}
	return []Action{c.action(UnbindUser, why), c.action(Unlink, why)}
}

// pair finds or makes the user of an account that has none (rule I3).
func (c *UserCase) pair(want identity.User) Verdict {
	if c.AD.Disabled {
		return Verdict{Skip: "disabled in AD: a user is made or taken over when the account is enabled"}
	}
	if c.expired() {
		return Verdict{Skip: "expired in AD: a user is made or taken over when the account is extended"}
	}
	if c.Rival != "" {
		return Verdict{Skip: c.Rival}
	}
	var away []Action
	for i := range c.Holders {
		h := &c.Holders[i]
		sameName, sameMail := strings.EqualFold(h.User.Username, want.Username), strings.EqualFold(h.User.Mail, want.Mail)
		switch {
		case h.Link == nil && sameName && sameMail:
			return c.takeOver(want, h)
		case h.Link == nil && sameName:
			return Verdict{Skip: fmt.Sprintf("JumpCloud user %s has username %q but mail %q: make them agree", h.User.ID, h.User.Username, h.User.Mail)}
		case h.Link == nil:
			return Verdict{Skip: fmt.Sprintf("JumpCloud user %s has mail %q but username %q: make them agree", h.User.ID, h.User.Mail, h.User.Username)}
		}
		moved, kept := h.displace(sameName, sameMail, want)
		if kept != "" {
			return Verdict{Skip: kept}
		}
		away = append(away, moved)
	}
	create := c.action(CreateUser, "in scope, and no JumpCloud user has the username and mail")
	create.Fields = created(&want, c.Mapping.BasicOnly)
	if c.Admin {
		create.Fields = append(create.Fields, Field{FieldSudo, "", "true"})
	}
	actions := append(make([]Action, 0, len(away)+2), away...)
	return Verdict{Actions: append(actions, create, c.action(BindUser, "imported from AD"))}
}

// takeOver pairs the account with a user that was there before.
func (c *UserCase) takeOver(want identity.User, h *Holder) Verdict {
	user := &h.User
	link := c.action(Link, "the same username and mail")
	link.UserID = user.ID
	paired := *c
	paired.Link = &identity.Link{Domain: c.Domain, GUID: c.AD.GUID, JumpCloudID: user.ID, Username: user.Username}
	paired.Cloud, paired.Bound, paired.Holders = user, h.Bound, slices.DeleteFunc(slices.Clone(c.Holders), func(h Holder) bool { return h.User.ID == user.ID })
	v := paired.update(want)
	v.Actions = append([]Action{link}, v.Actions...)
	if c.Actions.Takeover == identity.ActionDeactivate {
		v.Actions = append(v.Actions, paired.action(ExpirePassword, "user_takeover_action is deactivate"))
	}
	return v
}

// update makes a linked user what the account asks for.
func (c *UserCase) update(want identity.User) (v Verdict) {
	if c.rests() {
		return Verdict{Skip: resting}
	}
	if how, why := c.ended(); how != "" {
		return Verdict{Actions: c.end(how, why)}
	}
	if want.Manager.ID == "" && !c.AD.Manager.GUID.IsZero() {
		want.Manager.ID = c.Cloud.Manager.ID // the manager is not imported: not a reason to have none
	}
	kept := c.merge(&want, &v)
	v.Actions, v.Note = c.makeRoom(&want)
	if v.Note == "" {
		v.Note = kept
	}
	if fields := diff(c.Cloud, &want, c.Mapping.BasicOnly); len(fields) > 0 {
		a := c.action(UpdateUser, "changed in AD")
		a.Fields = fields
		v.Actions = append(v.Actions, a)
	}
	if c.Admin != c.Cloud.Sudo && (c.Admin || c.Link.SudoGiven) {
		a := c.action(UpdateUser, "a member of JumpCloud Admins")
		if !c.Admin {
			a.Reason = "no longer a member of JumpCloud Admins"
		}
		a.Fields = []Field{{FieldSudo, fmt.Sprint(c.Cloud.Sudo), fmt.Sprint(c.Admin)}}
		v.Actions = append(v.Actions, a)
	}
	if !c.Bound {
		v.Actions = append(v.Actions, c.action(BindUser, "imported from AD"))
	}
	v.Actions = append(v.Actions, c.states(&v)...)
	c.lifted(&v)
	if v.Note == "" && c.Cloud.Disabled && !c.AD.Disabled && !c.Link.SuspendedByUs {
		v.Note = "suspended at JumpCloud, not for AD: activate the user there if it shall be"
	}
	return v
}

// ended: the account is disabled, and that ends the pair.
func (c *UserCase) ended() (how identity.UserAction, why string) {
	if c.Link.DisabledByUs {
		return "", "" // for JumpCloud, not for AD
	}
	if c.AD.Disabled && (c.Actions.Disable == identity.ActionRemove || c.Actions.Disable == identity.ActionUnbind) {
		return c.Actions.Disable, fmt.Sprintf("disabled in AD, and user_disable_action is %s", c.Actions.Disable)
	}
	return "", ""
}

func (c *UserCase) expired() bool {
	return !c.AD.AccountExpires.IsZero() && !c.AD.AccountExpires.After(c.Now)
}

// states brings suspension and expiry in line (rule I6). A suspension that
// somebody made at JumpCloud is left to them.
func (c *UserCase) states(v *Verdict) []Action {
	var why string
	switch {
	case c.AD.Disabled && c.Link.DisabledByUs && c.Use.Syncs(): // sync enables it, when the user is activated
		return nil
	case c.AD.Disabled && c.Actions.Disable == identity.ActionSuspend:
		why = "disabled in AD"
	case c.expired() && c.Actions.Expire == identity.ActionSuspend:
		why = "expired in AD"
	}
	switch {
	case why != "" && !c.Cloud.Disabled:
		if c.Link.SuspendedByUs && c.Use == identity.UseTwoWay {
			v.Won = append(v.Won, "disabled: AD's disabling over JumpCloud's activation: to lift it, enable the account in AD")
		}
		return []Action{c.action(Suspend, why)}
	case why == "" && c.Cloud.Disabled && c.Link.SuspendedByUs:
		return []Action{c.action(Activate, "enabled in AD")}
	case c.expired() && c.Actions.Expire == identity.ActionExpire && !c.Link.ExpiredFor.Equal(c.AD.AccountExpires) && !c.Cloud.Disabled:
		return []Action{c.action(ExpirePassword, "expired in AD at "+stamp(c.AD.AccountExpires))}
	}
	return nil
}

// makeRoom moves linked users away that hold the name or the address that
// this one needs, and keeps what cannot be had as it is.
func (c *UserCase) makeRoom(want *identity.User) (away []Action, note string) {
	for i := range c.Holders {
		h := &c.Holders[i]
		sameName := strings.EqualFold(h.User.Username, want.Username) && !strings.EqualFold(c.Cloud.Username, want.Username)
		sameMail := strings.EqualFold(h.User.Mail, want.Mail) && !strings.EqualFold(c.Cloud.Mail, want.Mail)
		if !sameName && !sameMail {
			continue
		}
		moved, kept := h.displace(sameName, sameMail, *want)
		if kept == "" {
			away = append(away, moved)
			continue
		}
		note = kept
		if sameName {
			want.Username = c.Cloud.Username
		}
		if sameMail {
			want.Mail = c.Cloud.Mail
		}
	}
	return away, note
}

// displace moves a linked user off a name that its own AD account has given
// up; kept says why it stays. Two accounts that swap names meet here: the
// second is given a name for the moment, until its own turn comes.
func (h *Holder) displace(name, mail bool, want identity.User) (moved Action, kept string) {
	stays := func(what, value string) string {
		if h.Link == nil {
			return fmt.Sprintf("%s %q belongs to JumpCloud user %s, which was not imported: change one of them", what, value, h.User.ID)
		}
		return fmt.Sprintf("%s %q belongs to JumpCloud user %s of another AD account (%s): change one of them", what, value, h.User.ID, h.Link.GUID)
	}
	switch {
	case name && (h.Link == nil || h.Username == "" || strings.EqualFold(h.Username, want.Username)):
		return moved, stays("username", want.Username)
	case mail && (h.Link == nil || h.Mail == "" || strings.EqualFold(h.Mail, want.Mail)):
		return moved, stays("mail address", want.Mail)
	}
	moved = Action{Kind: UpdateUser, GUID: h.Link.GUID, Name: h.User.Username, UserID: h.User.ID,
		Reason: fmt.Sprintf("its AD account gave up a name that %q needs", want.Username)}
	mark := roomMark(h.Link.GUID)
	if name {
		moved.Fields = append(moved.Fields, Field{FieldUsername, h.User.Username, h.User.Username + "." + mark})
	}
	if mail {
		local, domain, _ := strings.Cut(h.User.Mail, "@")
		moved.Fields = append(moved.Fields, Field{FieldEmail, h.User.Mail, local + "." + mark + "@" + domain})
	}
	return moved, ""
}
