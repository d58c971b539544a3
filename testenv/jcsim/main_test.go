package jcsim_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/jcsim"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sim is a server with a client of its own.
type sim struct {
	*jcsim.Server
	t    *testing.T
	tls  *tls.Config
	http *http.Client
}

func start(t *testing.T, cfg jcsim.Config) *sim {
	t.Helper()
	s, err := jcsim.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CACert())
	conf := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	transport := &http.Transport{TLSClientConfig: conf.Clone()}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		begin := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		t.Logf("close took %v", time.Since(begin))
	})
	return &sim{Server: s, t: t, tls: conf, http: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// call makes a request with the right key and decodes the answer.
func (s *sim) call(method, path string, body any, out any) int {
	s.t.Helper()
	code, raw := s.raw(method, path, body, string(s.APIKey().Expose()))
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			s.t.Fatalf("%s %s -> %d %s: %v", method, path, code, raw, err)
		}
	}
	return code
}

func (s *sim) raw(method, path string, body any, key string) (int, []byte) {
	s.t.Helper()
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL()+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("x-api-key", key)
	req.Header.Set("x-org-id", s.OrgID())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, raw
}

// do gives the status of an answer, and the token in it.
func (s *sim) do(req *http.Request) (int, string) {
	s.t.Helper()
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, doc.Token
}

type object = map[string]any
