package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/store"
	"github.com/urfave/cli/v2"
)

func tokenCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:        "token",
		Usage:       "bearer tokens of the delegate API",
		Subcommands: []*cli.Command{tokenCreateCommand(io), tokenListCommand(io), tokenRevokeCommand(io)},
	}, 0)
}

func tokenCreateCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "create",
		Usage:     "make a token for the program NAME, and print it: it is shown this once, and only its hash is kept",
		ArgsUsage: "NAME",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "scopes", Value: "validate", Usage: "what it may do: a `LIST` of validate, change and status"},
			&cli.DurationFlag{Name: "expires-in", Value: 365 * 24 * time.Hour, Usage: "how long it is good; 0 for ever"},
		},
		Action: func(c *cli.Context) error {
			life := c.Duration("expires-in")
			if life < 0 {
				return usagef("token create: --expires-in %s: want a duration from now on, or 0 for ever", life)
			}
			req := admin.TokenRequest{Name: c.Args().First(), Scopes: strings.Split(c.String("scopes"), ","), Life: life}
			ask := func(b admin.Backend) (admin.TokenAnswer, error) { return b.CreateToken(c.Context, req) }
			return show(c, io, ask, func(made admin.TokenAnswer) error {
				_, err := fmt.Fprintln(io.out, made.Text)
				return err
			})
		},
	}, 1)
}

func tokenListCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "list",
		Usage: "list the tokens, with those that ended in the last 30 days",
		Action: func(c *cli.Context) error {
			ask := func(b admin.Backend) ([]store.Token, error) { return b.Tokens(c.Context) }
			return showList(c, io, ask, func(list []store.Token) error {
				var rows [][]string
				for _, t := range list {
					state := "good"
					switch now := time.Now(); {
					case !t.RevokedAt.IsZero():
						state = "revoked " + moment(t.RevokedAt)
					case !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now):
						state = "expired"
					}
					rows = append(rows, []string{t.ID, t.Name, strings.Join(t.Scopes, ","), state, moment(t.CreatedAt), moment(t.ExpiresAt), moment(t.LastUsed)})
				}
				return table(io.out, "ID\tNAME\tSCOPES\tSTATE\tCREATED\tEXPIRES\tLAST USED", rows)
			})
		},
	}, 0)
}

func tokenRevokeCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:      "revoke",
		Usage:     "end the token with this ID at once",
		ArgsUsage: "ID",
		Action: func(c *cli.Context) error {
			return withBackend(c, io, func(b admin.Backend) error {
				if err := b.RevokeToken(c.Context, c.Args().First()); err != nil {
					return fmt.Errorf("%w; see `dirgate token list`", err)
				}
				_, err := fmt.Fprintln(io.out, "revoked", c.Args().First())
				return err
			})
		},
	}, 1)
}
