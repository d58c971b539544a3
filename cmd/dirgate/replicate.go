package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/urfave/cli/v2"
)

func replicateCommand(io streams) *cli.Command {
	run := func(c *cli.Context, full bool) error {
		return withBackend(c, io, func(b admin.Backend) error {
			var done admin.ImportRun
			err := withProgress(c, io, b, func() (err error) {
				done, err = b.RunImport(c.Context, c.String("domain"), full)
				return err
			})
			if err != nil {
				return fmt.Errorf("replicate %s: %w", c.Command.Name, err)
			}
			return printRun(c, io, done)
		})
	}
	return command(&cli.Command{
		Name:  "replicate",
		Usage: "carry users and groups between Active Directory and JumpCloud",
		Subcommands: append([]*cli.Command{
			command(&cli.Command{
				Name: "plan", Usage: "show what would be written to either side, and write nothing",
				Flags:  []cli.Flag{domainFlag(), oneDirectionFlag()},
				Action: func(c *cli.Context) error { return replicatePlan(c, io) },
			}, 0),
			command(&cli.Command{
				Name: "run", Usage: "make one pass: record what has changed, and write what is due",
				Flags: []cli.Flag{domainFlag(), &cli.BoolFlag{Name: "once", Usage: "one pass, then end (required)"}},
				Action: func(c *cli.Context) error {
					if !c.Bool("once") {
						return usagef("replicate run: want --once; see dirgate replicate run --help")
					}
					return run(c, false)
				},
			}, 0),
			command(&cli.Command{
				Name: "resync", Usage: "make one pass that reads and compares everything",
				Flags:  []cli.Flag{domainFlag()},
				Action: func(c *cli.Context) error { return run(c, true) },
			}, 0),
		}, replicationCommands(io)...),
	}, 0)
}

func printRun(c *cli.Context, io streams, done admin.ImportRun) error {
	if c.String("output") == "json" {
		return writeJSON(io.out, done)
	}
	fmt.Fprintf(io.out, "%d changes recorded, %d applied; open: %d pending, %d held, %d dead letters\n", done.Recorded, done.Applied, done.Pending, done.Held, done.Dead)
	if done.Held > 0 {
		fmt.Fprintln(io.out, "see what is held with `dirgate guard list`")
	}
	if done.Pending+done.Dead > 0 {
		fmt.Fprintln(io.out, "see why with `dirgate changelog list --status pending --status dead`")
	}
	return nil
}

// oneDirectionFlag narrows a list to one direction.
func oneDirectionFlag() cli.Flag {
	return &cli.StringFlag{Name: "direction", Usage: "only `DIRECTION` import (AD to JumpCloud) or sync (JumpCloud to AD)"}
}

func oneDirection(c *cli.Context) (identity.Direction, error) {
	switch d := identity.Direction(c.String("direction")); d {
	case "", identity.Import, identity.Sync:
		return d, nil
	default:
		return d, usagef("--direction %q: want %s or %s", d, identity.Import, identity.Sync)
	}
}

func replicatePlan(c *cli.Context, io streams) error {
	direction, err := oneDirection(c)
	if err != nil {
		return err
	}
	return withBackend(c, io, func(b admin.Backend) error {
		planned, err := b.PlanImport(c.Context, c.String("domain"))
		if err != nil {
			return fmt.Errorf("replicate plan: %w", err)
		}
		planned = slices.DeleteFunc(planned, func(p admin.Planned) bool { return direction != "" && p.Direction != direction && p.Direction != "" })
		if c.String("output") == "json" {
			return writeList(io.out, planned)
		}
		return printPlan(io, planned)
	})
}

func printPlan(io streams, planned []admin.Planned) error {
	var rows [][]string
	for _, p := range planned {
		row := func(action, fields, why string) {
			rows = append(rows, []string{string(p.Direction), p.Name, action, fields, why})
		}
		for _, a := range p.Actions {
			row(string(a.Kind), fieldsOf(a, p.Members), a.Reason)
		}
		if p.Skip != "" {
			row("skip", "", p.Skip)
		}
		if p.Note != "" {
			row("note", "", p.Note)
		}
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(io.out, "nothing is to be done: both sides agree")
		return err
	}
	return table(io.out, "DIRECTION\tOBJECT\tACTION\tFIELDS\tWHY", rows)
}

// fieldsOf shows what is written, or who is meant.
func fieldsOf(a plan.Action, members map[string]string) string {
	switch a.Kind {
	case plan.AddMember, plan.RemoveMember, plan.ADAddMember, plan.ADRemoveMember:
		name := members[a.UserID]
		if _, made := plan.Made(a.UserID); made && name != "" {
			return name + " (made by this plan)"
		}
		if name == "" {
			return a.UserID
		}
		return name + " (" + a.UserID + ")"
	}
	var parts []string
	for _, f := range a.Fields {
		parts = append(parts, f.Name+"="+shortened(f.To))
	}
	return strings.Join(parts, " ")
}

// shortened keeps a long value from widening a whole column; JSON has it all.
func shortened(text string) string {
	const longest = 40
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest-3]) + "..."
	}
	return text
}

func guardCommand(io streams) *cli.Command {
	which := []cli.Flag{domainFlag(), oneDirectionFlag(), &cli.StringFlag{Name: "class", Usage: "only what the guard `CLASS` holds: " + guardNames()}}
	decide := append([]cli.Flag{&cli.Uint64Flag{Name: "seq", Usage: "the change `SEQ` only"}, &cli.BoolFlag{Name: "all", Usage: "all that is held"},
		&cli.BoolFlag{Name: "yes", Usage: "do not ask"}}, which...)
	return command(&cli.Command{
		Name:  "guard",
		Usage: "decide about changes that a safety threshold holds",
		Subcommands: []*cli.Command{
			command(&cli.Command{
				Name: "list", Usage: "list what is held, and why", Flags: which,
				Action: func(c *cli.Context) error {
					ask := func(b admin.Backend) ([]identity.Entry, error) { return heldBy(c, b) }
					return showList(c, io, ask, func(held []identity.Entry) error { return printHeld(io.out, held) })
				},
			}, 0),
			command(&cli.Command{
				Name: "approve", Usage: "let held changes pass: they are carried out as the others", Flags: decide,
				Action: func(c *cli.Context) error {
					return decideHeld(c, io, "approved, to be carried out", func(b admin.Backend, seq identity.Seq) error {
						return b.Approve(c.Context, seq, "approved by "+whoami())
					})
				},
			}, anyNumber),
			command(&cli.Command{
				Name: "reject", Usage: "give held changes up: nothing is written for them", Flags: decide,
				Action: func(c *cli.Context) error {
					return decideHeld(c, io, "given up", func(b admin.Backend, seq identity.Seq) error {
						return b.Reject(c.Context, seq, "rejected by "+whoami())
					})
				},
			}, anyNumber),
		},
	}, 0)
}

// heldBy reads all pages of what the flags select.
func heldBy(c *cli.Context, b admin.Backend) (held []identity.Entry, err error) {
	const page = 500
	direction, err := oneDirection(c)
	if err != nil {
		return nil, err
	}
	if class := c.String("class"); class != "" && !slices.Contains(plan.Classes[:], plan.Class(class)) {
		return nil, usagef("--class %q: want one of %s", class, guardNames())
	}
	q := admin.HeldQuery{Domain: c.String("domain"), Direction: direction, Class: c.String("class"), Limit: page}
	for {
		entries, err := b.Held(c.Context, q)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			q.After = e.Seq
			if seq := c.Uint64("seq"); seq == 0 || uint64(e.Seq) == seq {
				held = append(held, e)
			}
		}
		if len(entries) < page {
			return held, nil
		}
	}
}

// decided is what came of a decision about held changes.
type decided struct {
	Seqs []identity.Seq `json:"seqs"`
}

func decideHeld(c *cli.Context, io streams, what string, do func(admin.Backend, identity.Seq) error) error {
	switch {
	case c.Args().Present():
		return usagef("guard %s: a change is named by its number behind --seq, as in `dirgate guard %s --seq %s`; see `dirgate guard list`", c.Command.Name, c.Command.Name, numberOr(c.Args().First(), "SEQ"))
	case c.Uint64("seq") == 0 && c.String("class") == "" && !c.Bool("all"):
		return usagef("guard %s: want --seq SEQ, --class CLASS or --all; see `dirgate guard list`", c.Command.Name)
	}
	return withBackend(c, io, func(b admin.Backend) error {
		held, err := heldBy(c, b)
		if err != nil {
			return fmt.Errorf("guard %s: %w", c.Command.Name, err)
		}
		if len(held) == 0 {
			return fmt.Errorf("guard %s: nothing of that is held; see `dirgate guard list`", c.Command.Name)
		}
		if !c.Bool("yes") {
			if err := printHeld(io.err, held); err != nil {
				return err
			}
			if !confirm(io, fmt.Sprintf("%s will be %s. Go on?", changes(len(held)), what)) {
				return fmt.Errorf("guard %s: not confirmed; nothing was done (use --yes without a terminal)", c.Command.Name)
			}
		}
		done := decided{Seqs: []identity.Seq{}}
		var errs []error
		for _, e := range held {
			if err := do(b, e.Seq); err != nil {
				errs = append(errs, fmt.Errorf("guard %s: %w", c.Command.Name, err))
				continue
			}
			done.Seqs = append(done.Seqs, e.Seq)
		}
		if c.String("output") == "json" {
			errs = append(errs, writeJSON(io.out, done))
		} else {
			fmt.Fprintf(io.out, "%s %s\n", changes(len(done.Seqs)), what)
		}
		return errors.Join(errs...)
	})
}

// numberOr is text where that can be the number of a change.
func numberOr(text, other string) string {
	if _, err := identity.ParseSeq(text); err != nil {
		return other
	}
	return text
}

func changes(n int) string {
	if n == 1 {
		return "1 change"
	}
	return fmt.Sprintf("%d changes", n)
}

func printHeld(w io.Writer, held []identity.Entry) error {
	var rows [][]string
	for _, e := range held {
		rows = append(rows, []string{e.Seq.String(), moment(e.At), string(e.Direction), e.Class, string(e.Kind), cmp.Or(e.Account.SAM, e.CloudID), e.Reason})
	}
	return table(w, "SEQ\tTIME\tDIRECTION\tGUARD\tCHANGE\tOBJECT\tWHY", rows)
}

// guardNames are the classes that guards count.
func guardNames() string {
	var names []string
	for _, class := range plan.Classes {
		names = append(names, string(class))
	}
	return strings.Join(names, ", ")
}

// whoami names who decides, for the log.
func whoami() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "an unknown user"
}
