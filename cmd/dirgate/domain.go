package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/store"
	"github.com/urfave/cli/v2"
)

func domainCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "domain",
		Usage: "register Active Directory domains",
		Subcommands: []*cli.Command{
			domainRegister(io),
			command(&cli.Command{Name: "list", Usage: "list the registered domains", Action: func(c *cli.Context) error { return domainList(c, io) }}, 0),
			command(&cli.Command{Name: "show", Usage: "show one registration", ArgsUsage: "DOMAIN", Action: func(c *cli.Context) error { return domainShow(c, io) }}, 1),
		},
	}, 0)
}

func domainRegister(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "register",
		Usage:     "check a domain on both sides, register it with JumpCloud and store it",
		ArgsUsage: "DOMAIN",
		Description: "DOMAIN is the DNS name of the Active Directory domain. The command may be repeated to\n" +
			"change a registration. If anything fails, nothing is stored and what was made in JumpCloud is removed.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "dc", Usage: "ldaps `URL` of a domain controller; repeat for more, in order of preference"},
			&cli.StringFlag{Name: "ca-file", Usage: "PEM `FILE` with the CA of the domain controllers' certificates (default: the system's CAs)"},
			&cli.StringFlag{Name: "use-case", Value: "ad", Usage: "ad or two-way; this version replicates AD to JumpCloud"},
			&cli.StringFlag{Name: "root-dn", Usage: "`DN` of the root container (default: the domain)"},
			&cli.StringFlag{Name: "scope-group", Usage: "`DN` of the group whose direct and nested members are replicated (default: everyone)"},
			&cli.StringFlag{Name: "import-account", Usage: "bind `NAME` of the account that reads Active Directory"},
			&cli.StringFlag{Name: "import-password-file", Usage: "`FILE` with its password; - is standard input"},
			&cli.StringFlag{Name: "password-sync", Value: "capture", Usage: "capture, or validate-only: passwords are never captured"},
			&cli.StringFlag{Name: "jumpcloud-url", Value: "https://console.jumpcloud.com", Usage: "`URL` of JumpCloud's console"},
			&cli.StringFlag{Name: "jumpcloud-ca-file", Usage: "PEM `FILE` with the CA of that URL (default: the system's CAs)"},
			&cli.StringFlag{Name: "org-id", Usage: "JumpCloud organisation `ID` (default: the only one that the key sees)"},
			&cli.StringFlag{Name: "api-key-file", Usage: "`FILE` with JumpCloud's API key; - is standard input"},
		},
		Action: func(c *cli.Context) error {
			req, err := registerRequest(c, io)
			if err != nil {
				return err
			}
			defer req.Wipe()
			return withBackend(c, io, func(b admin.Backend) error {
				a, err := b.Register(c.Context, req)
				if c.String("output") == "json" && err == nil {
					return writeJSON(io.out, a)
				}
				for _, check := range a.Checks {
					fmt.Fprintf(io.out, "ok  %-24s %s\n", check.Name, plain(check.Detail))
				}
				if err != nil {
					return fmt.Errorf("domain register %s: %w; nothing was stored", c.Args().First(), err)
				}
				fmt.Fprintf(io.out, "domain %s is registered\n", a.Domain.Name)
				if a.Domain.UseCase == "two-way" {
					fmt.Fprintln(io.out, "note: this version replicates passwords from AD to JumpCloud; nothing is written to AD")
				}
				return nil
			})
		},
	}, 1)
}

func registerRequest(c *cli.Context, io streams) (admin.RegisterRequest, error) {
	if err := required(c, "dc", "import-account", "import-password-file", "api-key-file"); err != nil {
		return admin.RegisterRequest{}, err
	}
	d := store.Domain{
		Name:          strings.ToLower(strings.TrimSuffix(c.Args().First(), ".")),
		DCs:           c.StringSlice("dc"),
		UseCase:       c.String("use-case"),
		RootDN:        c.String("root-dn"),
		ScopeGroup:    c.String("scope-group"),
		ImportAccount: c.String("import-account"),
		PasswordSync:  c.String("password-sync"),
	}
	d.JumpCloud.URL, d.JumpCloud.OrgID = c.String("jumpcloud-url"), c.String("org-id")
	if d.UseCase != "ad" && d.UseCase != "two-way" {
		return admin.RegisterRequest{}, usagef("--use-case %q: want ad or two-way", d.UseCase)
	}
	if d.PasswordSync != "capture" && d.PasswordSync != "validate-only" {
		return admin.RegisterRequest{}, usagef("--password-sync %q: want capture or validate-only", d.PasswordSync)
	}
	for _, u := range d.DCs {
		if _, _, err := dc.Address(u); err != nil {
			return admin.RegisterRequest{}, usagef("--dc: %v", err)
		}
	}
	if c.String("import-password-file") == "-" && c.String("api-key-file") == "-" {
		return admin.RegisterRequest{}, usagef("only one of --import-password-file and --api-key-file can be standard input")
	}
	var err error
	if d.CAPEM, err = pemFile(c, "ca-file"); err != nil {
		return admin.RegisterRequest{}, err
	}
	if d.JumpCloud.CAPEM, err = pemFile(c, "jumpcloud-ca-file"); err != nil {
		return admin.RegisterRequest{}, err
	}
	req := admin.RegisterRequest{Domain: d}
	if req.ImportPassword, err = readSecretFile(io.in, "import-password-file", c.String("import-password-file")); err != nil {
		return req, err
	}
	req.APIKey, err = readSecretFile(io.in, "api-key-file", c.String("api-key-file"))
	return req, err
}

// pemFile reads a CA file: its contents are stored, so that a registration
// does not depend on a file that moves.
func pemFile(c *cli.Context, flag string) ([]byte, error) {
	path := c.String(flag)
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return b, nil
}

func domainList(c *cli.Context, io streams) error {
	return withBackend(c, io, func(b admin.Backend) error {
		all, err := b.Domains(c.Context)
		if err != nil {
			return fmt.Errorf("domain list: %w", err)
		}
		if c.String("output") == "json" {
			return writeList(io.out, all)
		}
		var rows [][]string
		for _, d := range all {
			rows = append(rows, []string{d.Name, d.NetBIOS, d.UseCase, d.PasswordSync, strings.Join(d.DCs, ","), d.JumpCloud.OrgID})
		}
		return table(io.out, "DOMAIN\tNETBIOS\tUSE CASE\tPASSWORDS\tDOMAIN CONTROLLERS\tORGANISATION", rows)
	})
}

func domainShow(c *cli.Context, io streams) error {
	return withBackend(c, io, func(b admin.Backend) error {
		d, err := b.Domain(c.Context, c.Args().First())
		if err != nil {
			return fmt.Errorf("domain show: %w", err)
		}
		if c.String("output") == "json" {
			return writeJSON(io.out, d)
		}
		return table(io.out, "DOMAIN\t"+plain(d.Name), [][]string{
			{"NetBIOS name", d.NetBIOS},
			{"base DN", d.BaseDN},
			{"root container", d.RootDN},
			{"scope group", d.ScopeGroup},
			{"domain controllers", strings.Join(d.DCs, ", ")},
			{"import account", d.ImportAccount},
			{"use case", d.UseCase},
			{"passwords", d.PasswordSync},
			{"JumpCloud", d.JumpCloud.URL},
			{"organisation", d.JumpCloud.OrgID},
			{"AD object", d.JumpCloud.ADID},
			{"agents", strings.Join(d.JumpCloud.AgentIDs, ", ")},
			{"registered", moment(d.CreatedAt)},
			{"updated", moment(d.UpdatedAt)},
		})
	})
}
