package replicate

import (
	"sync"
	"time"

	"github.com/dirgate/dirgate/store"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	descLinked = prometheus.NewDesc("dirgate_passwords_linked", "Users that are linked on both sides.", []string{"domain"}, nil)
	descInSync = prometheus.NewDesc("dirgate_passwords_in_sync", "Linked users whose password in Active Directory, as it was last seen, is the one that both sides were last known to have.", []string{"domain"}, nil)
)

// countEvery is how old the counts of passwords may be: each looks at all
// links.
const countEvery = time.Minute

// syncCollector counts passwords that are the same on both sides.
type syncCollector struct {
	store *store.Store
	now   func() time.Time

	mu      sync.Mutex
	at      time.Time           // guarded by mu
	metrics []prometheus.Metric // guarded by mu
}

func (c *syncCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descLinked
	ch <- descInSync
}

func (c *syncCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.at.IsZero() || now.Sub(c.at) >= countEvery || now.Before(c.at) {
		c.metrics, c.at = c.count(), now
	}
	for _, m := range c.metrics {
		ch <- m
	}
}

func (c *syncCollector) count() (all []prometheus.Metric) {
	domains, err := c.store.Domains()
	if err != nil {
		return []prometheus.Metric{prometheus.NewInvalidMetric(descLinked, err)}
	}
	for _, d := range domains {
		linked, same, err := c.store.PasswordsInSync(d.Name)
		if err != nil {
			return append(all, prometheus.NewInvalidMetric(descLinked, err))
		}
		all = append(all, prometheus.MustNewConstMetric(descLinked, prometheus.GaugeValue, float64(linked), d.Name),
			prometheus.MustNewConstMetric(descInSync, prometheus.GaugeValue, float64(same), d.Name))
	}
	return all
}
