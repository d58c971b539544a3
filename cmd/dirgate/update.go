package main

import (
	"fmt"
	"slices"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/urfave/cli/v2"
)

func domainUpdate(io streams) *cli.Command {
	// No flag has a default of the library's: it would look like one that was
	// given.
	settings := []cli.Flag{
		&cli.StringFlag{Name: "use-case", Usage: "where users and groups are managed: ad, two-way (both sides) or jumpcloud"},
		syncAccountFlag(), syncPasswordFlag(),
		&cli.StringFlag{Name: "password-sync", Usage: "capture, or validate-only: passwords are never captured"},
		&cli.StringFlag{Name: "user-takeover-action", Usage: "`ACTION` on a JumpCloud user that an AD account is paired with: retain (the default) or deactivate"},
		&cli.StringFlag{Name: "user-dissociation-action", Usage: "`ACTION` when an AD account is deleted or leaves the scope: remove (the default) or unbind"},
		&cli.StringFlag{Name: "user-disable-action", Usage: "`ACTION` when an AD account is disabled: suspend (the default), remove, unbind or ignore"},
		&cli.StringFlag{Name: "user-expire-action", Usage: "`ACTION` when an AD account has expired: expire (the default), suspend or ignore"},
		&cli.StringFlag{Name: "user-field-mapping", Usage: "AD `ATTRIBUTE` that gives the username: sAMAccountName (the default) or userPrincipalName"},
		&cli.BoolFlag{Name: "sync-additional-attributes", Usage: "import more than names, username and mail (the default); =false: only these"},
	}
	return command(&cli.Command{
		Name:      "update",
		Usage:     "change how a registered domain is replicated",
		ArgsUsage: "DOMAIN",
		Description: "What is not given stays as it is; '' is the default. Another use case is checked on both sides\n" +
			"and told to JumpCloud before anything is stored; what it comes to is shown first. Every link is\n" +
			"kept, and nobody is deleted by it.",
		Flags: append(slices.Clone(settings), &cli.BoolFlag{Name: "yes", Usage: "do not ask before a change that concerns users"}),
		Action: func(c *cli.Context) error {
			if !slices.ContainsFunc(settings, func(f cli.Flag) bool { return c.IsSet(f.Names()[0]) }) {
				return usagef("domain update: no setting is given; see %s --help", c.Command.HelpName)
			}
			return withBackend(c, io, func(b admin.Backend) error { return updateDomain(c, io, b) })
		},
	}, 1)
}

func updateDomain(c *cli.Context, io streams, b admin.Backend) error {
	stored, err := b.Domain(c.Context, domainArg(c))
	if err != nil {
		return fmt.Errorf("domain update: %w", err)
	}
	req := admin.UpdateRequest{Name: stored.Name, UseCase: given(c, "use-case"), SyncAccount: given(c, "sync-account"), PasswordSync: given(c, "password-sync"),
		Takeover: given(c, "user-takeover-action"), Dissociation: given(c, "user-dissociation-action"),
		Disable: given(c, "user-disable-action"), Expire: given(c, "user-expire-action"), UserField: given(c, "user-field-mapping")}
	defer req.Wipe()
	if c.IsSet("sync-additional-attributes") {
		req.Additional = new(c.Bool("sync-additional-attributes"))
	}
	if req.SyncPassword, err = secretFile(c, io, "sync-password-file"); err != nil {
		return fmt.Errorf("domain update: %w", err)
	}
	d, warnings, err := req.Merge(stored)
	if err != nil {
		return usagef("domain update: %v; see %s --help", err, c.Command.HelpName)
	}
	showUseCase(io, stored, d)
	if req.Confirmed, err = confirmed(c, io, stored.Name, warnings); err != nil {
		return err
	}
	a, err := b.Update(c.Context, req)
	done := fmt.Sprintf("domain %s is updated; see dirgate domain show %s", a.Domain.Name, a.Domain.Name)
	if werr := writeAnswer(c, io, a, done, err); werr != nil || err == nil {
		return werr
	}
	return fmt.Errorf("domain update %s: %w; nothing was stored", stored.Name, err)
}
