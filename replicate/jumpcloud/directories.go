package jumpcloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/dirgate/dirgate/store/secret"
)

// ActiveDirectory is JumpCloud's object for one AD domain.
type ActiveDirectory struct {
	ID                 string `json:"id"`
	Domain             string `json:"domain"`          // a DN with semicolons: DC=corp;DC=example
	UseCase            string `json:"useCase"`         // UNSET, TWOWAYSYNC, JCASAUTHORITY or ADASAUTHORITY
	DelegationState    string `json:"delegationState"` // ENABLED, PENDING or DISABLED
	GroupsEnabled      bool   `json:"groupsEnabled"`
	PrimaryAgent       string `json:"primaryAgent"`       // id of the sync agent in charge
	PrimaryImportAgent string `json:"primaryImportAgent"` // id of the import agent in charge
}

// ActiveDirectoryUpdate is what to change; what is empty stays as it is.
type ActiveDirectoryUpdate struct {
	UseCase         string `json:"useCase,omitempty"`
	DelegationState string `json:"delegationState,omitempty"`
	GroupsEnabled   *bool  `json:"groupsEnabled,omitempty"`
}

const directories = "/api/v2/activedirectories"

// ActiveDirectories lists the organisation's AD objects.
func (c *Client) ActiveDirectories(ctx context.Context) ([]ActiveDirectory, error) {
	return list(ctx, c, directories, func(d ActiveDirectory) string { return d.ID })
}

// CreateActiveDirectory registers a domain, written DC=corp;DC=example.
func (c *Client) CreateActiveDirectory(ctx context.Context, domain string) (ActiveDirectory, error) {
	var made ActiveDirectory
	err := c.write(ctx, http.MethodPost, directories, map[string]string{"domain": domain}, &made)
	if err == nil && made.ID == "" {
		err = c.hollow(http.MethodPost, directories, "the answer has no id")
	}
	return made, err
}

// UpdateActiveDirectory changes an AD object and reads it back: JumpCloud's
// documents do not agree on the fields' names, and a name that it does not
// know is ignored.
func (c *Client) UpdateActiveDirectory(ctx context.Context, id string, change ActiveDirectoryUpdate) (ActiveDirectory, error) {
	var now ActiveDirectory
	path, err := idPath(directories+"/", id, "")
	if err != nil {
		return now, err
	}
	if err := c.write(ctx, http.MethodPatch, path, change, nil); err != nil {
		return now, err
	}
	if err := c.get(ctx, path, nil, &now); err != nil {
		return now, fmt.Errorf("read back after PATCH: %w", err)
	}
	for _, f := range []struct{ name, want, got string }{
		{"useCase", change.UseCase, now.UseCase},
		{"delegationState", change.DelegationState, now.DelegationState},
	} {
		// A delegation switched on is pending until an agent has reported.
		pending := f.want == "ENABLED" && f.got == "PENDING"
		if f.want != "" && f.got != f.want && !pending {
			return now, c.ignored(path, f.name, f.want, f.got)
		}
	}
	if want := change.GroupsEnabled; want != nil && *want != now.GroupsEnabled {
		return now, c.ignored(path, "groupsEnabled", *want, now.GroupsEnabled)
	}
	return now, nil
}

// ignored is the error for a write that was answered with success and had no
// effect.
func (c *Client) ignored(path, field string, want, got any) error {
	return &apiError{op: "PATCH " + c.basePath + path, stage: refused, code: http.StatusOK,
		message: bounded(fmt.Sprintf("%s was to become %v and is %v", field, want, got))}
}

func (c *Client) hollow(method, path, why string) error {
	return &apiError{op: method + " " + c.basePath + path, stage: unknown, message: why}
}

// DeleteActiveDirectory removes an AD object and its agents.
func (c *Client) DeleteActiveDirectory(ctx context.Context, id string) error {
	path, err := idPath(directories+"/", id, "")
	if err != nil {
		return err
	}
	return c.write(ctx, http.MethodDelete, path, nil, nil)
}

// AgentKind is which way an agent carries changes.
type AgentKind string

const (
	AgentImport AgentKind = "IMPORT" // AD to JumpCloud
	AgentSync   AgentKind = "SYNC"   // JumpCloud to AD
)

// Agent is an agent of an AD object.
type Agent struct {
	ID        string    `json:"id"`
	Kind      AgentKind `json:"agentType"`
	State     string    `json:"state"` // unsealed, active or inactive
	Hostname  string    `json:"hostname"`
	HostType  string    `json:"hostType"` // DOMAIN_CONTROLLER or MEMBER_SERVER
	Version   string    `json:"version"`
	ContactAt string    `json:"contactAt"`
	SourceIP  string    `json:"source_ip"`
	// ConnectKey is the agent's credential: only CreateAgent has it.
	ConnectKey secret.Bytes `json:"-"`
}

// Agents lists the agents of an AD object.
func (c *Client) Agents(ctx context.Context, adID string) ([]Agent, error) {
	path, err := idPath(directories+"/", adID, "/agents")
	if err != nil {
		return nil, err
	}
	return list(ctx, c, path, func(a Agent) string { return a.ID })
}

// CreateAgent registers an agent. Its connect key is given this once.
func (c *Client) CreateAgent(ctx context.Context, adID string, kind AgentKind) (Agent, error) {
	path, err := idPath(directories+"/", adID, "/agents")
	if err != nil {
		return Agent{}, err
	}
	var made struct {
		Agent
		Key jsonSecret `json:"connectKey"`
	}
	body, err := jsonBody(map[string]AgentKind{"agentType": kind})
	if err != nil {
		return Agent{}, err
	}
	if err := c.do(ctx, call{method: http.MethodPost, path: path, body: body, out: &made, wipe: true}); err != nil {
		return Agent{}, err
	}
	made.Kind, made.ConnectKey = kind, made.Key.secret
	if made.ID == "" || made.ConnectKey.IsEmpty() {
		return made.Agent, c.hollow(http.MethodPost, path, "the answer has no id or no connectKey")
	}
	return made.Agent, nil
}

// DeleteAgent removes an agent.
func (c *Client) DeleteAgent(ctx context.Context, adID, agentID string) error {
	path, err := idPath(directories+"/", adID, "/agents/")
	if err == nil {
		path, err = idPath(path, agentID, "")
	}
	if err != nil {
		return err
	}
	return c.write(ctx, http.MethodDelete, path, nil, nil)
}

// write sends a request that changes something, once.
func (c *Client) write(ctx context.Context, method, path string, in, out any) error {
	var b *body
	if in != nil {
		var err error
		if b, err = jsonBody(in); err != nil {
			return err
		}
	}
	return c.do(ctx, call{method: method, path: path, body: b, out: out})
}

// jsonSecret takes a JSON string without making a Go string of it.
type jsonSecret struct{ secret secret.Bytes }

// UnmarshalJSON reads a string; its errors do not quote it.
func (k *jsonSecret) UnmarshalJSON(raw []byte) error {
	if len(raw) < 2 || raw[0] != '"' {
		return errors.New("want a string")
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		k.secret = secret.New(raw[1 : len(raw)-1])
		return nil
	}
	var text string // not seen; the string that it takes cannot be cleared
	if err := json.Unmarshal(raw, &text); err != nil {
		return plainJSON(err)
	}
	k.secret = secret.Take([]byte(text))
	return nil
}
