package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/urfave/cli/v2"
)

func userCommand(io streams) *cli.Command {
	show := lookCommand(io, "user", "show", "show one user on both sides, the link and the latest changes",
		"NAME is the account's sAMAccountName, userPrincipalName, mail address, DN or objectGUID, or the\n"+
			"username or id at JumpCloud of a linked one.", admin.Backend.User, printUser)
	return command(&cli.Command{Name: "user", Usage: "look at users and their links",
		Subcommands: []*cli.Command{userList(io), show, userWhy(io), userResync(io), userSetAuthority(io), userSetDelegation(io), userUnlink(io)}}, 0)
}

func userUnlink(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "unlink",
		Usage:     "end the link between an AD account and its JumpCloud user",
		ArgsUsage: "NAME",
		Description: "NAME is the account's name in AD, or the JumpCloud username or id. Neither directory is\n" +
			"changed. The account's next password change is paired anew, by username and mail address.",
		Flags: []cli.Flag{domainFlag(), &cli.BoolFlag{Name: "yes", Usage: "do not ask"}},
		Action: func(c *cli.Context) error {
			name := c.Args().First()
			if !c.Bool("yes") && !confirm(io, "The link of "+plain(name)+" will end, and the next password change decides anew whose it is. End it?") {
				return errors.New("user unlink: not confirmed; nothing was done (use --yes without a terminal)")
			}
			return withBackend(c, io, func(b admin.Backend) error {
				link, err := b.Unlink(c.Context, c.String("domain"), name)
				if err != nil {
					return fmt.Errorf("user unlink: %w", err)
				}
				if c.String("output") == "json" {
					return writeJSON(io.out, link)
				}
				_, err = fmt.Fprintf(io.out, "AD account %s and JumpCloud user %s (%s) are no longer linked\n", link.GUID, plain(link.Username), link.JumpCloudID)
				return err
			})
		},
	}, 1)
}

func domainFlag() cli.Flag {
	return &cli.StringFlag{Name: "domain", Usage: "DNS `NAME` of the domain (default: the only one)"}
}

func printUser(io streams, v replicate.UserView) error {
	rows := [][]string{
		{"username", v.AD.Username, ""},
		{"mail", v.AD.Mail, ""},
		{"name", strings.TrimSpace(v.AD.First + " " + v.AD.Last), ""},
		{"disabled", yes(v.AD.Disabled), ""},
		{"id", v.AD.GUID.String(), ""},
		{"password last set", adTime(v.AD.PwdLastSet), ""},
		{"password status", adStatus(v.AD, time.Now()), v.PasswordStatus},
		{"password expires", expiry(v.AD.PasswordExpires), ""},
		{"in scope", yes(v.AD.InScope), ""},
		{"privileged", yes(v.AD.Privileged), ""},
	}
	if jc := v.JumpCloud; jc != nil {
		for i, text := range []string{jc.Username, jc.Mail, strings.TrimSpace(jc.First + " " + jc.Last), yes(jc.Disabled), jc.ID, jc.PasswordDate} {
			rows[i][2] = text
		}
		rows[7][2] = expiry(jc.PasswordExpires)
		rows = append(rows, []string{"password set by", "", sideName(v.PasswordAuthority)}, []string{"password checked by", "", sideName(v.DelegatedAuthority)})
	}
	if err := table(io.out, "\tACTIVE DIRECTORY\tJUMPCLOUD", rows); err != nil {
		return err
	}
	fmt.Fprintln(io.out)
	switch {
	case v.Link != nil && v.Link.PasswordSeq > 0:
		fmt.Fprintf(io.out, "linked since %s; password of change %s given to JumpCloud at %s\n", moment(v.Link.At), v.Link.PasswordSeq, moment(v.Link.PasswordAt))
	case v.Link != nil:
		fmt.Fprintf(io.out, "linked since %s\n", moment(v.Link.At))
	}
	if v.Link != nil {
		if v.Link.MadeInAD {
			fmt.Fprintln(io.out, "the account was made in Active Directory by sync")
		}
		if did := admin.ByUs(*v.Link); did != "" {
			fmt.Fprintln(io.out, did)
		}
		fmt.Fprintln(io.out, sameness(v))
	}
	for _, said := range []string{v.Match, v.Trouble} {
		if said != "" {
			fmt.Fprintln(io.out, plain(said))
		}
	}
	if len(v.Changes) == 0 {
		fmt.Fprintln(io.out, "no changes recorded")
		return nil
	}
	fmt.Fprintln(io.out)
	return printChanges(io, v.Changes)
}

// sameness says whether the two passwords are known to be the same.
func sameness(v replicate.UserView) string {
	switch {
	case v.PasswordInSync:
		return "AD's password is the one that JumpCloud was given last"
	case v.Link.PasswordSet == 0:
		return "no password is known to be the same on both sides"
	}
	return "AD's password was set after the one that JumpCloud was given last"
}

// adStatus is what AD says of a password.
func adStatus(u *identity.User, now time.Time) string {
	switch {
	case u.MustChange:
		return "Must change"
	case !u.PasswordExpires.IsZero() && !u.PasswordExpires.After(now):
		return "Expired"
	case u.PwdLastSet == 0:
		return "not known"
	}
	return "Active"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// adTime prints a pwdLastSet: 100 ns since 1601 UTC.
func adTime(ticks int64) string {
	const from1601to1970 = 116_444_736_000_000_000
	if ticks <= 0 {
		return "must change"
	}
	return moment(time.Unix(0, (ticks-from1601to1970)*100))
}

func printChanges(io streams, entries []identity.Entry) error {
	var rows [][]string
	for _, e := range entries {
		name := e.Account.SAM
		if name == "" {
			name = e.Account.DN
		}
		rows = append(rows, []string{e.Seq.String(), moment(e.At), string(e.Direction), string(e.Kind), name, string(e.Status), strconv.Itoa(e.Attempts), e.Reason})
	}
	return table(io.out, "SEQ\tTIME\tDIRECTION\tCHANGE\tACCOUNT\tSTATUS\tTRIES\tREASON", rows)
}
