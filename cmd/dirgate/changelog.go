package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/urfave/cli/v2"
)

func changelogCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "changelog",
		Usage: "look at the durable log of changes; it never shows a secret",
		Subcommands: []*cli.Command{
			command(&cli.Command{
				Name:  "list",
				Usage: "list changes, newest first",
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "status", Usage: "only `STATUS`: unsettled, pending, applied, refused, superseded, dead, discarded or held; repeat for more"},
					&cli.IntFlag{Name: "limit", Value: 50, Usage: "at most `N` changes (1 to 1000)"},
				},
				Action: func(c *cli.Context) error { return changelogList(c, io) },
			}, 0),
			command(&cli.Command{
				Name:  "tail",
				Usage: "print records as they are appended",
				Flags: []cli.Flag{
					&cli.Uint64Flag{Name: "after", Usage: "begin after record `SEQ` (default: the last few)"},
					&cli.BoolFlag{Name: "no-follow", Usage: "print what there is and end"},
				},
				Action: func(c *cli.Context) error { return changelogTail(c, io) },
			}, 0),
			changelogVerifyCommand(io),
			changelogExportCommand(io),
			command(&cli.Command{
				Name: "show", Usage: "show one change", ArgsUsage: "SEQ",
				Action: func(c *cli.Context) error {
					return onChange(c, io, func(b admin.Backend, seq identity.Seq) error {
						e, err := b.Change(c.Context, seq)
						if err != nil {
							return err
						}
						return writeJSON(io.out, e)
					})
				},
			}, 1),
			command(&cli.Command{
				Name: "retry", Usage: "try a dead letter again", ArgsUsage: "SEQ",
				Action: func(c *cli.Context) error {
					return changeOne(c, io, "is to be tried again", func(b admin.Backend, seq identity.Seq) error { return b.Retry(c.Context, seq) })
				},
			}, 1),
			command(&cli.Command{
				Name: "discard", Usage: "give a change up and destroy its sealed password", ArgsUsage: "SEQ",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "reason", Usage: "`TEXT` for the log", Value: "discarded by an administrator"},
					&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
				},
				Action: func(c *cli.Context) error {
					if !c.Bool("yes") && !confirm(io, "Change "+plain(c.Args().First())+" will not be carried out, and a password in it is destroyed. Discard it?") {
						return errors.New("changelog discard: not confirmed; nothing was done (use --yes without a terminal)")
					}
					return changeOne(c, io, "is discarded", func(b admin.Backend, seq identity.Seq) error {
						return b.Discard(c.Context, seq, c.String("reason"))
					})
				},
			}, 1),
		},
	}, 0)
}

// confirm asks on the terminal; anything but y or yes is no.
func confirm(io streams, question string) bool {
	fmt.Fprintf(io.err, "%s [y/N] ", question)
	var reply string
	_, err := fmt.Fscanln(io.in, &reply)
	if atEnd(err) {
		fmt.Fprintln(io.err) // nobody has ended the line
	}
	return err == nil && (reply == "y" || reply == "yes")
}

// changeOne is onChange that says what was done, as text or as the change is now.
func changeOne(c *cli.Context, io streams, what string, do func(admin.Backend, identity.Seq) error) error {
	return onChange(c, io, func(b admin.Backend, seq identity.Seq) error {
		if err := do(b, seq); err != nil {
			return err
		}
		if c.String("output") != "json" {
			_, err := fmt.Fprintf(io.out, "change %s %s\n", seq, what)
			return err
		}
		e, err := b.Change(c.Context, seq)
		if err != nil {
			return err
		}
		return writeJSON(io.out, e)
	})
}

func onChange(c *cli.Context, io streams, do func(admin.Backend, identity.Seq) error) error {
	seq, err := identity.ParseSeq(c.Args().First())
	if err != nil {
		return usagef("changelog %s: %v", c.Command.Name, err)
	}
	return withBackend(c, io, func(b admin.Backend) error {
		if err := do(b, seq); err != nil {
			return fmt.Errorf("changelog %s %s: %w", c.Command.Name, seq, err)
		}
		return nil
	})
}

var statuses = []identity.Status{identity.StatusUnsettled, identity.StatusPending, identity.StatusApplied,
	identity.StatusRefused, identity.StatusSuperseded, identity.StatusDead, identity.StatusDiscarded, identity.StatusHeld}

func changelogList(c *cli.Context, io streams) error {
	q := admin.ChangeQuery{Limit: c.Int("limit"), Newest: true}
	if q.Limit < 1 || q.Limit > 1000 {
		return usagef("changelog list: --limit %d: want 1 to 1000", q.Limit)
	}
	for _, text := range c.StringSlice("status") {
		known := false
		for _, s := range statuses {
			known = known || string(s) == text
		}
		if !known {
			return usagef("changelog list: --status %q: want one of %v", text, statuses)
		}
		q.Status = append(q.Status, identity.Status(text))
	}
	ask := func(b admin.Backend) ([]identity.Entry, error) { return b.Changes(c.Context, q) }
	return showList(c, io, ask, func(entries []identity.Entry) error { return printChanges(io, entries) })
}

// tailed is how many records tail shows of what there was before.
const tailed = 10

func changelogTail(c *cli.Context, io streams) error {
	return withBackend(c, io, func(b admin.Backend) error {
		after := identity.Seq(c.Uint64("after"))
		if !c.IsSet("after") {
			last, err := b.LastSeq(c.Context)
			if err != nil {
				return fmt.Errorf("changelog tail: %w", err)
			}
			after = last - min(last, tailed)
		}
		wait := 25 * time.Second
		if c.Bool("no-follow") {
			wait = 0
		}
		for {
			records, err := b.Records(c.Context, after, 100, wait)
			if c.Context.Err() != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("changelog tail: %w", err)
			}
			for _, r := range records {
				after = r.Seq
				if err := printRecord(c, io, r); err != nil {
					return err
				}
			}
			if len(records) == 0 && wait == 0 {
				return nil
			}
		}
	})
}

func printRecord(c *cli.Context, io streams, r store.Record) error {
	if c.String("output") == "json" {
		return json.NewEncoder(io.out).Encode(r)
	}
	what := r.Reason
	if r.Intent != nil {
		name := r.Intent.Account.SAM
		if name == "" {
			name = r.Intent.Account.DN
		}
		what = fmt.Sprintf("%s of %s (%s) by %s", r.Intent.Kind, name, r.Intent.Account.Domain, r.Intent.Actor)
	}
	_, err := fmt.Fprintf(io.out, "%-6s %s  change %-6s %-10s %s\n", r.Seq, moment(r.At), r.Change, r.Type, plain(what))
	return err
}
