// Command dirgate is an LDAPS gateway in front of Active Directory that
// captures the passwords AD accepts, and replicates them to JumpCloud.
//
// This package is the command line and the wiring of the others; it decides
// nothing that they could decide.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// version is set by the linker (see the Makefile).
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit statuses of the contract.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is the whole program, for tests too.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := newApp(streams{in: stdin, out: stdout, err: stderr})
	err := app.RunContext(ctx, flagsFirst(app, args))
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(stderr, "dirgate: %s\n", oneLine(err))
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// oneLine joins the lines of nested errors. Active Directory ends its messages
// with a NUL.
func oneLine(err error) string {
	text := strings.ReplaceAll(err.Error(), "\x00", "")
	return plain(strings.Join(strings.Split(strings.TrimSpace(text), "\n"), "; "))
}

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// streams are what a command talks through.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func newApp(io streams) *cli.App {
	return &cli.App{
		Name:      "dirgate",
		Usage:     "LDAPS gateway in front of Active Directory, with replication to JumpCloud",
		Version:   version,
		Reader:    io.in,
		Writer:    io.out,
		ErrWriter: io.err,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Value: "/etc/dirgate/dirgate.yaml", EnvVars: []string{"DIRGATE_CONFIG"}, Usage: "configuration `FILE`"},
			&cli.StringFlag{Name: "log-level", Usage: "debug, info, warn or error; overrides the configuration"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "table or json"},
		},
		Before: func(c *cli.Context) error {
			if o := c.String("output"); o != "table" && o != "json" {
				return usagef("--output %q: want table or json", o)
			}
			return nil
		},
		Commands: []*cli.Command{
			devCommand(io), initCommand(io), serveCommand(io), domainCommand(io), agentCommand(io), userCommand(io), groupCommand(io), changelogCommand(io), replicateCommand(io), guardCommand(io), tokenCommand(io), keyCommand(io), backupCommand(io), restoreCommand(io), versionCommand(io),
		},
		EnableBashCompletion: true,
		HideVersion:          true,
		OnUsageError:         func(_ *cli.Context, err error, _ bool) error { return usagef("%v", err) },
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("no command %q; see dirgate --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		ExitErrHandler: func(*cli.Context, error) {}, // run decides
	}
}

// command fills in what every command shares: usage errors, and the check
// that the number of arguments is right.
func command(cmd *cli.Command, arguments int) *cli.Command {
	cmd.OnUsageError = func(c *cli.Context, err error, _ bool) error {
		return usagef("%s: %v; see %s --help", full(cmd), err, cmd.HelpName)
	}
	if len(cmd.Subcommands) > 0 {
		cmd.Action = func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("%s: no command %q; see %s --help", full(cmd), c.Args().First(), cmd.HelpName)
			}
			return cli.ShowSubcommandHelp(c)
		}
		return cmd
	}
	do := cmd.Action
	cmd.Action = func(c *cli.Context) error {
		switch {
		case arguments == anyNumber || c.NArg() == arguments:
			return do(c)
		case arguments == 0:
			return usagef("%s: %q is one argument too many; see %s --help", full(cmd), c.Args().First(), cmd.HelpName)
		}
		return usagef("%s: want %s, got %d arguments; see %s --help", full(cmd), cmd.ArgsUsage, c.NArg(), cmd.HelpName)
	}
	return cmd
}

// anyNumber of arguments: the command itself checks them.
const anyNumber = -1

// full is a command's name with those above it, as in "domain show".
func full(cmd *cli.Command) string { return strings.TrimPrefix(cmd.HelpName, "dirgate ") }

func versionCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(c *cli.Context) error {
			if c.String("output") == "json" {
				return writeJSON(io.out, map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(io.out, "dirgate", version)
			return err
		},
	}, 0)
}
