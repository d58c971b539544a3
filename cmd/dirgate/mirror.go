package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/urfave/cli/v2"
)

func mirrorFlags() []cli.Flag {
	return []cli.Flag{domainFlag(), &cli.StringFlag{Name: "status", Usage: "only those that are linked, skipped or open (not linked, and JumpCloud's side decides)"}}
}

func mirrorQuery(c *cli.Context) (admin.MirrorQuery, error) {
	q := admin.MirrorQuery{Domain: c.String("domain"), Status: c.String("status")}
	switch q.Status {
	case "", admin.Linked, admin.Skipped, admin.Open:
		return q, nil
	}
	return q, usagef("--status %q: want %s, %s or %s", q.Status, admin.Linked, admin.Skipped, admin.Open)
}

// mirrorList lists what the last import saw of one kind.
func mirrorList[T any](io streams, what, usage string, ask func(admin.Backend, context.Context, admin.MirrorQuery) ([]T, error), print func(streams, []T) error) *cli.Command {
	return command(&cli.Command{
		Name:  "list",
		Usage: usage,
		Flags: mirrorFlags(),
		Action: func(c *cli.Context) error {
			q, err := mirrorQuery(c)
			if err != nil {
				return err
			}
			return withBackend(c, io, func(b admin.Backend) error {
				all, err := ask(b, c.Context, q)
				if err != nil {
					return fmt.Errorf("%s list: %w", what, err)
				}
				if c.String("output") == "json" {
					return writeList(io.out, all)
				}
				return print(io, all)
			})
		},
	}, 0)
}

func userList(io streams) *cli.Command {
	return mirrorList(io, "user", "list the accounts that the last import saw, and why who is not linked is not", admin.Backend.Users, printUsers)
}

func printUsers(io streams, all []admin.UserRow) error {
	var rows [][]string
	for _, u := range all {
		rows = append(rows, []string{u.Username, u.Mail, u.Status, u.JumpCloud, u.JumpCloudID, u.Reason})
	}
	return table(io.out, "USERNAME\tMAIL\tSTATUS\tJUMPCLOUD\tID\tREASON", rows)
}

func printGroups(io streams, all []admin.GroupRow) error {
	var rows [][]string
	for _, g := range all {
		rows = append(rows, []string{g.Name, strconv.Itoa(g.Members), g.Status, g.JumpCloud, g.GroupID, g.Reason})
	}
	return table(io.out, "GROUP\tMEMBERS\tSTATUS\tJUMPCLOUD\tID\tREASON", rows)
}

func groupCommand(io streams) *cli.Command {
	list := mirrorList(io, "group", "list the groups that the last import saw, and why what is not linked is not", admin.Backend.Groups, printGroups)
	show := lookCommand(io, "group", "show", "show one group and everybody in it",
		"NAME is the group's sAMAccountName, DN or objectGUID. Its people are the accounts in scope\nthat are members of it or of a group within it.",
		admin.Backend.Group, printGroup)
	return command(&cli.Command{Name: "group", Usage: "look at groups, their links and members", Subcommands: []*cli.Command{list, show, groupWhy(io)}}, 0)
}

func printGroup(io streams, v admin.GroupView) error {
	err := table(io.out, "GROUP\t"+plain(v.Name), [][]string{
		{"DN", v.DN},
		{"id", v.GUID.String()},
		{"description", v.Description},
		{"status", v.Status},
		{"reason", v.Reason},
		{"JumpCloud group", strings.TrimSpace(v.JumpCloud + " " + v.GroupID)},
		{"linked since", moment(v.LinkedAt)},
		{"groups in it", strings.Join(v.Groups, ", ")},
		{"people", strconv.Itoa(v.Members)},
	})
	if err != nil || len(v.People) == 0 {
		return err
	}
	fmt.Fprintln(io.out)
	return printUsers(io, v.People)
}
