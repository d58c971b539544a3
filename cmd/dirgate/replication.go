package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/urfave/cli/v2"
)

// replicationCommands are those about the reconciler that a daemon runs.
func replicationCommands(io streams) []*cli.Command {
	return []*cli.Command{
		command(&cli.Command{
			Name: "status", Usage: "show whether each domain is replicated, what it waits for, and what is open",
			Flags: []cli.Flag{domainFlag(), &cli.BoolFlag{Name: "watch", Usage: "go on, with a bar while something is worked on, until interrupted"}},
			Action: func(c *cli.Context) error {
				return withBackend(c, io, func(b admin.Backend) error { return replicationStatus(c, io, b) })
			},
		}, 0),
		pauseCommand(io, "replicate", "pause", "stop applying changes; they are recorded and wait, passwords too", true),
		pauseCommand(io, "replicate", "resume", "apply what waits, in order, and go on", false),
	}
}

func directionFlag() cli.Flag {
	return &cli.StringFlag{Name: "direction", Value: string(identity.Import), Usage: "`DIRECTION` of replication: import, from Active Directory to JumpCloud, or sync, the other way"}
}

// pauseCommand pauses a domain, or one direction of it, or ends that; it stands
// under several parents.
func pauseCommand(io streams, parent, name, usage string, paused bool) *cli.Command {
	direction := &cli.StringFlag{Name: "direction", Usage: "only `DIRECTION` import, from Active Directory to JumpCloud, or sync, the other way (default: all that the domain has)"}
	return command(&cli.Command{Name: name, Usage: usage, Flags: []cli.Flag{domainFlag(), direction}, Action: func(c *cli.Context) error {
		return withBackend(c, io, func(b admin.Backend) error {
			all, err := pause(c.Context, b, admin.PauseRequest{Domain: c.String("domain"), Direction: identity.Direction(c.String("direction")), Paused: paused, Who: whoami()})
			if err != nil {
				return fmt.Errorf("%s %s: %w", parent, name, err)
			}
			return printReplication(c, io, all)
		})
	}}, 0)
}

// pause is for every direction of the domain where none is given: whoever stops
// replication means that nothing is written any more, to either side.
func pause(ctx context.Context, b admin.Backend, q admin.PauseRequest) (all []admin.Replication, err error) {
	directions := []identity.Direction{q.Direction}
	if q.Direction == "" {
		now, err := b.Replication(ctx, q.Domain)
		if err != nil {
			return nil, err
		}
		directions = nil
		for _, r := range now {
			if !slices.Contains(directions, r.Direction) {
				directions = append(directions, r.Direction)
			}
		}
		if len(directions) == 0 { // what is missing is said by Pause
			directions = []identity.Direction{identity.Import}
		}
	}
	for _, d := range directions {
		q.Direction = d
		r, err := b.Pause(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func replicationStatus(c *cli.Context, io streams, b admin.Backend) error {
	all, err := b.Replication(c.Context, c.String("domain"))
	if err != nil {
		return fmt.Errorf("replicate status: %w", err)
	}
	if err := printReplication(c, io, all); err != nil || !c.Bool("watch") {
		return err
	}
	return watchStatus(c.Context, b, c.String("domain"), c.String("output") == "json", io)
}

// watchStatus prints the status again whenever it changes, and shows the
// progress in between.
func watchStatus(ctx context.Context, b admin.Backend, domain string, forProgram bool, io streams) error {
	bar := &meter{out: io.err, terminal: isTerminal(io.err)}
	defer bar.end()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	before := ""
	for {
		all, err := b.Replication(ctx, domain)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("replicate status: %w", err)
		}
		now := ""
		for _, r := range all {
			now += fmt.Sprintln(r.Domain, r.Direction, r.State, r.For, r.Why, r.Held, r.Dead)
		}
		if before != "" && now != before {
			bar.end()
			if err := writeReplication(io, all, forProgram); err != nil {
				return err
			}
		}
		before = now
		if len(all) == 1 && !forProgram {
			bar.show(all[0].Status, time.Now())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func printReplication(c *cli.Context, io streams, all []admin.Replication) error {
	return writeReplication(io, all, c.String("output") == "json")
}

func writeReplication(io streams, all []admin.Replication, forProgram bool) error {
	if forProgram {
		return writeList(io.out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(io.out, "no domain is replicated: register one with `dirgate domain register`")
		return err
	}
	var rows [][]string
	for _, r := range all {
		rows = append(rows, []string{r.Domain, string(r.Direction), string(r.State), moment(r.Since), strconv.Itoa(r.Pending), strconv.Itoa(r.Held), strconv.Itoa(r.Dead),
			moment(r.LastPass), moment(r.LastFull), moment(r.NextFull), r.Controller, whyOf(r)})
	}
	return table(io.out, "DOMAIN\tDIRECTION\tSTATE\tSINCE\tPENDING\tHELD\tDEAD\tLAST PASS\tLAST FULL\tNEXT FULL\tREADS FROM\tWHY", rows)
}

// reasonOf says why a direction does not run, or what it works on.
func reasonOf(s reconcile.Status) string {
	switch {
	case s.For != "":
		return "waits for " + s.For + ": " + s.Why
	case s.Why != "":
		return s.Why
	}
	return workOf(s, time.Now())
}

// whyOf is reasonOf, and what keeps failing or waits for a person.
func whyOf(r admin.Replication) string {
	var parts []string
	if reason := reasonOf(r.Status); reason != "" {
		parts = append(parts, reason)
	}
	if f := r.Failing; f != nil {
		which := fmt.Sprintf("change %s of %s", f.Seq, plain(f.Object))
		if f.Count > 1 {
			which = fmt.Sprintf("%d changes keep failing, %s among them", f.Count, which)
		}
		parts = append(parts, fmt.Sprintf("%s: tried %d times, again at %s: %s (see `dirgate changelog show %s`)", which, f.Tries, moment(f.Next), f.Why, f.Seq))
	}
	if r.Held > 0 {
		parts = append(parts, fmt.Sprintf("%d held: decide with `dirgate guard list`", r.Held))
	}
	if r.Dead > 0 {
		parts = append(parts, fmt.Sprintf("%d refused for good: see `dirgate changelog list --status dead`", r.Dead))
	}
	return strings.Join(parts, "; ")
}
