package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirgate/dirgate/testenv/samba"
	"github.com/go-ldap/ldap/v3"
)

// validations is how many TestValidateFigures makes.
var validations = flag.Int("validations", 0, "measure `N` validations over HTTPS and as many binds at the controller (0: do not)")

// callersAtOnce is how many there are when it is throughput that is measured.
const callersAtOnce = 16

// TestValidateFigures compares validations over HTTPS, by the built binary, with
// the binds at the controller that are in them: neither controller has fast bind,
// so each is made on a new TLS connection, as here by who binds directly.
func TestValidateFigures(t *testing.T) {
	if *validations == 0 {
		t.Skip("SKIPPED: a measurement; `make bench-delegate` runs it")
	}
	t.Run("embedded", func(t *testing.T) { validateFigures(t, newEmbeddedWorld(t)) })
	t.Run("samba", func(t *testing.T) { validateFigures(t, newWorld(t, samba.Prefork())) })
}

func validateFigures(t *testing.T, w *world) {
	w.logLevel = "info" // as in use
	w.serve("--roles", "gateway,delegate")
	validate := w.validator(w.token("validate"))
	direct := func(context.Context) func() error { return w.binder() }
	t.Logf("load average %s", load(t))
	var whole, bare []time.Duration
	one, other := validate(t.Context()), direct(t.Context())
	for n := range *validations + 10 {
		a, b := timed(t, one), timed(t, other)
		if n >= 10 { // the first ones make connections and learn the password
			whole, bare = append(whole, a), append(bare, b)
		}
	}
	for _, p := range []int{50, 90, 99} {
		a, b := percentile(whole, p), percentile(bare, p)
		t.Logf("one caller, %d pairs, p%d: validation %s, bind %s, added %s", len(whole), p, a, b, a-b)
	}
	for round := range 2 {
		for what, caller := range map[string]func(context.Context) func() error{"validations": validate, "binds": direct} {
			before := cpuOf(t, w.daemon.Process.Pid)
			took := atOnce(t, *validations, caller)
			spent := cpuOf(t, w.daemon.Process.Pid) - before
			t.Logf("round %d, %d callers, %d %s: %.0f/s, CPU time of the program %s each", round, callersAtOnce, *validations, what,
				float64(*validations)/took.Seconds(), (spent / time.Duration(*validations)).Round(time.Microsecond))
		}
	}
	t.Logf("load average %s", load(t))
}

// validator gives a caller of the API, with a connection of its own, that
// proves the password of alice.
func (w *world) validator(token string) func(ctx context.Context) func() error {
	pem, err := os.ReadFile(w.ca)
	if err != nil {
		w.t.Fatal(err)
	}
	trust, body := clientTLS(w.t, pem), []byte(object(w.installation, map[string]string{"username": "alice", "password": before}))
	return func(ctx context.Context) func() error {
		transport := &http.Transport{TLSClientConfig: trust}
		w.t.Cleanup(transport.CloseIdleConnections)
		client := http.Client{Transport: transport, Timeout: patience}
		return func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+w.delegate+"/v1/validate", bytes.NewReader(body))
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", "application/json")
			res, err := client.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			answer, err := io.ReadAll(res.Body)
			if err == nil && !bytes.Contains(answer, []byte(`"verdict":"accepted"`)) {
				err = fmt.Errorf("%s %s", res.Status, answer)
			}
			return err
		}
	}
}

// binder gives who binds as alice at the controller.
func (w *world) binder() func() error {
	pem, err := os.ReadFile(w.caFile)
	if err != nil {
		w.t.Fatal(err)
	}
	trust := clientTLS(w.t, pem)
	trust.ServerName, _, _ = strings.Cut(strings.TrimPrefix(w.url, "ldaps://"), ":")
	return func() error {
		c, err := ldap.DialURL(w.url, ldap.DialWithTLSConfig(trust))
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Bind(w.dn, before)
	}
}

func timed(t *testing.T, do func() error) time.Duration {
	t.Helper()
	begun := time.Now()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	return time.Since(begun)
}

// atOnce shares n calls out among the callers.
func atOnce(t *testing.T, n int, caller func(context.Context) func() error) time.Duration {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := []func() error{}
	for range callersAtOnce {
		calls = append(calls, caller(ctx))
	}
	turns := make(chan struct{}, n)
	for range n {
		turns <- struct{}{}
	}
	close(turns)
	begun := time.Now()
	var all sync.WaitGroup
	for _, call := range calls {
		all.Go(func() {
			for range turns {
				if err := call(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return time.Since(begun)
}

// percentile sorts.
func percentile(times []time.Duration, p int) time.Duration {
	slices.Sort(times)
	return times[min(len(times)-1, len(times)*p/100)].Round(10 * time.Microsecond)
}

// cpuOf is the CPU time that a process has used.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11]) // utime and stime, in ticks of 10 ms (proc_pid_stat(5))
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func load(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text))[:2], " ")
}
