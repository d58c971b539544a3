package contract_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/dirgate/dirgate/testenv/jcsim/contract"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var open = sync.OnceValues(func() (*contract.Checker, error) { return contract.Open(dir) })

var dir string // set before open is called

func checker(t *testing.T) *contract.Checker {
	t.Helper()
	dir = contract.Dir(t, "../../..")
	c, err := open()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type object = map[string]any

// sim is a simulator and the transport that trusts it.
type sim struct {
	*jcsim.Server
	transport *http.Transport
}

func start(t *testing.T, cfg jcsim.Config) *sim {
	t.Helper()
	s, err := jcsim.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CACert())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &sim{s, transport}
}

// checked is a client whose traffic is held to the documents.
func (s *sim) checked(t *testing.T) *http.Client {
	t.Helper()
	return checker(t).Client(t, &http.Client{Transport: s.transport})
}

func (s *sim) call(t *testing.T, client *http.Client, key secret.Bytes, method, path string, body, out any) int {
	t.Helper()
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-api-key", string(key.Expose()))
	req.Header.Set("x-org-id", s.OrgID())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			t.Fatalf("%s %s -> %d %s: %v", method, path, resp.StatusCode, raw, err)
		}
	}
	return resp.StatusCode
}
