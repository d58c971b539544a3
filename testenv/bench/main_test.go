package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the harness start this binary as a relay, as it does with the
// real one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		exitOn(child(os.Args[2:]))
		return
	}
	goleak.VerifyTestMain(m)
}

func TestRun(t *testing.T) {
	if find("slapd") == "" || find("slapadd") == "" {
		t.Skip("SKIPPED: slapd, the back end, is not installed (Debian: apt-get install slapd)")
	}
	profiles := t.TempDir()
	var stdout, stderr bytes.Buffer
	err := run(context.Background(), []string{"-entries", "50", "-seconds", "0.3", "-rounds", "1", "-format", "json",
		"-workloads", "depth8-16,bind-16,login,big-1", "-proxies", "direct,dirgate,copy", "-profile", profiles}, &stdout, &stderr)
	if err != nil {
		t.Fatalf("run: %v\n%s\n%s", err, &stdout, &stderr)
	}
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) != 12 || len(r.Tables) != 4 {
		t.Fatalf("%d samples and %d tables, want 12 and 4", len(r.Samples), len(r.Tables))
	}
	for _, s := range r.Samples {
		if s.Error != "" || s.CPUMicros <= 0 || s.Rate <= 0 || s.PeakKiB <= 0 {
			t.Errorf("sample %+v, want positive figures", s)
		}
	}
	for _, name := range []string{"bind-16.cpu.pprof", "login-16.allocs.pprof"} {
		if info, err := os.Stat(profiles + "/" + name); err != nil || info.Size() == 0 {
			t.Errorf("profile %s: %v, want one that is not empty", name, err)
		}
	}
}

func TestRunInterrupted(t *testing.T) {
	if find("slapd") == "" || find("slapadd") == "" {
		t.Skip("SKIPPED: slapd, the back end, is not installed (Debian: apt-get install slapd)")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// The first line of progress about a measurement ends the run.
	progress := writerFunc(func(b []byte) {
		if strings.HasPrefix(string(b), "round") {
			cancel()
		}
	})
	var stdout bytes.Buffer
	err := run(ctx, []string{"-entries", "1", "-seconds", "0.1", "-rounds", "100", "-workloads", "search-1", "-proxies", "direct"}, &stdout, progress)
	if err == nil || !strings.Contains(err.Error(), "interrupted") || stdout.Len() > 0 {
		t.Errorf("run: %v and %d bytes of result, want it interrupted and none", err, stdout.Len())
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

func TestParseOptions(t *testing.T) {
	tests := []struct {
		args []string
		want string // names of the workloads, or a part of the error
	}{
		{[]string{"-workloads", "search-1"}, "search-1"},
		{[]string{"-workloads", "search"}, "search-1 search-16 search-64"},
		{[]string{"-workloads", "login,idle"}, "login-16 idle-2000 idle-10000"},
		{[]string{"-workloads", "nothing"}, `-workloads: unknown "nothing"`},
		{[]string{"-workloads", ""}, `-workloads: unknown ""`},
		{[]string{"-proxies", "squid"}, `-proxies: unknown "squid"`},
		{[]string{"-rounds", "0"}, "at least 1"},
		{[]string{"-seconds", "0.01"}, "at least 0.1"},
		{[]string{"-format", "html"}, `-format "html"`},
		{[]string{"search-1"}, `unknown argument "search-1"`},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			o, err := parseOptions(tt.args, io.Discard)
			var got []string
			for _, w := range o.workloads {
				got = append(got, w.name)
			}
			if err != nil {
				got = []string{err.Error()}
			}
			if joined := strings.Join(got, " "); !strings.Contains(joined, tt.want) || err == nil && joined != tt.want {
				t.Errorf("got %q, want %q", joined, tt.want)
			}
		})
	}
}

func TestFit(t *testing.T) {
	var said bytes.Buffer
	got := fit([]workload{{name: "a", sessions: 10}, {name: "b", sessions: 11}}, 10, &said)
	if got[0].sessions != 10 || got[1].sessions != 10 {
		t.Errorf("got %d and %d sessions, want 10 of each", got[0].sessions, got[1].sessions)
	}
	if text := said.String(); !strings.Contains(text, "b has only 10") || strings.Contains(text, "a has") {
		t.Errorf("said %q, want a line about b alone", text)
	}
	if allWorkloads[len(allWorkloads)-1].sessions != 10_000 {
		t.Error("fit changed the list of workloads")
	}
	if got := sessionsWith(20_200); got != 10_000 {
		t.Errorf("sessionsWith(20200) = %d, want 10000", got)
	}
	if got := sessionsWith(64); got != 1 {
		t.Errorf("sessionsWith(64) = %d, want 1", got)
	}
}
