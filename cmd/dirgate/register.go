package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/urfave/cli/v2"
)

func domainRegister(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "register",
		Usage:     "check a domain on both sides, register it with JumpCloud and store it",
		ArgsUsage: "DOMAIN",
		Description: "DOMAIN is the DNS name of the Active Directory domain. Repeat the command to change a\n" +
			"registration: what is not given stays as it is, secrets too. If anything fails, nothing is\n" +
			"stored and what was made in JumpCloud is removed.",
		// No flag has a default of the library's: it would look like one that was
		// given. Merge knows the defaults.
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "dc", Usage: "ldaps `URL` of a domain controller; repeat for more, in order of preference"},
			&cli.BoolFlag{Name: "discover", Usage: "use the domain controllers that DNS names for DOMAIN, behind those of --dc; asked again while running"},
			&cli.StringFlag{Name: "site", Usage: "Active Directory `SITE` whose controllers --discover prefers; '' for none (the default)"},
			&cli.StringFlag{Name: "ca-file", Usage: "PEM `FILE` with the CA of the domain controllers' certificates; '' for the system's CAs (the default)"},
			&cli.StringFlag{Name: "use-case", Usage: "where users and groups are managed: ad (the default), two-way (both sides) or jumpcloud"},
			&cli.StringFlag{Name: "root-dn", Usage: "`DN` of the root container; '' for the domain (the default)"},
			&cli.StringFlag{Name: "scope-group", Usage: "`DN` of the group whose direct and nested members are replicated; '' for everyone (the default)"},
			&cli.StringFlag{Name: "import-account", Usage: "bind `NAME` of the account that reads Active Directory"},
			&cli.StringFlag{Name: "import-password-file", Usage: "`FILE` with its password; - is standard input"},
			syncAccountFlag(), syncPasswordFlag(),
			&cli.StringFlag{Name: "password-sync", Usage: "capture (the default), or validate-only: passwords are never captured"},
			&cli.StringFlag{Name: "jumpcloud-url", Usage: "`URL` of JumpCloud's console (default: " + admin.DefaultJumpCloudURL + ")"},
			&cli.StringFlag{Name: "jumpcloud-ca-file", Usage: "PEM `FILE` with the CA of that URL; '' for the system's CAs (the default)"},
			&cli.StringFlag{Name: "jumpcloud-ldap-url", Usage: "ldaps `URL` of JumpCloud's LDAP, where DNs of JumpCloud are bound with; '' for none (the default)"},
			&cli.StringFlag{Name: "org-id", Usage: "JumpCloud organisation `ID` (default: the only one that the key sees)"},
			&cli.StringFlag{Name: "api-key-file", Usage: "`FILE` with JumpCloud's API key; - is standard input"},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask before the scope of a registration is cleared or its use case changed"},
		},
		Action: func(c *cli.Context) error {
			req, err := registerRequest(c, io)
			defer req.Wipe()
			if err != nil {
				return fmt.Errorf("domain register: %w", err)
			}
			return withBackend(c, io, func(b admin.Backend) error { return register(c, io, b, req) })
		},
	}, 1)
}

func register(c *cli.Context, io streams, b admin.Backend, req admin.RegisterRequest) error {
	if err := confirmRegistration(c, io, b, &req); err != nil {
		return err
	}
	a, err := b.Register(c.Context, req)
	if werr := writeAnswer(c, io, a, fmt.Sprintf("domain %s is registered", a.Domain.Name), err); werr != nil || err == nil {
		return werr
	}
	return fmt.Errorf("domain register %s: %w; nothing was stored", req.Name, err)
}

// writeAnswer prints the checks that were made, also when one has failed, and
// what was done if none has.
func writeAnswer(c *cli.Context, io streams, a admin.RegisterAnswer, done string, failed error) error {
	if c.String("output") == "json" {
		if failed != nil && len(a.Checks) == 0 {
			return nil
		}
		return writeJSON(io.out, a)
	}
	printChecks(io, a.Checks)
	if failed != nil || done == "" {
		return nil
	}
	_, err := fmt.Fprintln(io.out, done)
	return err
}

func printChecks(io streams, checks []replicate.Check) {
	for _, check := range checks {
		result := "ok "
		if check.Failed {
			result = "no "
		}
		fmt.Fprintf(io.out, "%s %-24s %s\n", result, check.Name, plain(check.Detail))
	}
}

func syncAccountFlag() cli.Flag {
	return &cli.StringFlag{Name: "sync-account", Usage: "bind `NAME` of the account that writes to Active Directory; use cases two-way and jumpcloud need one"}
}

func syncPasswordFlag() cli.Flag {
	return &cli.StringFlag{Name: "sync-password-file", Usage: "`FILE` with its password; - is standard input"}
}

// confirmRegistration asks before a repeated registration concerns more people
// than the stored one.
func confirmRegistration(c *cli.Context, io streams, b admin.Backend, req *admin.RegisterRequest) error {
	all, err := b.Domains(c.Context)
	if err != nil {
		return fmt.Errorf("domain register %s: %w", req.Name, err)
	}
	var stored *store.Domain
	for i := range all {
		if strings.EqualFold(all[i].Name, req.Name) {
			stored = &all[i]
		}
	}
	d, warnings, err := req.Merge(stored)
	if err != nil {
		return usagef("domain register: %v; see %s --help", err, c.Command.HelpName)
	}
	if stored != nil {
		showUseCase(io, *stored, d)
	}
	req.Confirmed, err = confirmed(c, io, req.Name, warnings)
	return err
}

// showUseCase says what another use case comes to, before it is asked for.
func showUseCase(io streams, stored, d store.Domain) {
	for _, line := range admin.UseCaseEffects(identity.UseCase(stored.UseCase), identity.UseCase(d.UseCase)) {
		fmt.Fprintln(io.err, "  "+line)
	}
}

// confirmed asks about each warning that --yes does not answer.
func confirmed(c *cli.Context, io streams, domain string, warnings []string) (bool, error) {
	if c.Bool("yes") {
		return true, nil
	}
	for _, w := range warnings {
		if !confirm(io, plain(strings.ToUpper(w[:1])+w[1:])+". Go on?") {
			return false, fmt.Errorf("domain %s %s: not confirmed, because %s; nothing was stored (use --yes without a terminal)", c.Command.Name, domain, plain(w))
		}
	}
	return len(warnings) > 0, nil
}

func registerRequest(c *cli.Context, io streams) (admin.RegisterRequest, error) {
	req := admin.RegisterRequest{
		Name: domainArg(c),
		DCs:  c.StringSlice("dc"), Site: given(c, "site"),
		UseCase: given(c, "use-case"), RootDN: given(c, "root-dn"), ScopeGroup: given(c, "scope-group"),
		PasswordSync: given(c, "password-sync"), ImportAccount: given(c, "import-account"), SyncAccount: given(c, "sync-account"),
		JumpCloudURL: given(c, "jumpcloud-url"), JumpCloudLDAP: given(c, "jumpcloud-ldap-url"), JumpCloudOrgID: given(c, "org-id"),
	}
	if c.IsSet("discover") {
		req.Discover = new(c.Bool("discover"))
	}
	if u := req.JumpCloudLDAP; u != nil && *u != "" {
		if _, _, err := dc.Address(*u); err != nil {
			return req, usagef("--jumpcloud-ldap-url: %v", err)
		}
	}
	for _, u := range req.DCs {
		if _, _, err := dc.Address(u); err != nil {
			return req, usagef("--dc: %v", err)
		}
	}
	if err := oneStdin(c, "import-password-file", "sync-password-file", "api-key-file"); err != nil {
		return req, err
	}
	var err error
	if req.CAPEM, err = pemFile(c, "ca-file"); err != nil {
		return req, err
	}
	if req.JumpCloudCAPEM, err = pemFile(c, "jumpcloud-ca-file"); err != nil {
		return req, err
	}
	if req.ImportPassword, err = secretFile(c, io, "import-password-file"); err != nil {
		return req, err
	}
	if req.SyncPassword, err = secretFile(c, io, "sync-password-file"); err != nil {
		return req, err
	}
	req.JumpCloudAPIKey, err = secretFile(c, io, "api-key-file")
	return req, err
}

// oneStdin: a secret that is read from standard input leaves nothing for
// another.
func oneStdin(c *cli.Context, flags ...string) error {
	var readers []string
	for _, flag := range flags {
		if c.String(flag) == "-" {
			readers = append(readers, "--"+flag)
		}
	}
	if len(readers) > 1 {
		return usagef("only one of %s can be standard input", strings.Join(readers, " and "))
	}
	return nil
}

// given is the value of a flag, nil when it is not on the command line.
func given(c *cli.Context, flag string) *string {
	if !c.IsSet(flag) {
		return nil
	}
	return new(c.String(flag))
}

// pemFile reads a CA file: its contents are stored, so that a registration
// does not depend on a file that moves.
func pemFile(c *cli.Context, flag string) (*string, error) {
	path := given(c, flag)
	if path == nil || *path == "" {
		return path, nil
	}
	b, err := os.ReadFile(*path)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return new(string(b)), nil
}

// secretFile is the secret in the file that a flag names, nil without the
// flag.
func secretFile(c *cli.Context, io streams, flag string) ([]byte, error) {
	if !c.IsSet(flag) {
		return nil, nil
	}
	return readSecretFile(io.in, flag, c.String(flag))
}
