package main

import (
	"fmt"
	"strings"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/urfave/cli/v2"
)

// domainArg is the domain that a command is about.
func domainArg(c *cli.Context) string {
	return strings.ToLower(strings.TrimSuffix(c.Args().First(), "."))
}

func domainVerify(io streams) *cli.Command {
	return command(&cli.Command{
		Name:        "verify",
		Usage:       "check a registered domain on both sides, and change nothing",
		ArgsUsage:   "DOMAIN",
		Description: "Checks what `domain register` does. Every check is made, also behind one that fails.",
		Action: func(c *cli.Context) error {
			return withBackend(c, io, func(b admin.Backend) error {
				a, err := b.VerifyDomain(c.Context, domainArg(c))
				if werr := writeAnswer(c, io, a, "", err); werr != nil || err == nil {
					return werr
				}
				return fmt.Errorf("domain verify %s: %w", domainArg(c), err)
			})
		},
	}, 1)
}

func domainRotate(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "rotate-credentials",
		Usage:     "exchange the stored password of a service account, with no restart",
		ArgsUsage: "DOMAIN",
		Description: "Change the password in Active Directory first. It is stored when a domain controller has\n" +
			"accepted it; a running daemon uses it from the next request on.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "import", Usage: "of the account that reads Active Directory; the default where the domain has no sync account"},
			&cli.BoolFlag{Name: "sync", Usage: "of the account that writes to it"},
			&cli.StringFlag{Name: "password-file", Usage: "`FILE` with the new password; - is standard input (required)"},
		},
		Action: func(c *cli.Context) error {
			switch {
			case c.Bool("import") && c.Bool("sync"):
				return usagef("domain rotate-credentials: give one of --import and --sync; run it once for each")
			case !c.IsSet("password-file"):
				return usagef("domain rotate-credentials: --password-file is required; see %s --help", c.Command.HelpName)
			}
			req := admin.RotateRequest{Name: domainArg(c), Sync: c.Bool("sync")}
			var err error
			if req.Password, err = secretFile(c, io, "password-file"); err != nil {
				return fmt.Errorf("domain rotate-credentials: %w", err)
			}
			defer req.Wipe()
			return withBackend(c, io, func(b admin.Backend) error { return rotateAccount(c, io, b, req) })
		},
	}, 1)
}

func rotateAccount(c *cli.Context, io streams, b admin.Backend, req admin.RotateRequest) error {
	d, err := b.Domain(c.Context, req.Name)
	if err != nil {
		return fmt.Errorf("domain rotate-credentials: %w", err)
	}
	if !c.Bool("import") && !c.Bool("sync") && d.SyncAccount != "" {
		return usagef("domain rotate-credentials: %s has two service accounts: say --import (%s) or --sync (%s)", d.Name, d.ImportAccount, d.SyncAccount)
	}
	a, err := b.RotateAccount(c.Context, req)
	if err != nil {
		return fmt.Errorf("domain rotate-credentials %s: %w; the stored password stays", d.Name, err)
	}
	return writeAnswer(c, io, a, "the new password is stored and used from now on", nil)
}

func domainRemove(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "remove",
		Usage:     "end the registration of a domain; users and groups stay on both sides",
		ArgsUsage: "DOMAIN",
		Description: "Removes the agents from JumpCloud, and the registration and its secrets from here. What stays:\n" +
			"JumpCloud's users, groups and AD object, and what is read-only there; Active Directory; the links\n" +
			"and the change log. Registered again, the domain goes on where it was. To have the users editable\n" +
			"at JumpCloud, change the use case to jumpcloud first and let it be applied.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "local", Usage: "do not ask JumpCloud, whose agents then stay"},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
		},
		Action: func(c *cli.Context) error {
			return withBackend(c, io, func(b admin.Backend) error { return removeDomain(c, io, b) })
		},
	}, 1)
}

func removeDomain(c *cli.Context, io streams, b admin.Backend) error {
	d, err := b.Domain(c.Context, domainArg(c))
	if err != nil {
		return fmt.Errorf("domain remove: %w", err)
	}
	if !c.Bool("yes") && !confirm(io, "Domain "+plain(d.Name)+" will no longer be served, nor replicated. Remove it?") {
		return fmt.Errorf("domain remove %s: not confirmed; nothing was done (use --yes without a terminal)", d.Name)
	}
	done, err := b.RemoveDomain(c.Context, admin.RemoveRequest{Name: d.Name, Local: c.Bool("local")})
	if err != nil {
		return fmt.Errorf("domain remove %s: %w", d.Name, err)
	}
	if c.String("output") == "json" {
		return writeJSON(io.out, done)
	}
	fmt.Fprintf(io.out, "domain %s is removed\n", d.Name)
	switch agents := d.JumpCloud.AgentIDs; {
	case len(done.Agents) > 0:
		fmt.Fprintf(io.out, "removed from JumpCloud: agents %s\n", strings.Join(done.Agents, ", "))
	case len(agents) > 0:
		fmt.Fprintf(io.out, "left at JumpCloud: agents %s\n", strings.Join(agents, ", "))
	}
	fmt.Fprintf(io.out, "left at JumpCloud: AD object %s, all users and groups, and what of them is read-only\n", d.JumpCloud.ADID)
	fmt.Fprintln(io.out, "left in Active Directory: everything")
	_, err = fmt.Fprintf(io.out, "left here: the links and the change log, %d open changes among it\n", done.Open)
	return err
}
