package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
)

const (
	pathAgents      = "/v1/agents"
	pathAgentRemove = "/v1/agents/remove"
)

// AgentBackend is the part of a Backend that is about agents.
type AgentBackend interface {
	// Agents says for the named domain, or for all, what works here and which
	// agents JumpCloud knows.
	Agents(ctx context.Context, domain string) ([]Agents, error)
	// RemoveAgent deletes JumpCloud's record of an agent.
	RemoveAgent(ctx context.Context, domain, id string) (replicate.CloudAgent, error)
}

// Node is the daemon that works on this store.
type Node struct {
	Host    string   `json:"host"`
	Version string   `json:"version"`
	Roles   []string `json:"roles"` // none: no daemon runs
}

// Contact is what a daemon has seen of the two sides of a domain.
type Contact struct {
	Controllers []ControllerContact `json:"controllers,omitempty"`
	// JumpCloud is when it answered last since the daemon's start; zero: never.
	JumpCloud time.Time `json:"jumpcloud,omitzero"`
	// Away says why it is taken to be away; empty: it is not.
	Away string `json:"away,omitempty"`
}

// ControllerContact is one domain controller.
type ControllerContact struct {
	Name  string    `json:"name"`
	Up    bool      `json:"up"`
	Since time.Time `json:"since,omitzero"` // it has been so; zero: not known yet
	Err   string    `json:"err,omitempty"`
}

// Agents are those of one domain.
type Agents struct {
	Domain string `json:"domain"`
	Node   Node   `json:"node"`
	// Work is what this node does, for each direction of the domain. It is the
	// primary of a direction that a daemon works on, paused or not.
	Work    []reconcile.Status `json:"work"`
	Contact Contact            `json:"contact"`
	// JumpCloud is nil when it could not be asked; Err says why.
	JumpCloud *replicate.CloudDomain `json:"jumpcloud"`
	Err       string                 `json:"err,omitempty"`
}

// Agents says what works here, and which agents JumpCloud knows.
func (l *Local) Agents(ctx context.Context, domain string) (all []Agents, err error) {
	domains, err := l.domainsFor(domain)
	if err != nil {
		return nil, err
	}
	for _, d := range domains {
		a := Agents{Domain: d.Name, Node: l.Node, Work: []reconcile.Status{}}
		work, err := l.Replication(ctx, d.Name)
		if err != nil {
			return nil, err
		}
		for _, r := range work {
			a.Work = append(a.Work, r.Status)
		}
		a.JumpCloud, a.Err = l.cloudOf(ctx, d)
		if l.Contact != nil { // last, so that it counts what was just asked
			a.Contact = l.Contact(d.Name)
		}
		all = append(all, a)
	}
	return all, nil
}

// cloudOf asks JumpCloud about a domain; what works here is told also when it
// does not answer.
func (l *Local) cloudOf(ctx context.Context, d store.Domain) (*replicate.CloudDomain, string) {
	peers, err := l.Peers(d.Name)
	if err != nil {
		return nil, err.Error()
	}
	found, err := replicate.ReadCloud(ctx, d, peers.JumpCloud)
	if err != nil {
		return nil, err.Error()
	}
	return &found, ""
}

// RemoveAgent deletes JumpCloud's record of an agent.
func (l *Local) RemoveAgent(ctx context.Context, domain, id string) (replicate.CloudAgent, error) {
	d, err := l.pick(domain)
	if err != nil {
		return replicate.CloudAgent{}, err
	}
	peers, err := l.Peers(d.Name)
	if err != nil {
		return replicate.CloudAgent{}, err
	}
	return replicate.RemoveAgent(ctx, l.Store, d, peers.JumpCloud, id)
}

// Agents says what works there, and which agents JumpCloud knows.
func (c *Client) Agents(ctx context.Context, domain string) ([]Agents, error) {
	return call[[]Agents](ctx, c, pathAgents, named{Domain: domain})
}

// RemoveAgent deletes JumpCloud's record of an agent.
func (c *Client) RemoveAgent(ctx context.Context, domain, id string) (replicate.CloudAgent, error) {
	return call[replicate.CloudAgent](ctx, c, pathAgentRemove, named{Domain: domain, Name: id})
}

func serveAgents(mux *http.ServeMux, b AgentBackend) {
	serve(mux, pathAgents, func(ctx context.Context, q named) ([]Agents, error) { return b.Agents(ctx, q.Domain) })
	serve(mux, pathAgentRemove, func(ctx context.Context, q named) (replicate.CloudAgent, error) {
		return b.RemoveAgent(ctx, q.Domain, q.Name)
	})
}
