package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func TestSpread(t *testing.T) {
	tests := []struct {
		samples []float64
		want    spread
	}{
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{4, 1}, spread{2.5, 1, 4}},
		{[]float64{9, 1, 5}, spread{5, 1, 9}},
		{[]float64{9, 1, 5, 6}, spread{5.5, 1, 9}},
	}
	for _, tt := range tests {
		given := slices.Clone(tt.samples)
		if got, ok := spreadOf(tt.samples); !ok || got != tt.want {
			t.Errorf("spreadOf(%v) = %v, %v, want %v", tt.samples, got, ok, tt.want)
		}
		if !slices.Equal(given, tt.samples) {
			t.Errorf("spreadOf changed its argument to %v", tt.samples)
		}
	}
	if _, ok := spreadOf(nil); ok {
		t.Error("spreadOf(nil) is ok, want not")
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	tests := []struct {
		sorted []int
		p      int
		want   int
	}{
		{nil, 50, 0}, {[]int{7}, 50, 7}, {[]int{7}, 99, 7}, {[]int{1, 2}, 50, 1}, {[]int{1, 2}, 99, 2}, {[]int{1, 2, 3}, 50, 2},
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred, 0, 1},
	}
	for _, tt := range tests {
		if got := percentile(tt.sorted, tt.p); got != tt.want {
			t.Errorf("percentile of %d samples, %d = %d, want %d", len(tt.sorted), tt.p, got, tt.want)
		}
	}
}

func TestPaired(t *testing.T) {
	got := paired(map[int]float64{0: 10, 1: 30, 2: 5}, map[int]float64{0: 20, 1: 10, 3: 1, 2: 0})
	if want := []float64{0.5, 3}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseStat(t *testing.T) {
	rest := " S 1 2 3 0 -1 4194304 100 0 0 0 250 125 99 99 20 0 8 0 12345 1000000 500"
	for _, name := range []string{"(slapd)", "(a b)", "(a) S 1)", "()"} {
		if got, err := parseStat([]byte("4711 " + name + rest)); err != nil || got != 3750*time.Millisecond {
			t.Errorf("%s: got %v, %v, want 3.75s", name, got, err)
		}
	}
	for _, bad := range []string{"", "4711 slapd S 1", "4711 (slapd) S 1 2 3", "4711 (x) S 1 2 3 0 -1 4194304 100 0 0 0 x 125 99"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	text := "Name:\tslapd\nVmPeak:\t  9 kB\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\nRssAnon:\t 1 kB\n"
	if got, err := parseStatus([]byte(text)); err != nil || got != (memory{now: 1024, peak: 2048}) {
		t.Errorf("got %+v, %v, want 1024 now and 2048 at its peak", got, err)
	}
	for _, bad := range []string{"", strings.Replace(text, "VmRSS", "VmRSX", 1), strings.Replace(text, "2048 kB", "2048 MB", 1),
		strings.Replace(text, "1024", "many", 1)} {
		if got, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestOwnProcess(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// The kernel counts in steps of 10 ms, so this takes a few calibrations.
	for deadline := time.Now().Add(20 * time.Second); ; {
		calibrate()
		now, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("CPU time still %v after 20 s of work", now)
		}
	}
	if m, err := memoryOf(os.Getpid()); err != nil || m.now <= 0 || m.peak < m.now/2 {
		t.Errorf("memory %+v, %v, want some", m, err)
	}
}

func TestRequest(t *testing.T) {
	short, err := bindAs(7)
	if err != nil {
		t.Fatal(err)
	}
	long, err := findAll(10)
	if err != nil {
		t.Fatal(err)
	}
	if long.frame[1]&0x80 == 0 || short.frame[1]&0x80 != 0 {
		t.Fatal("want one request with a length in long form and one in short form")
	}
	for _, r := range []request{short, long} {
		before := bytes.Clone(r.frame)
		const id = 0x1234_5678
		out := r.appendTo([]byte("before"), id)
		if !bytes.Equal(r.frame, before) {
			t.Error("appendTo changed the request itself")
		}
		got, err := ldapwire.ParseMessage(out[len("before"):])
		if err != nil || got.ID != id || got.Op.Response() != r.final {
			t.Errorf("got %v, %v, want the request with message ID %d", got, err, id)
		}
		want, _ := ldapwire.ParseMessage(r.frame)
		if !bytes.Equal(got.Body, want.Body) {
			t.Error("the patched request has another body")
		}
	}
	if _, err := newRequest(ldapwire.AppendUnbindRequest(nil, 1), 0); err == nil {
		t.Error("a message ID of one byte was taken, want an error")
	}
}

func TestEquals(t *testing.T) {
	req, err := findUser(42)
	if err != nil {
		t.Fatal(err)
	}
	msg, _ := ldapwire.ParseMessage(req.frame)
	s, err := ldapwire.ParseSearchRequest(msg.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte("\xa3\x10\x04\x03uid\x04\x09user00042"); !bytes.Equal(s.Filter, want) {
		t.Errorf("filter % x, want % x", s.Filter, want)
	}
}

func TestSlotID(t *testing.T) {
	for _, depth := range []int{1, 3, 8} {
		for k := range depth {
			if id := slotID(k, depth); id < firstID || int(id)%depth != k {
				t.Errorf("slotID(%d, %d) = %d, want one of its slot from %d", k, depth, id, firstID)
			}
		}
	}
}

func TestSummarize(t *testing.T) {
	w := workload{name: "w", what: "work", sessions: 2, target: 1.1}
	idle := workload{name: "i", what: "rest", sessions: 9, idle: true, target: 44}
	programs := []program{{name: haproxyName}, {name: dirgateName}}
	sampleOf := func(p string, round int, cpu float64) sample {
		return sample{Workload: "w", Program: p, Round: round, CPUMicros: cpu, Rate: 1000, Ops: 5, P50Micros: 10, P99Micros: 90, PeakKiB: 2048}
	}
	samples := []sample{
		sampleOf(haproxyName, 0, 10), sampleOf(dirgateName, 0, 20), sampleOf(dirgateName, 1, 12), sampleOf(haproxyName, 1, 12),
		sampleOf(haproxyName, 2, 40), {Workload: "w", Program: dirgateName, Round: 2, Error: "broke"},
		{Workload: "i", Program: dirgateName, IdleKiB: 43.5, PeakKiB: 1024},
	}
	tables := summarize([]workload{w, idle}, programs, samples)
	got := tables[0].Rows[1]
	if *got.Main != (spread{16, 12, 20}) || *got.ToHAProxy != (spread{1.5, 1, 2}) || got.ToBackLDAP != nil || got.Failed != 1 || got.PeakMiB != 2 {
		t.Errorf("dirgate's row is %+v, %v, %v", got, got.Main, got.ToHAProxy)
	}
	if got, want := tables[0].verdict(), " (target 1.10 x haproxy: MISSED, 1.50)"; got != want {
		t.Errorf("verdict %q, want %q", got, want)
	}
	if got, want := tables[1].verdict(), " (target 44 RSS KiB/session: reached, 43.50)"; got != want {
		t.Errorf("verdict %q, want %q", got, want)
	}
	for format, parts := range map[string][]string{
		"text":     {"w: work, 2 sessions", "dirgate (1 FAILED)", "16.0 (12.0-20.0)", "NO COLUMN for squid", "FAILED: w, dirgate, round 2: broke"},
		"markdown": {"**w: work", "| dirgate (1 FAILED) | 16.0 (12.0-20.0) | 1.50 (1.00-2.00) | - | 1000 | 10 | 90 | 2 |", "|---|---|"},
		"json":     {`"error": "broke"`, `"median": 16`},
	} {
		var out bytes.Buffer
		r := report{Rounds: 3, Missing: []string{"squid"}, Tables: tables, Samples: samples}
		if err := r.write(&out, format); err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s lacks %q:\n%s", format, part, &out)
			}
		}
	}
}

func TestMachine(t *testing.T) {
	if got := cpuModel([]byte("processor\t: 0\nmodel name\t: Fast CPU\nmodel name\t: Other\n")); got != "Fast CPU" {
		t.Errorf("model %q, want the first", got)
	}
	if got := version("no-such-program", "-v"); got != "no no-such-program" {
		t.Errorf("version of nothing: %q", got)
	}
}

func TestLDIF(t *testing.T) {
	text := string(ldif(3))
	if got := strings.Count(text, "objectClass: inetOrgPerson\n"); got != 3 {
		t.Errorf("%d people, want 3", got)
	}
	for _, attr := range append([]string{"uid", "userPassword"}, attributes...) {
		if got := strings.Count(text, "\n"+attr+": "); got != 3 {
			t.Errorf("%d values of %s, want 3", got, attr)
		}
	}
	if got, want := ssha("secret", "salt"), "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0"; got != want {
		t.Errorf("ssha = %s, want %s", got, want)
	}
}
