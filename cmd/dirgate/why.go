package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/urfave/cli/v2"
)

// lookCommand asks about one user or group; names says what NAME may be.
func lookCommand[T any](io streams, what, verb, usage, names string, ask func(admin.Backend, context.Context, string, string) (T, error), print func(streams, T) error) *cli.Command {
	return command(&cli.Command{
		Name:        verb,
		Usage:       usage,
		ArgsUsage:   "NAME",
		Description: names,
		Flags:       []cli.Flag{domainFlag()},
		Action: func(c *cli.Context) error {
			return withBackend(c, io, func(b admin.Backend) error {
				seen, err := ask(b, c.Context, c.String("domain"), c.Args().First())
				if err != nil {
					return fmt.Errorf("%s %s: %w", what, verb, err)
				}
				if c.String("output") == "json" {
					return writeJSON(io.out, seen)
				}
				return print(io, seen)
			})
		},
	}, 1)
}

// whyCommand tells the story of a user or a group.
func whyCommand(io streams, what, names string, ask func(admin.Backend, context.Context, string, string) (admin.Story, error)) *cli.Command {
	return lookCommand(io, what, "why", "tell what happened to one "+what+", newest first, and why it is as it is", names, ask, printStory)
}

func userWhy(io streams) *cli.Command {
	return whyCommand(io, "user", "NAME is the account's sAMAccountName, userPrincipalName, mail address, DN or objectGUID, or the\n"+
		"username or id at JumpCloud. Who was deleted is found under the name that the change log has.\n"+
		"Neither side is asked, unless the import has not seen the name.", admin.Backend.Why)
}

func groupWhy(io streams) *cli.Command {
	return whyCommand(io, "group", "NAME is the group's sAMAccountName, DN or objectGUID, or its id at JumpCloud.", admin.Backend.GroupWhy)
}

func printStory(io streams, s admin.Story) error {
	what := "USER"
	if s.Group {
		what = "GROUP"
	}
	id := ""
	if !s.GUID.IsZero() {
		id = s.GUID.String()
	}
	rows := [][]string{{"DN", s.DN}, {"id", id}, {"status", reasoned(s.Status, s.Reason)}}
	if s.JumpCloudID != "" {
		rows = append(rows, []string{"JumpCloud", strings.TrimSpace(s.JumpCloud + " " + s.JumpCloudID)})
	}
	if !s.LinkedAt.IsZero() {
		rows = append(rows, []string{"linked since", reasoned(moment(s.LinkedAt), s.How)})
	}
	for _, order := range []struct {
		what string
		to   identity.Side
	}{{"password set by", s.PasswordAuthority}, {"password checked by", s.Delegation}} {
		if order.to != "" {
			rows = append(rows, []string{order.what, sideName(order.to) + ", by order"})
		}
	}
	rows = append(rows, verdictRows(s)...)
	if err := table(io.out, what+"\t"+plain(s.Name), rows); err != nil {
		return err
	}
	fmt.Fprintln(io.out)
	return printEvents(io, s)
}

func reasoned(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func sideName(s identity.Side) string {
	if s == identity.AD {
		return "Active Directory"
	}
	return "JumpCloud"
}

// verdictRows say what the last plans wanted.
func verdictRows(s admin.Story) (rows [][]string) {
	if len(s.Verdicts) == 0 && s.Status == admin.Linked {
		return [][]string{{"last plan", "nothing is to be done"}}
	}
	for _, v := range s.Verdicts {
		label := "last " + string(v.Direction)
		since := ", since " + moment(v.Since)
		for _, a := range v.Actions {
			rows = append(rows, []string{label, "to do: " + a + since})
		}
		if v.Skip != "" {
			rows = append(rows, []string{label, "nothing: " + v.Skip + since})
		}
		if v.Note != "" {
			rows = append(rows, []string{label, "note: " + v.Note + since})
		}
		if v.Won != "" {
			rows = append(rows, []string{"won", reasoned(moment(v.WonAt), v.Won)})
		}
	}
	return rows
}

func printEvents(io streams, s admin.Story) error {
	if len(s.Events) == 0 {
		fmt.Fprintln(io.out, "the change log has nothing about it")
		return nil
	}
	var rows [][]string
	for _, e := range s.Events {
		detail := e.Detail
		if !e.Next.IsZero() && e.Type != store.RecordIntent {
			detail = strings.TrimSpace(detail + " (next try " + moment(e.Next) + ")")
		}
		rows = append(rows, []string{moment(e.At), e.Change.String(), string(e.Direction), string(e.Kind), e.What, detail})
	}
	if err := table(io.out, "TIME\tSEQ\tDIRECTION\tCHANGE\tWHAT\tDETAIL", rows); err != nil {
		return err
	}
	if s.Cut {
		fmt.Fprintln(io.out, "there may be more in the change log than was looked at; see `dirgate changelog list`")
	}
	return nil
}

func userResync(io streams) *cli.Command {
	return lookCommand(io, "user", "resync", "compare one user with both sides now, and write what differs",
		"NAME is one that `dirgate user why` takes. What guards hold stays held.", admin.Backend.ResyncUser, printUserRun)
}

func printUserRun(io streams, run admin.UserRun) error {
	for _, done := range run.Done {
		fmt.Fprintln(io.out, plain(done))
	}
	_, err := fmt.Fprintf(io.out, "%s (change %s): %s\n", plain(run.Name), run.Change.Seq, plain(run.Result))
	return err
}

func userSetAuthority(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "set-authority",
		Usage:     "say who may set a linked user's password, over what the use case asks for",
		ArgsUsage: "NAME",
		Description: "NAME is one that `dirgate user why` takes. With ad JumpCloud lets neither the user nor an admin\n" +
			"set the password (restrictedFields), with jumpcloud, or none, it does; default ends the order. It is\n" +
			"remembered with the link. It is not done where the user could not sign in then, unless confirmed.",
		Flags: []cli.Flag{domainFlag(), &cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.StringFlag{Name: "password-authority", Usage: "`WHO`: ad, jumpcloud, none or default (required)"}},
		Action: func(c *cli.Context) error {
			who, err := orderValue(c, "--password-authority", c.String("password-authority"), "ad, jumpcloud, none or default")
			if err != nil {
				return err
			}
			return order(c, io, admin.OrderRequest{Domain: c.String("domain"), Name: c.Args().First(), PasswordAuthority: who})
		},
	}, 1)
}

func userSetDelegation(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "set-delegation",
		Usage:     "say who checks a linked user's password at JumpCloud, over what the use case asks for",
		ArgsUsage: "NAME ad|none|default",
		Description: "NAME is one that `dirgate user why` takes. With ad JumpCloud has AD check the password when the\n" +
			"user signs in (delegatedAuthority), with none it checks its own; default ends the order. It is\n" +
			"remembered with the link. It is not done where the user could not sign in then, unless confirmed.",
		Flags: []cli.Flag{domainFlag(), &cli.BoolFlag{Name: "yes", Usage: "do not ask"}},
		Action: func(c *cli.Context) error {
			who, err := orderValue(c, "WHO", c.Args().Get(1), "ad, none or default")
			if err != nil {
				return err
			}
			return order(c, io, admin.OrderRequest{Domain: c.String("domain"), Name: c.Args().First(), Delegation: who})
		},
	}, 2)
}

// orderValue reads what is ordered; none is JumpCloud.
func orderValue(c *cli.Context, what, value, want string) (string, error) {
	switch value {
	case "ad", "jumpcloud", admin.AsUseCase:
		return value, nil
	case "none":
		return "jumpcloud", nil
	}
	return "", usagef("user %s: %s %q: want %s", c.Command.Name, what, value, want)
}

func order(c *cli.Context, io streams, q admin.OrderRequest) error {
	q.Force = c.Bool("yes")
	return withBackend(c, io, func(b admin.Backend) error {
		answer, err := b.Order(c.Context, q)
		if err == nil && len(answer.Refused) > 0 {
			for _, why := range answer.Refused {
				fmt.Fprintln(io.err, plain(why))
			}
			if !confirm(io, plain(answer.Name)+" could not sign in at JumpCloud then. Do it all the same?") {
				return fmt.Errorf("user %s: %w: %s", c.Command.Name, errShutOut, strings.Join(answer.Refused, "; "))
			}
			q.Force = true
			answer, err = b.Order(c.Context, q)
		}
		if err != nil {
			return fmt.Errorf("user %s: %w", c.Command.Name, err)
		}
		if c.String("output") == "json" {
			return writeJSON(io.out, answer)
		}
		return printOrder(io, answer)
	})
}

var errShutOut = errors.New("not confirmed, and nothing was done, because the user could not sign in (use --yes without a terminal)")

func printOrder(io streams, a admin.OrderAnswer) error {
	said := func(s identity.Side) string {
		if s == "" {
			return "as the use case asks"
		}
		return sideName(s)
	}
	fmt.Fprintf(io.out, "%s: password set by: %s; checked by: %s\n", plain(a.Name), said(a.Link.PasswordAuthority), said(a.Link.Delegation))
	switch {
	case len(a.Written) > 0:
		fmt.Fprintf(io.out, "written at JumpCloud: %s\n", strings.Join(a.Written, ", "))
	case a.Later == "":
		fmt.Fprintln(io.out, "JumpCloud has it so already")
	}
	if a.Later != "" {
		fmt.Fprintln(io.out, a.Later)
	}
	return nil
}

// expiry prints when something ends.
func expiry(t time.Time) string {
	if t.IsZero() {
		return "never, or not known"
	}
	return moment(t)
}
