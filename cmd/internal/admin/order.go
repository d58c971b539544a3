package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

const pathOrder = "/v1/user/order"

// AsUseCase is the value of an order that ends it.
const AsUseCase = "default"

// OrderRequest says who shall set the password of one linked user, and who
// shall check it, whatever the use case asks for.
type OrderRequest struct {
	Domain string `json:"domain,omitempty"`
	Name   string `json:"name"`
	// PasswordAuthority and Delegation are ad, jumpcloud, or default for what
	// the use case asks for; empty: as it is.
	PasswordAuthority string `json:"passwordAuthority,omitempty"`
	Delegation        string `json:"delegation,omitempty"`
	// Force: also when the user could not sign in then.
	Force bool `json:"force,omitempty"`
}

// OrderAnswer is what came of it.
type OrderAnswer struct {
	Name string        `json:"name"`
	Link identity.Link `json:"link"` // as it is now
	// Refused says why the user could not sign in; then nothing was done.
	Refused []string `json:"refused,omitempty"`
	// Written are the fields that were written at JumpCloud.
	Written []string `json:"written,omitempty"`
	// Later says what the next pass of the import writes.
	Later string `json:"later,omitempty"`
}

func serveOrder(mux *http.ServeMux, b Backend) {
	serve(mux, pathOrder, func(ctx context.Context, q OrderRequest) (OrderAnswer, error) { return b.Order(ctx, q) })
	serve(mux, pathResyncUser, func(ctx context.Context, q named) (UserRun, error) { return b.ResyncUser(ctx, q.Domain, q.Name) })
}

// side reads a value of an order.
func side(value string, was identity.Side) (identity.Side, error) {
	switch value {
	case "":
		return was, nil
	case AsUseCase:
		return "", nil
	case string(identity.AD), string(identity.JumpCloud):
		return identity.Side(value), nil
	}
	return "", fmt.Errorf("%q: want %s, %s or %s", value, identity.AD, identity.JumpCloud, AsUseCase)
}

// Order keeps in the link what a person wants for one user, so that the
// planner respects it, and writes it at JumpCloud.
func (l *Local) Order(ctx context.Context, q OrderRequest) (a OrderAnswer, err error) {
	d, err := l.pick(q.Domain)
	if err != nil {
		return a, err
	}
	o, err := l.find(ctx, d, q.Name, false)
	if err != nil {
		return a, err
	}
	a.Name = o.name
	a.Link, err = l.Store.LinkByGUID(d.Name, o.guid)
	if errors.Is(err, store.ErrNotFound) {
		return a, fmt.Errorf("%s is not linked to a JumpCloud user; see `dirgate user why %s`: %w", o.name, q.Name, err)
	}
	if err != nil {
		return a, err
	}
	old, want := a.Link, a.Link
	if want.PasswordAuthority, err = side(q.PasswordAuthority, old.PasswordAuthority); err != nil {
		return a, fmt.Errorf("password authority %w", err)
	}
	if want.Delegation, err = side(q.Delegation, old.Delegation); err != nil {
		return a, fmt.Errorf("delegation %w", err)
	}
	peers, err := l.Peers(d.Name)
	if err != nil {
		return a, err
	}
	user, err := peers.JumpCloud.User(ctx, old.JumpCloudID)
	if err != nil {
		return a, fmt.Errorf("read JumpCloud user %s: %w", old.JumpCloudID, err)
	}
	state, err := delegationOf(ctx, peers, d)
	if err != nil {
		return a, err
	}
	now := jumpcloud.ToIdentity(&user, d.JumpCloud.ADID)
	then := now
	effective := want
	effective.PasswordAuthority = authority(d, want)
	plan.Ordered(&then, effective, d.JumpCloud.ADID)
	if a.Refused = shutOut(d, state, now, then, effective); len(a.Refused) > 0 && !q.Force {
		return a, nil
	}
	a.Refused = nil
	err = l.Store.ChangeLink(ctx, d.Name, o.guid, func(link *identity.Link) {
		link.PasswordAuthority, link.Delegation = want.PasswordAuthority, want.Delegation
	})
	if err != nil {
		return a, err
	}
	a.Link.PasswordAuthority, a.Link.Delegation = want.PasswordAuthority, want.Delegation
	if err := l.writeOrder(ctx, d, peers, now, then, &a); err != nil {
		return a, l.takeBack(ctx, d, old, err)
	}
	if q.Delegation == AsUseCase && old.Delegation != "" {
		a.Later = "who checks the password is what the import's next pass decides; `dirgate user resync` makes one"
		if !identity.UseCase(d.UseCase).Imports() {
			a.Later = "who checks the password stays as it is at JumpCloud: use case " + d.UseCase + " does not say"
		}
	}
	return a, nil
}

// authority is who may set a password, by order or by use case.
func authority(d store.Domain, link identity.Link) identity.Side {
	switch {
	case link.PasswordAuthority != "":
		return link.PasswordAuthority
	case identity.UseCase(d.UseCase) == identity.UseAD:
		return identity.AD
	}
	return identity.JumpCloud
}

// delegationOf is the domain's delegationState at JumpCloud.
func delegationOf(ctx context.Context, peers *replicate.Peers, d store.Domain) (string, error) {
	all, err := peers.JumpCloud.ActiveDirectories(ctx)
	if err != nil {
		return "", fmt.Errorf("read the domain's AD object at JumpCloud: %w", err)
	}
	for _, object := range all {
		if object.ID == d.JumpCloud.ADID {
			return object.DelegationState, nil
		}
	}
	return "", fmt.Errorf("JumpCloud has no AD object %s any more: run `dirgate domain register %s` again", d.JumpCloud.ADID, d.Name)
}

// shutOut says why a user could not sign in at JumpCloud with what is to be;
// what keeps him out already is told again only if it concerns the change.
func shutOut(d store.Domain, state string, now, then identity.User, link identity.Link) (why []string) {
	if then.DelegatedTo == d.JumpCloud.ADID {
		if now.DelegatedTo == then.DelegatedTo && link.Delegation == "" {
			return nil
		}
		switch {
		case identity.UseCase(d.UseCase) == identity.UseJumpCloud:
			why = append(why, "use case jumpcloud has no import agent, and JumpCloud lets AD check a password only through one")
		case state == "PENDING":
			why = append(why, "the domain's delegation is PENDING at JumpCloud: until an import agent is active nobody who is delegated can sign in")
		case state != "ENABLED":
			why = append(why, fmt.Sprintf("the domain's delegation is %s at JumpCloud: AD checks nobody's password, and a user needs one at JumpCloud", state))
		}
		return why
	}
	if d.PasswordSync == store.PasswordSyncValidateOnly && link.PasswordAuthority == identity.AD {
		return append(why, "the domain is registered with --password-sync validate-only, so AD's password never reaches JumpCloud, where it could not be set or checked otherwise")
	}
	if !now.Activated {
		how := "one is set there"
		if link.PasswordAuthority == identity.AD {
			how = "it is changed in AD through the gateway, or the user signs in there"
		}
		why = append(why, "the user has no password at JumpCloud, and cannot sign in until "+how)
	}
	return why
}

// writeOrder writes what differs.
func (l *Local) writeOrder(ctx context.Context, d store.Domain, peers *replicate.Peers, now, then identity.User, a *OrderAnswer) error {
	var fields []jumpcloud.Field
	for _, f := range []struct{ name, now, then string }{{plan.FieldRestrict, now.Restricted, then.Restricted}, {plan.FieldDelegate, now.DelegatedTo, then.DelegatedTo}} {
		if f.now != f.then {
			fields = append(fields, jumpcloud.Field{Name: f.name, To: f.then})
			a.Written = append(a.Written, f.name)
		}
	}
	if len(fields) == 0 {
		return nil
	}
	_, err := peers.JumpCloud.UpdateUser(ctx, a.Link.JumpCloudID, d.JumpCloud.ADID, fields)
	return err
}

// takeBack ends an order that JumpCloud refused. One that it may have, or will
// take later, is kept: it can be given again, and the import writes it too.
func (l *Local) takeBack(ctx context.Context, d store.Domain, old identity.Link, cause error) error {
	if !jumpcloud.Refused(cause) || jumpcloud.Temporary(cause) {
		return fmt.Errorf("it is remembered, and may not be written at JumpCloud yet; give the order again when JumpCloud answers: %w", cause)
	}
	err := l.Store.ChangeLink(ctx, d.Name, old.GUID, func(link *identity.Link) {
		link.PasswordAuthority, link.Delegation = old.PasswordAuthority, old.Delegation
	})
	return errors.Join(fmt.Errorf("JumpCloud refused it, and nothing was changed: %w", cause), err)
}

// Order keeps what a person wants for one user.
func (c *Client) Order(ctx context.Context, q OrderRequest) (OrderAnswer, error) {
	return call[OrderAnswer](ctx, c, pathOrder, q)
}
