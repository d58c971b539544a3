package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// sample is what one cell gave: one program under one workload in one round.
type sample struct {
	Workload string `json:"workload"`
	Program  string `json:"program"`
	Round    int    `json:"round"`
	Error    string `json:"error,omitempty"` // then the rest is zero

	CPUMicros float64 `json:"cpu_us,omitempty"`          // of the program's process, per unit
	Rate      float64 `json:"per_second,omitempty"`      // units
	P50Micros float64 `json:"p50_us,omitempty"`          // of operations
	P99Micros float64 `json:"p99_us,omitempty"`          //
	PeakKiB   int64   `json:"peak_rss_kib,omitempty"`    // of the program's process
	IdleKiB   float64 `json:"idle_rss_kib,omitempty"`    // RSS per idle session
	Sessions  int     `json:"idle_sessions,omitempty"`   // idle sessions that were held
	Ops       int     `json:"ops_in_window,omitempty"`   // operations that ended in the window
	Entries   int     `json:"entries_counted,omitempty"` // search entries in the window
}

// tally is what one worker counted while the window was open.
type tally struct {
	open    *atomic.Bool
	ops     int
	entries int
	took    []time.Duration
}

func (t *tally) op(took time.Duration) {
	if t.open.Load() {
		t.ops++
		t.took = append(t.took, took)
	}
}

func (t *tally) entry() {
	if t.open.Load() {
		t.entries++
	}
}

const (
	warmUp       = 300 * time.Millisecond
	setUpTimeout = 60 * time.Second
)

// measure runs a workload other than idle for the length of window.
func measure(ctx context.Context, w workload, r *rig, p *running, window time.Duration, profile bool) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var open atomic.Bool
	tallies := make([]tally, w.sessions)
	workers, working := errgroup.WithContext(ctx)
	var ready sync.WaitGroup
	ready.Add(w.sessions)
	for n := range tallies {
		tallies[n].open = &open
		workers.Go(func() error {
			isReady := sync.OnceFunc(ready.Done)
			defer isReady() // one that failed holds up nobody
			return w.work(working, r, p.server, n, &tallies[n], isReady)
		})
	}
	s := sample{}
	err := whileOpen(working, &ready, &open, p, window, profile, &s)
	cancel()
	// What ended first is the reason; an error after cancel is its effect.
	if werr := workers.Wait(); err != nil {
		return sample{}, errors.Join(err, ignore(werr, context.Canceled), p.died())
	}
	s.count(w, tallies)
	if s.Ops+s.Entries == 0 {
		return sample{}, errors.New("nothing was answered in the window: use more -seconds")
	}
	return s, nil
}

// whileOpen waits for all workers, warms up, and measures the process from
// opening to closing the window. CPUMicros is the whole until count.
func whileOpen(ctx context.Context, ready *sync.WaitGroup, open *atomic.Bool, p *running, window time.Duration, profile bool, s *sample) error {
	allReady := make(chan struct{})
	go func() {
		ready.Wait()
		close(allReady)
	}()
	select {
	case <-allReady:
	case <-ctx.Done():
		return errors.New("a session could not be set up or broke")
	case <-time.After(setUpTimeout):
		return fmt.Errorf("not all sessions could be set up in %v", setUpTimeout)
	}
	if !sleep(ctx, warmUp) {
		return errors.New("a session broke while warming up")
	}
	if profile {
		if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			return fmt.Errorf("begin the profile: %w", err)
		}
	}
	before, err := cpuTime(p.pid())
	if err != nil {
		return err
	}
	start := time.Now()
	open.Store(true)
	whole := sleep(ctx, window)
	open.Store(false)
	took := time.Since(start)
	after, err := cpuTime(p.pid())
	if err != nil {
		return err
	}
	if !whole {
		return errors.New("a session broke")
	}
	mem, err := memoryOf(p.pid())
	s.CPUMicros, s.PeakKiB, s.Rate = micros(after-before), mem.peak, 1/took.Seconds()
	return err
}

// count turns the totals of the window into figures per unit.
func (s *sample) count(w workload, tallies []tally) {
	var took []time.Duration
	for _, t := range tallies {
		s.Ops += t.ops
		s.Entries += t.entries
		took = append(took, t.took...)
	}
	slices.Sort(took)
	s.P50Micros, s.P99Micros = micros(percentile(took, 50)), micros(percentile(took, 99))
	units := s.Ops
	if w.perEntry {
		units = s.Entries
	}
	if units > 0 {
		s.CPUMicros /= float64(units)
		s.Rate *= float64(units)
	}
}

// setUpAtOnce is how many idle sessions are being set up at a time.
const setUpAtOnce = 16

// settleTime is how long idle sessions are left alone before the memory is
// read, so that programs can give back what opening them took.
const settleTime = 35 * time.Second

// measureIdle opens many bound sessions, lets them be, and compares the
// process's memory with that before. Afterwards every session must still work.
func measureIdle(ctx context.Context, w workload, r *rig, p *running) (sample, error) {
	before, err := memoryOf(p.pid())
	if err != nil {
		return sample{}, err
	}
	clients := make([]*client, w.sessions)
	defer func() {
		for _, c := range clients {
			if c != nil {
				_ = c.conn.Close()
			}
		}
	}()
	err = each(ctx, clients, func(ctx context.Context, n int) (err error) {
		clients[n], err = login(ctx, p.server, n%r.people)
		return err
	})
	if err != nil {
		return sample{}, errors.Join(fmt.Errorf("set up %d sessions: %w", w.sessions, err), p.died())
	}
	if !sleep(ctx, settleTime) {
		return sample{}, ctx.Err()
	}
	after, err := memoryOf(p.pid())
	if err != nil {
		return sample{}, err
	}
	err = each(ctx, clients, func(ctx context.Context, n int) error {
		defer clients[n].endWith(ctx)()
		find, err := findUser(n % r.people)
		if err != nil {
			return err
		}
		return clients[n].do(find)
	})
	if err != nil {
		return sample{}, errors.Join(fmt.Errorf("use an idle session: %w", err), p.died())
	}
	return sample{
		Sessions: w.sessions, PeakKiB: after.peak,
		IdleKiB: float64(after.now-before.now) / float64(w.sessions),
	}, nil
}

// each runs f for every client, a few at a time.
func each(ctx context.Context, clients []*client, f func(context.Context, int) error) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(setUpAtOnce)
	for n := range clients {
		if working.Err() != nil {
			break
		}
		group.Go(func() error { return f(working, n) })
	}
	return errors.Join(group.Wait(), ctx.Err())
}
