package gateway

import (
	"sync/atomic"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the counters of DESIGN's contract that the gateway feeds.
// Labels come from closed sets: no name or DN is ever one.
type Metrics struct {
	connections        prometheus.Gauge
	refusedConnections prometheus.Counter
	sasl               *prometheus.CounterVec
	operations         *prometheus.CounterVec
	seconds            *prometheus.HistogramVec
	binds              *prometheus.CounterVec
	bindsAccepted      prometheus.Counter // of binds
	captures           *prometheus.CounterVec
	guarded            *prometheus.CounterVec
	moves              *prometheus.CounterVec

	// Looking a counter up by label costs more than relaying the message, so
	// each (op, result) pair is looked up once.
	cache [numOps][numResults]atomic.Pointer[prometheus.Counter]
	hist  [numOps]prometheus.Observer
}

const (
	numOps     = 32  // APPLICATION tag numbers of LDAP are below 32
	numResults = 128 // RFC 4511 result codes and Cancel's 118-121
)

// NewMetrics registers the gateway's metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dirgate_gateway_connections", Help: "Client sessions open now."}),
		refusedConnections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dirgate_gateway_connections_refused_total", Help: "Connections closed because of max_connections."}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dirgate_gateway_operations_total", Help: "Operations answered, by LDAP operation and result code name."},
			[]string{"op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dirgate_gateway_operation_seconds", Help: "Time from reading a request to its final answer, in seconds.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}},
			[]string{"op"}),
		binds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dirgate_bind_total", Help: "Binds, by verdict (accepted, refused, undecided) and reason."},
			[]string{"verdict", "reason"}),
		captures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dirgate_capture_total", Help: "Password changes seen, by kind and outcome (accepted, refused, unknown, not_recorded), and new passwords in accepted binds (kind bind: recorded, in_sync, pending, not_wanted, unproven, busy, failed)."},
			[]string{"kind", "outcome"}),
		guarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dirgate_gateway_guarded_binds_total", Help: "Binds that the lockout guard answered, by why (repeated, throttled, address_limited)."},
			[]string{"why"}),
	}
	m.moves = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dirgate_gateway_moves_total", Help: "Sessions that lost their domain controller's connection, by outcome (moved, failed: no controller took it for now, ended)."},
		[]string{"outcome"})
	reg.MustRegister(m.connections, m.refusedConnections, m.operations, m.seconds, m.binds, m.captures, m.guarded, m.moves)
	m.sasl = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dirgate_gateway_sasl_total", Help: "With sasl: relay: binds by the domain controller's verdict (accepted, refused, undecided), sessions whose security layer hides everything from then on (spliced), and password writes refused in such sessions (write_refused)."},
		[]string{"event"})
	reg.MustRegister(m.sasl)
	m.bindsAccepted = m.binds.WithLabelValues(Reason(ldapwire.ResultSuccess, nil))
	for i := range m.hist {
		if op := ldapwire.Op(0x60 | i); op.IsRequest() {
			m.hist[i] = m.seconds.WithLabelValues(op.String())
		}
	}
	// Delete, unbind and abandon have primitive tags; only delete is answered.
	m.hist[opIndex(ldapwire.OpDelRequest)] = m.seconds.WithLabelValues(ldapwire.OpDelRequest.String())
	return m
}

func opIndex(op ldapwire.Op) int { return int(op) & (numOps - 1) }

// observe counts one answered operation.
func (m *Metrics) observe(op ldapwire.Op, code ldapwire.ResultCode, took time.Duration) {
	i := opIndex(op)
	if h := m.hist[i]; h != nil {
		h.Observe(took.Seconds())
	}
	if code < 0 || code >= numResults {
		m.operations.WithLabelValues(op.String(), "other").Inc() // a hostile DC must not invent labels
		return
	}
	slot := &m.cache[i][code]
	c := slot.Load()
	if c == nil {
		found := m.operations.WithLabelValues(op.String(), code.String())
		c = &found
		slot.Store(c)
	}
	(*c).Inc()
}

// bindVerdict counts one bind. Reasons are those of the delegate API.
func (m *Metrics) bindVerdict(code ldapwire.ResultCode, diagnostic []byte) {
	if code == ldapwire.ResultSuccess {
		m.bindsAccepted.Inc()
		return
	}
	verdict, reason := Reason(code, diagnostic)
	m.binds.WithLabelValues(verdict, reason).Inc()
}
