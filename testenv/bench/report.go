package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is the whole result, as -format json prints it.
type report struct {
	Machine machine  `json:"machine"`
	Rounds  int      `json:"rounds"`
	Seconds float64  `json:"seconds"` // of a window
	People  int      `json:"entries"`
	Missing []string `json:"missing,omitempty"` // programs not installed
	// Calibration is what a fixed piece of work took before each cell, in
	// microseconds: the noise of the machine.
	Calibration spread   `json:"calibration_us"`
	Tables      []table  `json:"tables"`
	Samples     []sample `json:"samples"`
}

// table is one workload.
type table struct {
	Workload string  `json:"workload"`
	What     string  `json:"what"`
	Unit     string  `json:"unit"`
	Target   float64 `json:"target,omitempty"`
	Rows     []row   `json:"rows"`
}

// row is one program in one workload. What does not apply is nil or 0.
type row struct {
	Program    string  `json:"program"`
	Main       *spread `json:"main"` // in the table's unit
	ToHAProxy  *spread `json:"to_haproxy,omitempty"`
	ToBackLDAP *spread `json:"to_back_ldap,omitempty"`
	Rate       float64 `json:"per_second,omitempty"`
	P50        float64 `json:"p50_us,omitempty"`
	P99        float64 `json:"p99_us,omitempty"`
	PeakMiB    float64 `json:"peak_rss_mib"`
	Failed     int     `json:"failed_rounds,omitempty"`
}

// summarize makes the tables of the samples.
func summarize(workloads []workload, programs []program, samples []sample) []table {
	var tables []table
	for _, w := range workloads {
		t := table{Workload: w.name, What: fmt.Sprintf("%s, %d sessions", w.what, w.sessions), Target: w.target, Unit: w.unit()}
		haproxy, backLDAP := mainFigures(w, haproxyName, samples), mainFigures(w, backLDAPName, samples)
		for _, p := range programs {
			r := summarizeOne(w, p.name, samples)
			own := mainFigures(w, p.name, samples)
			if p.name != haproxyName {
				r.ToHAProxy = optional(paired(own, haproxy))
			}
			if p.name != backLDAPName {
				r.ToBackLDAP = optional(paired(own, backLDAP))
			}
			t.Rows = append(t.Rows, r)
		}
		tables = append(tables, t)
	}
	return tables
}

func (w workload) unit() string {
	switch {
	case w.idle:
		return "RSS KiB/session"
	case w.perEntry:
		return "CPU us/entry"
	}
	return "CPU us/op"
}

func (s sample) main(w workload) float64 {
	if w.idle {
		return s.IdleKiB
	}
	return s.CPUMicros
}

// mainFigures are a program's main figures by round, without failed rounds.
func mainFigures(w workload, program string, samples []sample) map[int]float64 {
	figures := make(map[int]float64)
	for _, s := range samples {
		if s.Workload == w.name && s.Program == program && s.Error == "" {
			figures[s.Round] = s.main(w)
		}
	}
	return figures
}

func summarizeOne(w workload, program string, samples []sample) row {
	r := row{Program: program}
	var figures, rate, p50, p99, peak []float64
	for _, s := range samples {
		switch {
		case s.Workload != w.name || s.Program != program:
		case s.Error != "":
			r.Failed++
		default:
			figures, rate, peak = append(figures, s.main(w)), append(rate, s.Rate), append(peak, float64(s.PeakKiB)/1024)
			if s.Ops > 0 {
				p50, p99 = append(p50, s.P50Micros), append(p99, s.P99Micros)
			}
		}
	}
	r.Main = optional(figures)
	r.Rate, r.P50, r.P99 = medianOr0(rate), medianOr0(p50), medianOr0(p99)
	if s, ok := spreadOf(peak); ok {
		r.PeakMiB = s.Max
	}
	return r
}

func optional(samples []float64) *spread {
	s, ok := spreadOf(samples)
	if !ok {
		return nil
	}
	return &s
}

func medianOr0(samples []float64) float64 {
	s, _ := spreadOf(samples)
	return s.Median
}

// write prints the report in a format of -format.
func (r report) write(w io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	fmt.Fprintf(w, "%s\n%d rounds of %.1f s, %d entries; median (min-max); ratios are medians of the rounds' ratios.\n", r.Machine, r.Rounds, r.Seconds, r.People)
	fmt.Fprintf(w, "Noise: a fixed piece of work took %.0f (%.0f-%.0f) us.\n", r.Calibration.Median, r.Calibration.Min, r.Calibration.Max)
	for _, m := range r.Missing {
		fmt.Fprintf(w, "NO COLUMN for %s: it is not installed.\n", m)
	}
	for _, t := range r.Tables {
		title := t.Workload + ": " + t.What + t.verdict()
		grid := t.grid()
		if format == "markdown" {
			fmt.Fprintf(w, "\n**%s**\n\n", title)
			writeMarkdown(w, grid)
			continue
		}
		fmt.Fprintf(w, "\n%s\n", title)
		if err := writeText(w, grid); err != nil {
			return err
		}
	}
	for _, s := range r.Samples {
		if s.Error != "" {
			fmt.Fprintf(w, "\nFAILED: %s, %s, round %d: %s\n", s.Workload, s.Program, s.Round, s.Error)
		}
	}
	return nil
}

// verdict says what dirgate should reach, and whether its median does.
func (t table) verdict() string {
	i := slices.IndexFunc(t.Rows, func(r row) bool { return r.Program == dirgateName })
	if t.Target == 0 || i < 0 {
		return ""
	}
	what, reached := fmt.Sprintf("%.2f x haproxy", t.Target), t.Rows[i].ToHAProxy
	if strings.HasPrefix(t.Unit, "RSS") {
		what, reached = fmt.Sprintf("%.0f %s", t.Target, t.Unit), t.Rows[i].Main
	}
	switch {
	case reached == nil:
		return fmt.Sprintf(" (target %s: not measured)", what)
	case reached.Median <= t.Target:
		return fmt.Sprintf(" (target %s: reached, %.2f)", what, reached.Median)
	}
	return fmt.Sprintf(" (target %s: MISSED, %.2f)", what, reached.Median)
}

// grid is the table as text, its header first.
func (t table) grid() [][]string {
	grid := [][]string{{"program", t.Unit, "x haproxy", "x back-ldap", "per second", "p50 us", "p99 us", "peak RSS MiB"}}
	for _, r := range t.Rows {
		name := r.Program
		if r.Failed > 0 {
			name += fmt.Sprintf(" (%d FAILED)", r.Failed)
		}
		grid = append(grid, []string{name, r.Main.text(1), r.ToHAProxy.text(2), r.ToBackLDAP.text(2),
			whole(r.Rate), whole(r.P50), whole(r.P99), whole(r.PeakMiB)})
	}
	return grid
}

func (s *spread) text(decimals int) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%.*f (%.*f-%.*f)", decimals, s.Median, decimals, s.Min, decimals, s.Max)
}

func whole(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", v)
}

func writeText(w io.Writer, grid [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range grid {
		fmt.Fprintf(tw, "  %s\n", strings.Join(line, "\t"))
	}
	return tw.Flush()
}

func writeMarkdown(w io.Writer, grid [][]string) {
	for i, line := range grid {
		fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(line)))
		}
	}
}
