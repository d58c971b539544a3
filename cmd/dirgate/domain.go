package main

import (
	"slices"
	"strings"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/store"
	"github.com/urfave/cli/v2"
)

func domainCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "domain",
		Usage: "register Active Directory domains",
		Subcommands: []*cli.Command{
			domainRegister(io),
			domainUpdate(io),
			domainVerify(io),
			domainRotate(io),
			domainRemove(io),
			command(&cli.Command{Name: "list", Usage: "list the registered domains", Action: func(c *cli.Context) error { return domainList(c, io) }}, 0),
			command(&cli.Command{Name: "show", Usage: "show one registration", ArgsUsage: "DOMAIN", Action: func(c *cli.Context) error { return domainShow(c, io) }}, 1),
		},
	}, 0)
}

func domainList(c *cli.Context, io streams) error {
	ask := func(b admin.Backend) ([]store.Domain, error) { return b.Domains(c.Context) }
	return showList(c, io, ask, func(all []store.Domain) error {
		var rows [][]string
		for _, d := range all {
			rows = append(rows, []string{d.Name, d.NetBIOS, d.UseCase, d.PasswordSync, strings.Join(controllers(d), ","), d.JumpCloud.OrgID})
		}
		return table(io.out, "DOMAIN\tNETBIOS\tUSE CASE\tPASSWORDS\tDOMAIN CONTROLLERS\tORGANISATION", rows)
	})
}

// controllers says where the controllers of a registration come from.
func controllers(d store.Domain) []string {
	all := slices.Clone(d.DCs)
	switch {
	case d.Discover && d.Site != "":
		all = append(all, "DNS (site "+d.Site+")")
	case d.Discover:
		all = append(all, "DNS")
	}
	return all
}

func domainShow(c *cli.Context, io streams) error {
	type shown struct {
		store.Domain
		delegationView
	}
	ask := func(b admin.Backend) (s shown, err error) {
		if s.Domain, err = b.Domain(c.Context, domainArg(c)); err == nil {
			s.delegationView, err = delegationOf(c, b, s.Name)
		}
		return s, err
	}
	return show(c, io, ask, func(d shown) error {
		actions := d.Actions.WithDefaults()
		return table(io.out, "DOMAIN\t"+plain(d.Name), [][]string{
			{"NetBIOS name", d.NetBIOS},
			{"base DN", d.BaseDN},
			{"root container", d.RootDN},
			{"scope group", d.ScopeGroup},
			{"domain controllers", strings.Join(controllers(d.Domain), ", ")},
			{"import account", d.ImportAccount},
			{"sync account", d.SyncAccount},
			{"use case", d.UseCase},
			{"passwords", d.PasswordSync},
			{"user takeover action", string(actions.Takeover)},
			{"user dissociation action", string(actions.Dissociation)},
			{"user disable action", string(actions.Disable)},
			{"user expire action", string(actions.Expire)},
			{"user field mapping", d.Mapping.From()},
			{"additional attributes", yes(!d.Mapping.BasicOnly)},
			{"JumpCloud", d.JumpCloud.URL},
			{"organisation", d.JumpCloud.OrgID},
			{"AD object", d.JumpCloud.ADID},
			{"delegation at JumpCloud", d.delegationView.String()},
			{"agents", strings.Join(d.JumpCloud.AgentIDs, ", ")},
			{"registered", moment(d.CreatedAt)},
			{"updated", moment(d.UpdatedAt)},
		})
	})
}
