package jumpcloud

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// CreateUser makes a user. username and email are needed; empty fields are
// left out; without state the organisation's default holds (see
// [OrganizationSettings]). adID is the AD object that restrictedFields means.
//
// If JumpCloud's answer was lost, the user is looked for by username and
// email, and one with both is taken for the one made: before, nobody can have
// had both, or JumpCloud had refused. One that is not found may yet appear,
// and the error is [Unknown].
func (c *Client) CreateUser(ctx context.Context, adID string, fields []Field) (User, error) {
	var filled []Field
	var username, email string
	for _, f := range fields {
		switch {
		case f.To == "":
			continue
		case f.Name == "username":
			username = f.To
		case f.Name == "email":
			email = f.To
		}
		filled = append(filled, f)
	}
	doc, err := userDocument(filled, adID, &User{})
	if err == nil && (username == "" || email == "") {
		err = fmt.Errorf("username and email are needed")
	}
	if err != nil {
		return User{}, &apiError{op: "create user " + bounded(username), stage: notSent, cause: err}
	}
	var made User
	err = c.write(ctx, http.MethodPost, "/api/systemusers", doc, &made)
	switch {
	case err == nil && made.ID != "":
		return made, nil
	case err == nil:
		err = c.hollow(http.MethodPost, "/api/systemusers", "the answer has no id")
	case !Unknown(err):
		return User{}, err
	}
	found, findErr := c.FindUsers(ctx, username, email)
	for _, u := range found {
		if strings.EqualFold(u.Username, username) && strings.EqualFold(u.Email, email) {
			return u, nil
		}
	}
	if findErr != nil {
		c.cfg.Log.Warn("whether a user was created is not known", "err", findErr)
	}
	return User{}, err
}

// UpdateUser sets the named fields and leaves all others as they are; it gives
// the user as JumpCloud answers it. adID is the AD object that
// restrictedFields means.
//
// Phone numbers, addresses and restricted fields are lists that JumpCloud
// replaces as a whole: they are read first, and what others put there is kept.
// A change that somebody else makes to the same list in the same moment can be
// lost.
func (c *Client) UpdateUser(ctx context.Context, id, adID string, fields []Field) (User, error) {
	var was, now User
	path, err := idPath("/api/systemusers/", id, "")
	if err != nil {
		return now, err
	}
	for _, f := range fields {
		if f.listed() {
			if was, err = c.User(ctx, id); err != nil {
				return now, fmt.Errorf("read before update: %w", err)
			}
			break
		}
	}
	doc, err := userDocument(fields, adID, &was)
	if err != nil {
		return now, &apiError{op: "PUT " + c.basePath + path, stage: notSent, cause: err}
	}
	err = c.write(ctx, http.MethodPut, path, doc, &now)
	if err == nil && now.ID != id {
		err = c.hollow(http.MethodPut, path, "the answer is not the user's")
	}
	return now, err
}

// DeleteUser removes a user; who had it as manager has none then. A user that
// is not there is no error.
func (c *Client) DeleteUser(ctx context.Context, id string) error {
	path, err := idPath("/api/systemusers/", id, "")
	if err != nil {
		return err
	}
	err = c.do(ctx, call{method: http.MethodDelete, path: path, query: url.Values{"cascade_manager": {"null"}}})
	if NotFound(err) {
		return nil
	}
	return err
}

// Suspend keeps a user from signing in anywhere. A JumpCloud without the call
// for it is asked by an update.
func (c *Client) Suspend(ctx context.Context, id string) error {
	err := c.userAction(ctx, id, "/state/suspend", nil)
	if is(err, func(e *apiError) bool { return e.code == http.StatusNotFound || e.code == http.StatusMethodNotAllowed }) {
		return c.setState(ctx, id, StateSuspended)
	}
	return err
}

// Activate lets a staged or suspended user sign in, without a mail to it.
func (c *Client) Activate(ctx context.Context, id string) error {
	u, err := c.User(ctx, id)
	switch {
	case err != nil:
		return fmt.Errorf("read before activation: %w", err)
	case u.State == StateActivated && !u.Suspended:
		return nil
	case u.State == StateStaged:
		return c.userAction(ctx, id, "/state/activate", map[string]bool{"email": false})
	}
	return c.setState(ctx, id, StateActivated)
}

func (c *Client) setState(ctx context.Context, id, state string) error {
	path, err := idPath("/api/systemusers/", id, "")
	if err != nil {
		return err
	}
	return c.write(ctx, http.MethodPut, path, map[string]string{"state": state}, nil)
}

// ExpirePassword makes JumpCloud ask the user for a new password.
func (c *Client) ExpirePassword(ctx context.Context, id string) error {
	return c.userAction(ctx, id, "/expire", nil)
}

// Unlock lifts a lockout after too many wrong passwords.
func (c *Client) Unlock(ctx context.Context, id string) error {
	return c.userAction(ctx, id, "/unlock", nil)
}

func (c *Client) userAction(ctx context.Context, id, action string, in any) error {
	path, err := idPath("/api/systemusers/", id, action)
	if err != nil {
		return err
	}
	return c.write(ctx, http.MethodPost, path, in, nil)
}
