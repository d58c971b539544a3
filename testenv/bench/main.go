package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		exitOn(child(os.Args[2:]))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	exitOn(err)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	workloads []workload
	programs  []program
	missing   []string
	rounds    int
	window    time.Duration
	format    string
	profile   string
	people    int
}

func parseOptions(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	workloads := flags.String("workloads", "all", "comma-separated names or beginnings of names")
	programs := flags.String("proxies", defaultPrograms, "comma-separated; \"copy\" adds a Go relay that understands nothing")
	seconds := flags.Float64("seconds", 1.5, "length of a measurement")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds of all programs on each workload; idle sessions have one")
	flags.StringVar(&o.format, "format", "text", "text, markdown or json")
	flags.StringVar(&o.profile, "profile", "", "folder for CPU and allocation profiles of dirgate, one of each workload, taken in the last round")
	flags.IntVar(&o.people, "entries", 10_000, "entries of the back end")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage: bench [FLAGS]\n\nWorkloads:")
		for _, w := range allWorkloads {
			fmt.Fprintf(stderr, "  %-11s %s, %d sessions\n", w.name, w.what, w.sessions)
		}
		fmt.Fprintln(stderr, "\nFlags:")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	o.window = time.Duration(*seconds * float64(time.Second))
	switch {
	case flags.NArg() > 0:
		return options{}, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.rounds < 1 || o.window < 10*tick || o.people < 1:
		return options{}, errors.New("-rounds and -entries must be at least 1, -seconds at least 0.1")
	case !slices.Contains([]string{"text", "markdown", "json"}, o.format):
		return options{}, fmt.Errorf("-format %q: want text, markdown or json", o.format)
	}
	if o.workloads, err = findWorkloads(*workloads); err != nil {
		return options{}, err
	}
	o.programs, o.missing, err = findPrograms(*programs)
	return o, err
}

// run is the whole program: it prints the result to stdout and its progress to
// stderr. The error says that not everything could be measured.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	for _, m := range o.missing {
		fmt.Fprintf(stderr, "=== NO COLUMN for %s: it is not installed ===\n", m)
	}
	sessions, err := raiseDescriptors()
	if err != nil {
		return err
	}
	o.workloads = fit(o.workloads, sessions, stderr)
	if o.profile != "" {
		if o.profile, err = filepath.Abs(o.profile); err != nil {
			return err
		}
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "dirgate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(stderr, "starting the back end")
	r, err := newRig(ctx, dir, o.people, runtime.NumCPU(), sessions)
	if err != nil {
		return err
	}
	defer r.backend.end()
	b := bench{options: o, rig: r, progress: stderr}
	b.all(ctx)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	if err := b.report().write(stdout, o.format); err != nil {
		return err
	}
	if b.failed > 0 {
		return fmt.Errorf("%d measurements failed", b.failed)
	}
	return nil
}

// fit makes workloads smaller that need more sessions than can be had, and says
// so; the report names the number used.
func fit(workloads []workload, sessions int, stderr io.Writer) []workload {
	fitted := slices.Clone(workloads)
	for i := range fitted {
		if w := &fitted[i]; w.sessions > sessions {
			fmt.Fprintf(stderr, "=== %s has only %d sessions: raise the limit of open files (ulimit -Hn) for more ===\n", w.name, sessions)
			w.sessions = sessions
		}
	}
	return fitted
}

// bench is a run in progress.
type bench struct {
	options
	rig      *rig
	progress io.Writer

	samples     []sample
	calibration []float64
	failed      int
}

// all measures everything. Programs take turns in going first.
func (b *bench) all(ctx context.Context) {
	for round := range b.rounds {
		for _, w := range b.workloads {
			if w.idle && round > 0 {
				continue // tens of thousands of handshakes, for a figure that varies little
			}
			for i := range b.programs {
				p := b.programs[(i+round)%len(b.programs)]
				if ctx.Err() != nil {
					return
				}
				b.calibration = append(b.calibration, calibrate())
				s, err := b.cell(ctx, w, p, round)
				s.Workload, s.Program, s.Round = w.name, p.name, round
				if err != nil && ctx.Err() == nil {
					s = sample{Workload: w.name, Program: p.name, Round: round, Error: err.Error()}
					b.failed++
				}
				b.samples = append(b.samples, s)
				b.show(w, s)
			}
		}
	}
}

// cell measures one program under one workload.
func (b *bench) cell(ctx context.Context, w workload, p program, round int) (sample, error) {
	if err := b.rig.rest(ctx); err != nil {
		return sample{}, err
	}
	profile := b.profile != "" && round == b.rounds-1 && !w.idle && p.name == dirgateName
	prefix := ""
	if profile {
		prefix = filepath.Join(b.profile, w.name)
	}
	proc, err := p.run(ctx, b.rig, prefix)
	if err != nil {
		return sample{}, err
	}
	defer proc.end()
	if w.idle {
		return measureIdle(ctx, w, b.rig, proc)
	}
	return measure(ctx, w, b.rig, proc, b.window, profile)
}

func (b *bench) show(w workload, s sample) {
	if s.Error != "" {
		fmt.Fprintf(b.progress, "round %d/%d  %-11s %-10s FAILED: %s\n", s.Round+1, b.rounds, s.Workload, s.Program, s.Error)
		return
	}
	fmt.Fprintf(b.progress, "round %d/%d  %-11s %-10s %8.1f %s\n", s.Round+1, b.rounds, s.Workload, s.Program, s.main(w), w.unit())
}

func (b *bench) report() report {
	noise, _ := spreadOf(b.calibration)
	return report{
		Machine: thisMachine(), Rounds: b.rounds, Seconds: b.window.Seconds(), People: b.people, Missing: b.missing,
		Calibration: noise, Tables: summarize(b.workloads, b.programs, b.samples), Samples: b.samples,
	}
}
