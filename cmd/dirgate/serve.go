package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/urfave/cli/v2"
)

func serveCommand(io streams) *cli.Command {
	return command(&cli.Command{
		Name:  "serve",
		Usage: "run the daemon",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "roles", Value: strings.Join(allRoles, ","), Usage: "what to run, separated by commas"},
		},
		Action: func(c *cli.Context) error {
			roles, err := parseRoles(c.String("roles"))
			if err != nil {
				return err
			}
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			level, err := logLevel(cfg, c.String("log-level"))
			if err != nil {
				return err
			}
			levels := new(slog.LevelVar)
			levels.Set(level)
			log := newLogAt(io.err, cfg, levels)
			if err := harden(); err != nil {
				log.Warn("process not hardened", "err", err)
			}
			d, err := newDaemon(c.Context, cfg, roles, log)
			if c.Context.Err() != nil && errors.Is(err, context.Canceled) {
				return nil // stopped while it waited
			}
			if err != nil {
				return err
			}
			if c.String("log-level") == "" { // else the flag says it for good
				d.level = levels
			}
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			return d.run(c.Context, reload)
		},
	}, 0)
}

// metricsHandler serves /metrics, /healthz (the process works) and /readyz
// (clients can be served; 503 says why not).
func metricsHandler(registry *prometheus.Registry, ready func(context.Context) error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { respond(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := ready(r.Context()); err != nil {
			code := http.StatusServiceUnavailable
			if _, serving := errors.AsType[*degraded](err); serving {
				code = http.StatusOK
			}
			respond(w, code, oneLine(err))
			return
		}
		respond(w, http.StatusOK, "ok")
	})
	return mux
}

func respond(w http.ResponseWriter, code int, status string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": status})
}

// listenPrivately makes a unix socket with mode 0600 from its first moment.
func listenPrivately(path string) (net.Listener, error) {
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	return listen("admin.socket", "unix", path)
}
