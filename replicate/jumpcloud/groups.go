package jumpcloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
)

// Group is a user group.
type Group struct {
	ID          string `json:"id"` // 24 hex digits
	Name        string `json:"name"`
	Description string `json:"description"`
	// MembershipMethod is NOTSET, STATIC, DYNAMIC_REVIEW_REQUIRED or
	// DYNAMIC_AUTOMATED.
	MembershipMethod string `json:"membershipMethod"`
}

// Dynamic reports whether JumpCloud works out the members by a rule: nobody
// else may write them.
func (g *Group) Dynamic() bool { return strings.HasPrefix(g.MembershipMethod, "DYNAMIC") }

const userGroups = "/api/v2/usergroups"

// ListGroups reads all user groups of the organisation, a page at a time. An
// error ends the list, and then it is not complete.
func (c *Client) ListGroups(ctx context.Context) iter.Seq2[Group, error] {
	return walk(ctx, c, userGroups, sorted("id"), func(g Group) string { return g.ID })
}

// Group reads one user group.
func (c *Client) Group(ctx context.Context, id string) (Group, error) {
	var g Group
	path, err := idPath(userGroups+"/", id, "")
	if err == nil {
		err = c.get(ctx, path, nil, &g)
	}
	return g, err
}

// CreateGroup makes a group whose members are written one by one. If
// JumpCloud's answer was lost, a group of that name is looked for and taken
// for the one made, as in [Client.CreateUser].
func (c *Client) CreateGroup(ctx context.Context, name, description string) (Group, error) {
	in := map[string]string{"name": name}
	if description != "" {
		in["description"] = description
	}
	if name == "" {
		return Group{}, &apiError{op: "create group", stage: notSent, cause: errors.New("the name is empty")}
	}
	var made Group
	err := c.write(ctx, http.MethodPost, userGroups, in, &made)
	switch {
	case err == nil && made.ID != "":
		return made, nil
	case err == nil:
		err = c.hollow(http.MethodPost, userGroups, "the answer has no id")
	case !Unknown(err):
		return Group{}, err
	}
	for g, findErr := range c.ListGroups(ctx) {
		if findErr != nil {
			c.cfg.Log.Warn("whether a group was created is not known", "err", findErr)
		} else if g.Name == name && g.Description == description {
			return g, nil
		}
	}
	return Group{}, err
}

// readOnly are the members of a group's document that a write must not repeat.
var readOnly = []string{"id", "type", "organizationObjectId", "suggestionCounts", "memberQueryErrorFlags"}

// UpdateGroup sets the named fields: name, description, or both. JumpCloud
// replaces a group as a whole: it is read first, and everything else is
// written back as it was, also what this package does not know.
func (c *Client) UpdateGroup(ctx context.Context, id string, fields []Field) (Group, error) {
	var now Group
	path, err := idPath(userGroups+"/", id, "")
	if err != nil {
		return now, err
	}
	var was map[string]json.RawMessage
	if err := c.get(ctx, path, nil, &was); err != nil {
		return now, fmt.Errorf("read before update: %w", err)
	}
	doc, err := groupDocument(was, fields)
	if err != nil {
		return now, &apiError{op: "PUT " + c.basePath + path, stage: notSent, cause: err}
	}
	err = c.write(ctx, http.MethodPut, path, doc, &now)
	if err == nil && now.ID != id {
		err = c.hollow(http.MethodPut, path, "the answer is not the group's")
	}
	return now, err
}

// groupDocument merges fields into what was read.
func groupDocument(was map[string]json.RawMessage, fields []Field) (map[string]any, error) {
	doc := make(map[string]any, len(was))
	for name, value := range was {
		if string(value) != "null" { // to leave it out says the same
			doc[name] = value
		}
	}
	for _, name := range readOnly {
		delete(doc, name)
	}
	for _, f := range fields {
		switch {
		case f.Name == "name" && f.To == "":
			return nil, errors.New("field name: is empty")
		case f.Name != "name" && f.Name != "description":
			return nil, fmt.Errorf("field %s: it is not one that can be written", f.Name)
		}
		doc[f.Name] = f.To
	}
	return doc, nil
}

// DeleteGroup removes a group. One that is not there is no error.
func (c *Client) DeleteGroup(ctx context.Context, id string) error {
	path, err := idPath(userGroups+"/", id, "")
	if err != nil {
		return err
	}
	if err = c.write(ctx, http.MethodDelete, path, nil, nil); NotFound(err) {
		return nil
	}
	return err
}
