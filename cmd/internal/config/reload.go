package config

import "slices"

// live are the keys that take effect without a restart.
var live = []string{
	"gateway.allow_plaintext_bind",
	"gateway.max_message",
	"gateway.idle_timeout",
	"gateway.max_connections",
	"gateway.max_connections_per_ip",
	"gateway.proxy_protocol.trusted",
	"delegate.refusals_per_client",
	"delegate.refusals_per_user",
	"jumpcloud.insights_url",
	"replicate.import_interval",
	"replicate.sync_interval",
	"replicate.change_notification",
	"replicate.full_every",
	"guards.removals.count",
	"guards.removals.percent",
	"guards.suspensions.count",
	"guards.suspensions.percent",
	"guards.groups.count",
	"guards.groups.percent",
	"guards.memberships.count",
	"guards.memberships.percent",
	"guards.ad_disables.count",
	"guards.ad_disables.percent",
	"guards.ad_memberships.count",
	"guards.ad_memberships.percent",
	"log.level",
}

// Changed lists the keys whose values differ: those that take effect without a
// restart, and those that need one.
func Changed(before, after *Config) (atOnce, restart []string) {
	for _, k := range keys {
		switch {
		case k.get(before) == k.get(after):
		case slices.Contains(live, k.name):
			atOnce = append(atOnce, k.name)
		default:
			restart = append(restart, k.name)
		}
	}
	return atOnce, restart
}
