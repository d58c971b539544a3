package replicate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/replicate/settings"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// UserView is one user as `user show` prints it.
type UserView struct {
	Domain    string         `json:"domain"`
	AD        *identity.User `json:"ad,omitempty"`
	JumpCloud *identity.User `json:"jumpcloud,omitempty"`
	Link      *identity.Link `json:"link,omitempty"`
	// Match says how the JumpCloud user would be paired at the first join,
	// while there is no link, or that the linked one is gone.
	Match string `json:"match,omitempty"`
	// Trouble says why nothing is known about JumpCloud's side.
	Trouble string `json:"trouble,omitempty"`
	// PasswordStatus is JumpCloud's: Pending, Active, Expired, Locked or
	// Delegated.
	PasswordStatus string `json:"passwordStatus,omitempty"`
	// PasswordAuthority says who may set the password and DelegatedAuthority
	// who checks it at JumpCloud, as JumpCloud has it: ad or jumpcloud.
	PasswordAuthority  identity.Side `json:"passwordAuthority,omitempty"`
	DelegatedAuthority identity.Side `json:"delegatedAuthority,omitempty"`
	// PasswordInSync: AD's password is the one that JumpCloud was given last,
	// by pwdLastSet.
	PasswordInSync bool             `json:"passwordInSync"`
	Changes        []identity.Entry `json:"changes"` // newest first
}

// showChanges is how many changes `user show` lists.
const showChanges = 10

// Show gathers what both sides and the store say about one user, by
// sAMAccountName, userPrincipalName or objectGUID. When JumpCloud cannot be
// asked the view says so, and has the rest: that is when people look.
func Show(ctx context.Context, st *store.Store, domain store.Domain, peers *Peers, name string) (UserView, error) {
	view := UserView{Domain: domain.Name}
	user, err := lookUp(ctx, domain, peers, name)
	if err != nil {
		return view, err
	}
	if seen, err := st.MirrorUser(domain.Name, user.GUID); err == nil { // a read by name has no dates
		user.AccountExpires, user.PasswordExpires = seen.AccountExpires, seen.PasswordExpires
	}
	view.AD = &user
	if err := view.addJumpCloud(ctx, st, domain, peers.JumpCloud.Once(readLimit)); err != nil {
		if ctx.Err() != nil {
			return view, err
		}
		view.Trouble = err.Error()
	}
	view.Changes, err = st.List(store.ListOptions{Domain: domain.Name, Account: &user.GUID, Newest: true, Limit: showChanges})
	return view, err
}

// lookUp reads an account of AD.
func lookUp(ctx context.Context, domain store.Domain, peers *Peers, name string) (identity.User, error) {
	if guid, err := identity.ParseGUID(name); err == nil {
		return peers.AD.User(ctx, identity.Account{Domain: domain.Name, GUID: guid})
	}
	return peers.AD.FindUser(ctx, domain.BaseDN, name)
}

func (v *UserView) addJumpCloud(ctx context.Context, st *store.Store, domain store.Domain, cloud *jumpcloud.Client) error {
	link, err := st.LinkByGUID(v.Domain, v.AD.GUID)
	if errors.Is(err, store.ErrNotFound) {
		return v.addMatch(ctx, domain, cloud)
	}
	if err != nil {
		return err
	}
	v.Link, v.PasswordInSync = &link, link.PasswordSet != 0 && link.PasswordSet == v.AD.PwdLastSet
	found, err := cloud.User(ctx, link.JumpCloudID)
	if jumpcloud.NotFound(err) {
		v.Match = "the linked JumpCloud user no longer exists; to pair the account anew, run `dirgate user unlink " + v.AD.Username + "`"
		return nil
	}
	if err != nil {
		return err
	}
	v.setJumpCloud(domain, found)
	return nil
}

func (v *UserView) addMatch(ctx context.Context, domain store.Domain, cloud *jumpcloud.Client) error {
	found, err := cloud.FindUsers(ctx, plan.Username(domain.Mapping, v.AD), v.AD.JoinMail())
	if err != nil {
		return err
	}
	facts := plan.PasswordCase{AD: v.AD, Change: identity.Change{Account: identity.Account{GUID: v.AD.GUID}},
		Settings: settings.Of(domain), Now: time.Now()}
	for _, u := range found {
		facts.Candidates = append(facts.Candidates, jumpcloud.ToIdentity(&u, facts.Settings.ADID))
	}
	decision := plan.Password(facts)
	v.Match = "not linked yet: " + decision.Reason
	for _, u := range found {
		if decision.Verb == plan.SetPassword && u.ID == decision.UserID {
			v.setJumpCloud(domain, u)
		}
	}
	return nil
}

func (v *UserView) setJumpCloud(domain store.Domain, u jumpcloud.User) {
	plain := jumpcloud.ToIdentity(&u, domain.JumpCloud.ADID)
	v.JumpCloud = &plain
	v.PasswordStatus = passwordStatus(u)
	v.PasswordAuthority, v.DelegatedAuthority = identity.JumpCloud, identity.JumpCloud
	if slices.Contains(strings.Fields(plain.Restricted), "password") {
		v.PasswordAuthority = identity.AD
	}
	if u.DelegatedAuthority != nil {
		v.DelegatedAuthority = identity.AD
	}
}

// passwordStatus derives JumpCloud's password status (rule P5).
func passwordStatus(u jumpcloud.User) string {
	switch {
	case u.DelegatedAuthority != nil:
		return "Delegated"
	case u.AccountLocked:
		return "Locked"
	case u.PasswordExpired:
		return "Expired"
	case !u.Activated:
		return "Pending"
	}
	return "Active"
}
