package jumpcloud

import (
	"context"
	"iter"
	"net/http"
	"net/url"
)

// What edges of JumpCloud's graph lead to.
const (
	targetUser  = "user"
	targetGroup = "user_group"
)

// connection is one edge, seen from the object that was asked about.
type connection struct {
	To struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"to"`
}

// Members reads the ids of a group's members, a page at a time. An error ends
// the list, and then it is not complete.
func (c *Client) Members(ctx context.Context, groupID string) iter.Seq2[string, error] {
	return c.edges(ctx, userGroups+"/", groupID, "/members", targetUser, nil)
}

// AddMember makes a user a member of a group; one that is already is no error.
func (c *Client) AddMember(ctx context.Context, groupID, userID string) error {
	return c.edge(ctx, userGroups+"/", groupID, "/members", "add", targetUser, userID)
}

// RemoveMember takes a user out of a group; one that is no member is no error.
func (c *Client) RemoveMember(ctx context.Context, groupID, userID string) error {
	return c.edge(ctx, userGroups+"/", groupID, "/members", "remove", targetUser, userID)
}

// BoundUsers reads the ids of the users that are bound to an AD object
// directly, not through a group.
func (c *Client) BoundUsers(ctx context.Context, adID string) iter.Seq2[string, error] {
	return c.edges(ctx, directories+"/", adID, "/associations", targetUser, url.Values{"targets": {targetUser}})
}

// BoundGroups reads the ids of the groups that are bound to an AD object.
func (c *Client) BoundGroups(ctx context.Context, adID string) iter.Seq2[string, error] {
	return c.edges(ctx, directories+"/", adID, "/associations", targetGroup, url.Values{"targets": {targetGroup}})
}

// BindUser binds a user to an AD object; one that is bound is no error.
func (c *Client) BindUser(ctx context.Context, adID, userID string) error {
	return c.edge(ctx, directories+"/", adID, "/associations", "add", targetUser, userID)
}

// UnbindUser undoes BindUser; a user that is not bound is no error.
func (c *Client) UnbindUser(ctx context.Context, adID, userID string) error {
	return c.edge(ctx, directories+"/", adID, "/associations", "remove", targetUser, userID)
}

// BindGroup binds a group to an AD object; one that is bound is no error.
func (c *Client) BindGroup(ctx context.Context, adID, groupID string) error {
	return c.edge(ctx, directories+"/", adID, "/associations", "add", targetGroup, groupID)
}

// UnbindGroup undoes BindGroup; a group that is not bound is no error.
func (c *Client) UnbindGroup(ctx context.Context, adID, groupID string) error {
	return c.edge(ctx, directories+"/", adID, "/associations", "remove", targetGroup, groupID)
}

// edges reads the ids of what an object's edges of one kind lead to.
func (c *Client) edges(ctx context.Context, prefix, id, suffix, target string, query url.Values) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		path, err := idPath(prefix, id, suffix)
		if err != nil {
			yield("", err)
			return
		}
		for edge, err := range walk(ctx, c, path, query, func(e connection) string { return e.To.ID }) {
			if err == nil && edge.To.Type != target {
				continue
			}
			if !yield(edge.To.ID, err) {
				return
			}
		}
	}
}

// edge adds or removes one edge. JumpCloud answers 409 where there is one to
// add already, and 404 where there is none to remove: nothing is left to do.
func (c *Client) edge(ctx context.Context, prefix, id, suffix, op, target, targetID string) error {
	path, err := idPath(prefix, id, suffix)
	if err == nil {
		_, err = idPath(path+"#", targetID, "")
	}
	if err != nil {
		return err
	}
	err = c.write(ctx, http.MethodPost, path, map[string]string{"op": op, "type": target, "id": targetID}, nil)
	done := is(err, func(e *apiError) bool {
		return op == "add" && e.code == http.StatusConflict || op == "remove" && e.code == http.StatusNotFound
	})
	if done {
		return nil
	}
	return err
}
