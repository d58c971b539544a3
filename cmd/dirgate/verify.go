package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v2"
)

func changelogVerifyCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "verify",
		Usage: "check every record of the log and all that is stored beside it; exit status 1 when anything is missing or altered",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "accept-loss", Usage: "let a damaged log go on without what is lost; pending changes become dead letters"},
			&cli.BoolFlag{Name: "yes", Usage: "with --accept-loss: do not ask"},
		},
		Action: func(c *cli.Context) error {
			return withBackend(c, io, func(b admin.Backend) error {
				if c.Bool("accept-loss") {
					return acceptLoss(c, io, b)
				}
				r, err := b.Verify(c.Context)
				if err != nil {
					return fmt.Errorf("changelog verify: %w", err)
				}
				if err := printReport(c, io, r); err != nil || r.OK() {
					return err
				}
				return fmt.Errorf("changelog verify: %s: %s; %s", r.What(), r.Summary(), r.WayBack())
			})
		},
	}, 0)
}

func acceptLoss(c *cli.Context, io streams, b admin.Backend) error {
	r, err := b.Verify(c.Context)
	if err != nil {
		return fmt.Errorf("changelog verify: %w", err)
	}
	if r.OK() {
		return printReport(c, io, r)
	}
	if !c.Bool("yes") {
		for _, f := range r.Findings {
			fmt.Fprintln(io.err, plain(f.String()))
		}
		if !confirm(io, "What is listed is lost for good, and pending changes wait for `dirgate changelog retry`. Go on without it?") {
			return errors.New("changelog verify: not confirmed; nothing was done (use --yes without a terminal)")
		}
	}
	if r, err = b.AcceptLoss(c.Context, fmt.Sprintf("uid %d", os.Getuid())); err != nil {
		return fmt.Errorf("changelog verify: %w", err)
	}
	if c.String("output") == "json" {
		return writeJSON(io.out, r)
	}
	_, err = fmt.Fprintf(io.out, "accepted: %s\npending changes are dead letters now: see `dirgate changelog list --status dead`\na running daemon records again at once, and replicates after a restart\n", plain(r.Summary()))
	return err
}

func printReport(c *cli.Context, io streams, r store.Report) error {
	if c.String("output") == "json" {
		return writeJSON(io.out, r)
	}
	fmt.Fprintf(io.out, "records %d to %d: %d as they were written, %d lost and accounted for, %d missing or altered\nvalues beside the log: %d\n",
		r.First, r.Last, r.Records, r.Lost, r.BadRecords, r.Values)
	for _, f := range r.Findings {
		fmt.Fprintln(io.out, plain(f.String()))
	}
	if r.More > 0 {
		fmt.Fprintf(io.out, "and %d more\n", r.More)
	}
	if r.OK() {
		fmt.Fprintln(io.out, "every sequence number is accounted for")
	}
	return nil
}

func changelogExportCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "export",
		Usage: "print all records as JSON lines, oldest first; no secret is among them",
		Flags: []cli.Flag{&cli.Uint64Flag{Name: "after", Usage: "begin after record `SEQ`"}},
		Action: func(c *cli.Context) error {
			return withBackend(c, io, func(b admin.Backend) error {
				after, enc := identity.Seq(c.Uint64("after")), json.NewEncoder(io.out)
				for {
					records, err := b.Records(c.Context, after, 1000, 0)
					if err != nil {
						return fmt.Errorf("changelog export: %w", err)
					}
					for _, r := range records {
						after = r.Seq
						if err := enc.Encode(r); err != nil {
							return fmt.Errorf("changelog export: %w", err)
						}
					}
					if len(records) == 0 {
						return nil
					}
				}
			})
		},
	}, 0)
}

// degraded is the state of a daemon that serves clients and lacks something.
// /readyz says so, and still that it is ready: to take the gateway out of
// service would stop logins too.
type degraded struct{ reason string }

func (d *degraded) Error() string { return d.reason }

// damageOf tells whether the change log is damaged.
func damageOf(st *store.Store) error {
	if r := st.Damage(); r != nil {
		return &degraded{"degraded: binds are served; password changes are refused and nothing is replicated, because " + r.What() + ": " + r.Summary() + "; " + r.WayBack()}
	}
	return nil
}

// watchDamage adds the metric of damage, and what /readyz says of it. With
// idle, nothing is replicated before a restart, whatever becomes of the log.
func watchDamage(registry *prometheus.Registry, st *store.Store, idle bool, ready func(context.Context) error) func(context.Context) error {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dirgate_changelog_damaged", Help: "Whether the change log is damaged (1): nothing is recorded or replicated then.",
	}, func() float64 {
		if st.Damage() != nil {
			return 1
		}
		return 0
	}))
	return func(ctx context.Context) error {
		if err := ready(ctx); err != nil {
			return err
		}
		if err := damageOf(st); err != nil {
			return err
		}
		if idle {
			return &degraded{"degraded: binds are served and password changes recorded; nothing is replicated before a restart, because the change log was damaged when the daemon started: restart it"}
		}
		return roomOf(st)
	}
}

// roomOf tells whether the disk has room for another change.
func roomOf(st *store.Store) error {
	if err := st.Room(); err != nil {
		return &degraded{"degraded: binds are served; password changes are refused: " + err.Error()}
	}
	return nil
}
