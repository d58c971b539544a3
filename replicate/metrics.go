package replicate

import (
	"log/slog"
	"time"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the engine does. The state of the change log is read
// from the store when it is scraped.
type Metrics struct {
	actions *prometheus.CounterVec
	lag     *prometheus.HistogramVec
}

// NewMetrics registers the engine's metrics, and those of the change log in
// st, with reg.
func NewMetrics(reg prometheus.Registerer, st *store.Store, now func() time.Time) *Metrics {
	m := &Metrics{
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dirgate_replicate_actions_total", Help: "Actions taken, by direction, action and outcome (done, deferred, unknown, refused)."},
			[]string{"direction", "action", "outcome"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dirgate_replicate_lag_seconds", Help: "Time from a change being recorded to its being applied, in seconds.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 300, 1800, 3600, 21600}},
			[]string{"direction"}),
	}
	reg.MustRegister(m.actions, m.lag, &logCollector{store: st, now: now}, &syncCollector{store: st, now: now})
	return m
}

// Action counts an action of the reconciler.
func (m *Metrics) Action(d identity.Direction, action, outcome string) {
	m.actions.WithLabelValues(string(d), action, outcome).Inc()
}

// Applied notes how long after it was recorded a change was applied.
func (m *Metrics) Applied(d identity.Direction, after time.Duration) {
	m.lag.WithLabelValues(string(d)).Observe(after.Seconds())
}

func (m *Metrics) action(d identity.Direction, verb plan.Verb, outcome string) {
	m.actions.WithLabelValues(string(d), string(verb), outcome).Inc()
}

var (
	descPending = prometheus.NewDesc("dirgate_changelog_pending", "Changes accepted and not yet applied.", []string{"direction"}, nil)
	descOldest  = prometheus.NewDesc("dirgate_changelog_oldest_pending_seconds", "Age of the oldest pending change, in seconds; 0 when there is none.", []string{"direction"}, nil)
	descDead    = prometheus.NewDesc("dirgate_deadletters", "Changes that the other side refused for good.", []string{"direction"}, nil)
	descHeld    = prometheus.NewDesc("dirgate_guard_held", "Changes that a safety threshold holds until a person decides.", []string{"direction"}, nil)
	descUnknown = prometheus.NewDesc("dirgate_changelog_unsettled", "Password changes whose outcome in the domain controller is not known (yet).", []string{"direction"}, nil)
)

// logCollector reads the change log's state when it is scraped.
type logCollector struct {
	store *store.Store
	now   func() time.Time
}

func (c *logCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPending, descOldest, descDead, descHeld, descUnknown} {
		ch <- d
	}
}

func (c *logCollector) Collect(ch chan<- prometheus.Metric) {
	stats, err := c.store.Stats()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descPending, err)
		return
	}
	for _, d := range []identity.Direction{identity.Import, identity.Sync} {
		gauge := func(desc *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, string(d))
		}
		gauge(descPending, float64(stats.Pending[d]))
		gauge(descDead, float64(stats.Dead[d]))
		gauge(descHeld, float64(stats.Held[d]))
		gauge(descUnknown, float64(stats.Unsettled[d]))
		age := 0.0
		if oldest := stats.OldestPending[d]; !oldest.IsZero() {
			age = max(0, c.now().Sub(oldest).Seconds())
		}
		gauge(descOldest, age)
	}
}

// limiter logs a recurring failure once, then once a minute, then the
// recovery.
type limiter struct {
	failing bool
	spoke   time.Time
}

func (l *limiter) failed(log *slog.Logger, what string, err error) {
	if l.failing && time.Since(l.spoke) < time.Minute {
		return
	}
	l.failing, l.spoke = true, time.Now()
	log.Error(what+" failed", "err", err)
}

func (l *limiter) recovered(log *slog.Logger, what string) {
	if l.failing {
		l.failing = false
		log.Info(what + " works again")
	}
}
