package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/gateway"
)

// limitsOf is what the gateway takes over while it runs.
func limitsOf(cfg *config.Config) gateway.Limits {
	return gateway.Limits{
		MaxMessage: int(cfg.Gateway.MaxMessage), MaxConnections: cfg.Gateway.MaxConnections,
		MaxPerAddress: cfg.Gateway.MaxConnectionsPerIP, TrustedProxies: cfg.Gateway.ProxyTrusted.List(),
		IdleTimeout: time.Duration(cfg.Gateway.IdleTimeout), AllowPlaintextBind: cfg.Gateway.AllowPlaintextBind,
	}
}

// lookInterval is how often the configuration file is looked at.
const lookInterval = 5 * time.Second

// settings follows the configuration file of a running daemon. A file that
// cannot be used changes nothing.
type settings struct {
	d       *daemon
	cfg     *config.Config // in effect, apart from what needs a restart
	applied []byte         // the file that was taken over, or refused, last
	found   []byte         // at the last look
}

func newSettings(d *daemon) *settings {
	s := &settings{d: d, cfg: d.cfg}
	s.applied, _ = os.ReadFile(d.cfg.Path) // unreadable: the next look says so
	s.found = s.applied
	return s
}

// look takes a changed file over once it was the same twice: an editor may be
// writing it, and half a file is often a valid one.
func (s *settings) look() {
	text, err := os.ReadFile(s.d.cfg.Path)
	if err != nil {
		return // on SIGHUP somebody waits for an answer; here nobody does
	}
	stable := bytes.Equal(text, s.found)
	s.found = text
	if stable && !bytes.Equal(text, s.applied) {
		s.reload()
	}
}

// reload takes the file over as it is now.
func (s *settings) reload() {
	text, err := os.ReadFile(s.d.cfg.Path)
	if err == nil {
		s.applied, s.found = text, text
		err = s.apply(text)
	}
	if err != nil {
		s.d.log.Error("configuration not reloaded, the one in effect stays", "err", err)
	}
}

func (s *settings) apply(text []byte) error {
	cfg, err := config.Parse(s.d.cfg.Path, text)
	if err != nil {
		return err
	}
	if s.d.gateway != nil {
		if err := s.d.gateway.SetLimits(s.d.limits(cfg)); err != nil {
			return err
		}
	}
	if s.d.delegate != nil {
		s.d.delegate.validator.SetThrottle(throttleOf(cfg))
	}
	if s.d.level != nil {
		level, err := logLevel(cfg, "")
		if err != nil {
			return err
		}
		s.d.level.Set(level)
	}
	changed, _ := config.Changed(s.cfg, cfg)
	s.d.domains.settings.Store(cfg)
	if s.d.supervisor != nil && concernsReplication(changed) {
		s.d.supervisor.Restart()
	}
	if len(changed) > 0 {
		s.d.log.Info("configuration reloaded", "changed", strings.Join(changed, " "))
	}
	if _, waiting := config.Changed(s.d.cfg, cfg); len(waiting) > 0 {
		s.d.log.Warn("configuration needs a restart to take effect", "keys", strings.Join(waiting, " "))
	}
	s.cfg = cfg
	return nil
}

// concernsReplication: reconcilers have to be made anew for one of the keys.
func concernsReplication(keys []string) bool {
	return slices.ContainsFunc(keys, func(key string) bool {
		return strings.HasPrefix(key, "replicate.") || strings.HasPrefix(key, "guards.") || key == "jumpcloud.insights_url"
	})
}
