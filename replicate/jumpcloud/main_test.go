package jumpcloud

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a simulator and a client of it, whose log is kept.
type bench struct {
	sim    *jcsim.Server
	client *Client
	config Config
	log    *logBuffer
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchOf(t, jcsim.Config{})
}

func newBenchOf(t testing.TB, cfg jcsim.Config) *bench {
	t.Helper()
	sim, err := jcsim.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(sim.CACert())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{sim: sim, log: &logBuffer{}}
	b.config = Config{URL: sim.URL(), OrgID: sim.OrgID(), APIKey: sim.APIKey(), HTTP: &http.Client{Transport: transport},
		RequestsPerSecond: 1000, Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	b.client = b.make(t, b.config)
	return b
}

func (b *bench) make(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.retries.first = time.Millisecond
	return c
}

func (b *bench) user(t *testing.T, u jcsim.User) string {
	t.Helper()
	id, err := b.sim.AddUser(u)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func text(s string) secret.Bytes { return secret.New([]byte(s)) }
