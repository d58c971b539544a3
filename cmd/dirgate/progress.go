package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// How often progress is asked for, and how often it is printed where there is
// no terminal.
const (
	progressEvery = 300 * time.Millisecond
	linesEvery    = 5 * time.Second
)

// meter shows how far a piece of work has come: a bar on a terminal, now and
// then a line elsewhere.
type meter struct {
	out      io.Writer
	terminal bool
	shown    bool      // a bar is on the terminal's line
	last     string    // what was shown
	spoke    time.Time // when a line was printed
}

// isTerminal says whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// show shows a status, when there is something to show.
func (m *meter) show(s reconcile.Status, now time.Time) {
	text := workOf(s, now)
	switch {
	case text == "" || text == m.last && !m.terminal:
	case m.terminal:
		fmt.Fprintf(m.out, "\r\x1b[K%s %s", bar(s.Progress), text)
		m.shown = true
	case now.Sub(m.spoke) >= linesEvery:
		fmt.Fprintln(m.out, text)
		m.spoke = now
	}
	m.last = text
}

// end leaves the terminal as it was found.
func (m *meter) end() {
	if m.shown {
		fmt.Fprint(m.out, "\r\x1b[K")
		m.shown = false
	}
}

// workOf says what is worked on; empty: nothing.
func workOf(s reconcile.Status, now time.Time) string {
	p := s.Progress
	if p.Since.IsZero() || p.Total == 0 {
		return s.Phase
	}
	text := fmt.Sprintf("%d of %d users and groups", p.Done, p.Total)
	elapsed := now.Sub(p.Since)
	if p.Done == 0 || elapsed < time.Second {
		return text
	}
	rate := float64(p.Done) / elapsed.Seconds()
	left := time.Duration(float64(p.Total-p.Done) / rate * float64(time.Second))
	return fmt.Sprintf("%s, %.1f per second, about %s left", text, rate, left.Round(time.Second))
}

const barWidth = 30

func bar(p reconcile.Progress) string {
	if p.Total == 0 {
		return "[" + strings.Repeat(".", barWidth) + "]"
	}
	full := min(barWidth, barWidth*p.Done/p.Total)
	return fmt.Sprintf("[%s%s] %3d %%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*p.Done/p.Total)
}

// withProgress calls do, and shows how far the domain's work comes meanwhile;
// not where the output is for a program.
func withProgress(c *cli.Context, io streams, b admin.Backend, do func() error) error {
	if c.String("output") == "json" {
		return do()
	}
	ctx, cancel := context.WithCancel(c.Context)
	var watching sync.WaitGroup
	watching.Go(func() { watchProgress(ctx, b, c.String("domain"), &meter{out: io.err, terminal: isTerminal(io.err)}) })
	err := do()
	cancel()
	watching.Wait()
	return err
}

func watchProgress(ctx context.Context, b admin.Backend, domain string, m *meter) {
	defer m.end()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		all, err := b.Replication(ctx, domain)
		if err != nil || len(all) != 1 {
			continue // what is waited for tells what is wrong
		}
		m.show(all[0].Status, time.Now())
	}
}
