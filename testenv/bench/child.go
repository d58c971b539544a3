package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/prometheus/client_golang/prometheus"
)

// childCommand as the first argument makes this program one of the relays, so
// that a relay has a process of its own to measure.
const childCommand = "relay"

// relay is a server on a listener until it is closed.
type relay interface {
	Serve(net.Listener) error
	Close() error
}

// child runs one relay until SIGTERM.
func child(args []string) error {
	flags := flag.NewFlagSet(childCommand, flag.ContinueOnError)
	mode := flags.String("mode", "", "dirgate or copy")
	listen := flags.String("listen", "", "address to serve")
	to := flags.String("to", "", "port of the back end on 127.0.0.1")
	sessions := flags.Int("sessions", 0, "most sessions at a time")
	ca := flags.String("ca", "", "the back end's CA certificate")
	cert := flags.String("cert", "", "the listener's certificate")
	key := flags.String("key", "", "its key")
	profile := flags.String("profile", "", "prefix of the profiles to write; SIGUSR1 begins the CPU profile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	reloader, err := certs.Server(*cert, *key, certs.Options{})
	if err != nil {
		return err
	}
	upstream, err := certs.ClientFile(*ca, "")
	if err != nil {
		return err
	}
	controllers, err := dc.New(dc.Config{URLs: []string{"ldaps://127.0.0.1:" + *to}, TLS: upstream})
	if err != nil {
		return err
	}
	var server relay
	switch *mode {
	case dirgateName:
		server, err = newGateway(reloader.Config(), controllers, *sessions)
	case "copy":
		server = newCopier(reloader.Config(), controllers)
	default:
		err = errors.New("-mode: want dirgate or copy")
	}
	if err != nil {
		return err
	}
	return serve(server, *listen, *profile)
}

// serve runs the relay and its profiles until SIGTERM.
func serve(server relay, listen, profile string) (err error) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	defer signal.Stop(signals)
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	for {
		select {
		case err := <-served:
			return err
		case s := <-signals:
			if s == syscall.SIGTERM {
				return errors.Join(server.Close(), ignore(<-served, gateway.ErrServerClosed, net.ErrClosed))
			}
			stop, perr := startProfiles(profile)
			if perr != nil {
				return perr
			}
			defer func() { err = errors.Join(err, stop()) }()
		}
	}
}

func ignore(err error, expected ...error) error {
	for _, e := range expected {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

// startProfiles begins a CPU profile, which stop writes together with one of
// all allocations.
func startProfiles(prefix string) (stop func() error, err error) {
	cpu, err := os.Create(prefix + ".cpu.pprof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(prefix + ".allocs.pprof")
		if err != nil {
			return errors.Join(err, cpu.Close())
		}
		return errors.Join(cpu.Close(), pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
	}, nil
}

// newGateway wires the gateway as cmd/dirgate does.
func newGateway(config *tls.Config, controllers *dc.Set, sessions int) (*gateway.Server, error) {
	domains := []*gateway.Domain{{Name: "bench.example", DCs: controllers}}
	return gateway.New(gateway.Config{
		TLS: config, Domains: func() []*gateway.Domain { return domains }, Capture: noCapture{},
		LockoutGuard: true, Reconnect: true,
		Metrics: gateway.NewMetrics(prometheus.NewRegistry()),
		Log:     slog.New(slog.NewTextHandler(os.Stderr, nil)).With("in", "gateway"), MaxConnections: sessions, MaxPerAddress: sessions,
	})
}

// noCapture refuses: no workload changes a password.
type noCapture struct{}

var errNoCapture = errors.New("passwords are not captured in a benchmark")

func (noCapture) AppendIntent(context.Context, identity.Change, secret.Bytes) (identity.Seq, error) {
	return 0, errNoCapture
}

func (noCapture) SettleAccount(context.Context, identity.Seq, identity.Account, string) error {
	return nil
}

func (noCapture) Settle(context.Context, identity.Seq, identity.Outcome, string) error {
	return errNoCapture
}

// copier relays bytes between two TLS connections and understands nothing.
type copier struct {
	tls         *tls.Config
	controllers *dc.Set
	ctx         context.Context // ends with Close
	cancel      context.CancelFunc
	sessions    sync.WaitGroup
}

func newCopier(config *tls.Config, controllers *dc.Set) *copier {
	c := &copier{tls: config, controllers: controllers}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *copier) Serve(l net.Listener) error {
	defer context.AfterFunc(c.ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		c.sessions.Go(func() { c.session(conn) })
	}
}

func (c *copier) Close() error {
	c.cancel()
	c.sessions.Wait()
	return nil
}

// session relays until either side ends; the client's request of unbind is
// relayed like everything else.
func (c *copier) session(conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	client := tls.Server(conn, c.tls)
	if client.HandshakeContext(ctx) != nil {
		return
	}
	upstream, _, err := c.controllers.Dial(ctx)
	if err != nil {
		return
	}
	closeBoth := func() { _, _ = conn.Close(), upstream.Close() }
	defer context.AfterFunc(c.ctx, closeBoth)()
	var answers sync.WaitGroup
	answers.Go(func() {
		defer closeBoth()
		_, _ = io.Copy(client, upstream)
	})
	_, _ = io.Copy(upstream, client)
	closeBoth()
	answers.Wait()
}
