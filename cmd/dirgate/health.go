package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/prometheus/client_golang/prometheus"
)

// Run watches the controllers of every registered domain until ctx ends, so
// that it is known without clients whether these could be served.
func (d *domains) Run(ctx context.Context) error {
	d.mu.Lock()
	d.watching = ctx
	for _, c := range d.connected {
		d.watch(c)
	}
	d.mu.Unlock()
	defer d.watchers.Wait()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.watching = nil
	}()
	for {
		_, err := d.serving() // connects, if that was not done already
		d.complain(err)
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		}
	}
}

// watch starts a connection's watcher, when Run runs. d.mu is held.
func (d *domains) watch(c *connection) {
	if d.watching == nil || c.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(d.watching)
	c.stop = stop
	d.watchers.Go(func() {
		if err := c.dcs.Run(ctx); err != nil {
			c.health.log.Error("watch domain controllers", "err", err)
		}
	})
}

// ready says why clients cannot be served now; nil: they can, in one domain at
// least. Of the others the metrics tell; to take the gateway out of service for
// one of them would be worse.
func (d *domains) ready(context.Context) error {
	all, err := d.serving()
	if len(all) == 0 {
		return err
	}
	var failures []error
	for _, c := range all {
		for _, s := range c.dcs.Healthy() {
			switch {
			case s.Up:
				return nil
			case s.Since.IsZero():
				failures = append(failures, fmt.Errorf("%s: no answer yet", s.Name))
			default:
				failures = append(failures, fmt.Errorf("%s: %w", s.Name, s.LastErr))
			}
		}
	}
	return fmt.Errorf("%w: %w", dc.ErrUnreachable, errors.Join(append(failures, err)...))
}

// health passes on what is seen of the controllers of one registration, until
// that is replaced: what is seen of the old one then no longer counts.
type health struct {
	log     *slog.Logger
	metrics peerMetrics
	set     *dc.Set

	mu    sync.Mutex
	known map[string]bool // whether a controller is up; guarded by mu
	ended bool            // guarded by mu
}

// seen is told when a controller enters or leaves rotation.
func (h *health) seen(controller string, up bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	before, known := h.known[controller]
	if h.known == nil {
		h.known = make(map[string]bool)
	}
	h.known[controller] = up
	h.metrics.dc(controller, up)
	switch {
	case !up && (before || !known):
		h.log.Warn("domain controller is out of rotation", "dc", controller, "err", h.reason(controller))
	case up && !before:
		h.log.Info("domain controller is in rotation", "dc", controller)
	}
}

// reason is why a controller is out of rotation.
func (h *health) reason(controller string) error {
	for _, s := range h.set.Healthy() {
		if s.Name == controller {
			return s.LastErr
		}
	}
	return nil
}

// answered is told how long a health read took.
func (h *health) answered(controller string, seconds float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.metrics.dcAnswered(controller, seconds)
	}
}

// forget is told that a controller is not one of the domain's any more.
func (h *health) forget(controller string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, controller)
	h.metrics.dcGone(controller)
}

// end forgets all of them.
func (h *health) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for controller := range h.known {
		h.metrics.dcGone(controller)
	}
	clear(h.known)
}

// peerMetrics count what happens with the peers; the zero value does not.
type peerMetrics struct {
	up       *prometheus.GaugeVec
	answers  *prometheus.HistogramVec
	requests *prometheus.CounterVec
}

func newPeerMetrics(registry *prometheus.Registry) peerMetrics {
	m := peerMetrics{
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dirgate_dc_up", Help: "Whether a domain controller is in rotation (1) or not (0)."}, []string{"dc"}),
		answers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dirgate_dc_request_seconds", Help: "How long domain controllers took to answer health reads.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}}, []string{"dc"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dirgate_jumpcloud_requests_total", Help: "Requests to JumpCloud's API, by method and status code (0: no answer)."}, []string{"method", "code"}),
	}
	registry.MustRegister(m.up, m.answers, m.requests)
	return m
}

func (m peerMetrics) dc(controller string, up bool) {
	if m.up == nil {
		return
	}
	v := 0.0
	if up {
		v = 1
	}
	m.up.WithLabelValues(controller).Set(v)
}

func (m peerMetrics) dcAnswered(controller string, seconds float64) {
	if m.answers != nil {
		m.answers.WithLabelValues(controller).Observe(seconds)
	}
}

func (m peerMetrics) dcGone(controller string) {
	if m.up != nil {
		m.up.DeleteLabelValues(controller)
		m.answers.DeleteLabelValues(controller)
	}
}

func (m peerMetrics) jumpcloud(method string, code int, _ time.Duration) {
	if m.requests != nil {
		m.requests.WithLabelValues(method, fmt.Sprint(code)).Inc()
	}
}
