package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/urfave/cli/v2"
)

// thisNode is this process; roles are a daemon's.
func thisNode(roles []string) admin.Node {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return admin.Node{Host: host, Version: version, Roles: append([]string{}, roles...)}
}

// contact says what was seen of the sides of a domain.
func (d *domains) contact(name string) (seen admin.Contact) {
	c, err := d.get(name)
	if err != nil {
		return admin.Contact{Away: err.Error()}
	}
	for _, s := range c.dcs.Healthy() {
		one := admin.ControllerContact{Name: s.Name, Up: s.Up, Since: s.Since}
		if s.LastErr != nil && !s.Up {
			one.Err = s.LastErr.Error()
		}
		seen.Controllers = append(seen.Controllers, one)
	}
	seen.JumpCloud = c.peers.JumpCloud.Heard()
	if out, away := c.peers.JumpCloud.Outage(); away {
		seen.Away = out.Err.Error()
	}
	return seen
}

func agentCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "agent",
		Usage: "what replicates each domain: this node, and the agents that JumpCloud knows",
		Subcommands: []*cli.Command{
			command(&cli.Command{
				Name: "list", Usage: "list this node's directions and JumpCloud's records of agents", Flags: []cli.Flag{domainFlag()},
				Action: func(c *cli.Context) error { return agentList(c, io) },
			}, 0),
			pauseCommand(io, "agent", "pause", "stop applying the changes of a direction here, as `dirgate replicate pause` does", true),
			pauseCommand(io, "agent", "resume", "apply what waits, in order, and go on", false),
			command(&cli.Command{
				Name: "promote", Usage: "make this node the one that works on a direction, or say what that needs", Flags: []cli.Flag{domainFlag(), directionFlag()},
				Action: func(c *cli.Context) error { return agentPromote(c, io) },
			}, 0),
			command(&cli.Command{
				Name: "remove", Usage: "delete JumpCloud's record ID of an agent", ArgsUsage: "ID",
				Flags:  []cli.Flag{domainFlag(), &cli.BoolFlag{Name: "yes", Usage: "do not ask"}},
				Action: func(c *cli.Context) error { return agentRemove(c, io) },
			}, 1),
		},
	}, 0)
}

func agentList(c *cli.Context, io streams) error {
	ask := func(b admin.Backend) ([]admin.Agents, error) { return b.Agents(c.Context, c.String("domain")) }
	return showList(c, io, ask, func(all []admin.Agents) error { return printAgents(io, all) })
}

func printAgents(io streams, all []admin.Agents) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(io.out, "no domain is registered; run `dirgate domain register`")
		return err
	}
	var rows [][]string
	var notes []string
	for _, a := range all {
		for _, w := range a.Work {
			rows = append(rows, []string{a.Domain, "this node", string(w.Direction), "", string(w.State), a.Node.Host, a.Node.Version, moment(w.LastPass), yes(primary(a, w)), reasonOf(w)})
		}
		notes = append(notes, contactNotes(a)...)
		if a.JumpCloud == nil {
			notes = append(notes, fmt.Sprintf("%s: JumpCloud's records are not known: %s", a.Domain, a.Err))
			continue
		}
		for _, r := range a.JumpCloud.Agents {
			rows = append(rows, []string{a.Domain, "JumpCloud", string(r.Direction), r.ID, r.State, r.Hostname, r.Version, r.ContactAt, yes(r.Primary), recordNote(r)})
		}
		notes = append(notes, a.Domain+": delegation at JumpCloud: "+delegationView{State: a.JumpCloud.DelegationState}.String())
	}
	if err := table(io.out, "DOMAIN\tWHERE\tDIRECTION\tID\tSTATE\tHOST\tVERSION\tLAST CONTACT\tPRIMARY\tNOTE", rows); err != nil {
		return err
	}
	for _, n := range notes {
		if _, err := fmt.Fprintln(io.out, plain(n)); err != nil {
			return err
		}
	}
	return nil
}

// primary: a daemon that works on a direction is the only one, since it alone
// has the store; a pause does not give it away.
func primary(a admin.Agents, w reconcile.Status) bool {
	return len(a.Node.Roles) > 0 && w.State != admin.Stopped
}

// contactNotes says what this node has seen of both sides.
func contactNotes(a admin.Agents) []string {
	if len(a.Node.Roles) == 0 {
		return []string{a.Domain + ": no daemon is running here; start one with `dirgate serve`"}
	}
	notes := []string{a.Domain + ": this node has the roles " + strings.Join(a.Node.Roles, ", ")}
	for _, dc := range a.Contact.Controllers {
		state := "not asked yet"
		switch {
		case dc.Up:
			state = "answers since " + moment(dc.Since)
		case !dc.Since.IsZero():
			state = "does not answer since " + moment(dc.Since) + ": " + dc.Err
		}
		notes = append(notes, fmt.Sprintf("%s: controller %s %s", a.Domain, dc.Name, state))
	}
	text := a.Domain + ": JumpCloud answered last at " + moment(a.Contact.JumpCloud)
	if a.Contact.Away != "" {
		text += ", and is away now: " + a.Contact.Away
	}
	return append(notes, text)
}

// recordNote says whose record it is.
func recordNote(r replicate.CloudAgent) string {
	if r.Ours {
		return "registered by dirgate, whose contact JumpCloud does not take"
	}
	return "not dirgate's: delete it with `dirgate agent remove` if that agent is gone"
}

// delegationView is a domain's delegationState at JumpCloud, or why it is not
// known.
type delegationView struct {
	State string `json:"delegationState,omitempty"`
	Err   string `json:"delegationUnknown,omitempty"`
}

func (d delegationView) String() string {
	switch d.State {
	case "":
		return "not known: " + d.Err
	case "PENDING":
		return "PENDING: until JumpCloud has heard of an import agent, nobody who is delegated can sign in there"
	}
	return d.State
}

func delegationOf(c *cli.Context, b admin.Backend, domain string) (delegationView, error) {
	all, err := b.Agents(c.Context, domain)
	if err != nil || len(all) == 0 {
		return delegationView{Err: "the registration has gone"}, err
	}
	if all[0].JumpCloud == nil {
		return delegationView{Err: all[0].Err}, nil
	}
	return delegationView{State: all[0].JumpCloud.DelegationState}, nil
}

// agentPromote: with one store on one machine, the daemon that has it is the
// primary, and nothing else can be.
func agentPromote(c *cli.Context, io streams) error {
	return withBackend(c, io, func(b admin.Backend) error {
		all, err := b.Replication(c.Context, c.String("domain"))
		if err != nil {
			return fmt.Errorf("agent promote: %w", err)
		}
		text, err := promoted(all, identity.Direction(c.String("direction")))
		if err != nil {
			return fmt.Errorf("agent promote: %w", err)
		}
		_, err = fmt.Fprintln(io.out, text)
		return err
	})
}

// promoted says that this node is the primary of a direction, or what is
// needed for that.
func promoted(all []admin.Replication, direction identity.Direction) (string, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(r admin.Replication) bool { return r.Direction != direction })
	if len(all) == 0 {
		return "", fmt.Errorf("no registered domain has the direction %q here; see `dirgate domain list`", direction)
	}
	if len(all) > 1 {
		return "", usagef("several domains are registered; name one with --domain")
	}
	switch r := all[0]; r.State {
	case admin.Stopped:
		return "", fmt.Errorf("nothing works on direction %s of %s here: start `dirgate serve` with the role %s, and it is the primary", direction, r.Domain, direction)
	case reconcile.Paused:
		return "", fmt.Errorf("direction %s of %s is paused here: run `dirgate agent resume --domain %s --direction %s`; no other node can take over, since the store is on this machine alone",
			direction, r.Domain, r.Domain, direction)
	default:
		return fmt.Sprintf("this node is the primary of direction %s of %s already; which of its records JumpCloud calls primary is JumpCloud's to say: its API has no operation for that", direction, r.Domain), nil
	}
}

func agentRemove(c *cli.Context, io streams) error {
	id := c.Args().First()
	return withBackend(c, io, func(b admin.Backend) error {
		if !c.Bool("yes") && !confirm(io, fmt.Sprintf("JumpCloud's record of agent %s will be deleted; an agent of JumpCloud's own that still uses it stops working. Go on?", plain(id))) {
			return fmt.Errorf("agent remove: not confirmed; nothing was done (use --yes without a terminal)")
		}
		removed, err := b.RemoveAgent(c.Context, c.String("domain"), id)
		if err != nil {
			return fmt.Errorf("agent remove %s: %w", id, err)
		}
		if c.String("output") == "json" {
			return writeJSON(io.out, removed)
		}
		text := "removed agent " + removed.ID
		if removed.Ours {
			text += "; it was dirgate's own: `dirgate domain register` makes another"
		}
		_, err = fmt.Fprintln(io.out, text)
		return err
	})
}
