package delegate

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what the Validator answers. No name is ever a label.
type Metrics struct {
	validations *prometheus.CounterVec
	seconds     prometheus.Histogram
	changes     *prometheus.CounterVec
}

// NewMetrics registers the metrics of a Validator.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		validations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dirgate_delegate_validations_total",
			Help: "Validations by who decided, verdict and reason."}, []string{"authority", "verdict", "reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "dirgate_delegate_validation_seconds",
			Help: "Time a validation took.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dirgate_delegate_changes_total",
			Help: "Changes of password by outcome and reason."}, []string{"outcome", "reason"}),
	}
	r.MustRegister(m.validations, m.seconds, m.changes)
	return m
}

func (m *Metrics) validated(v Verdict, took time.Duration) {
	m.validations.WithLabelValues(string(v.Authority), string(v.Verdict), string(v.Reason)).Inc()
	m.seconds.Observe(took.Seconds())
}
