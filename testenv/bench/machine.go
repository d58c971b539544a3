package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// machine is where and with what the figures were made.
type machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	Slapd   string `json:"slapd"`
	HAProxy string `json:"haproxy,omitempty"`
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores (%s), Linux %s, %s, %s, %s", m.Cores, m.CPU, m.Kernel, m.Go, m.Slapd, m.HAProxy)
}

func thisMachine() machine {
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return machine{
		CPU: cpuModel(cpuinfo), Cores: runtime.NumCPU(), Kernel: string(bytes.TrimSpace(kernel)), Go: runtime.Version(),
		Slapd: version("slapd", "-VV"), HAProxy: version("haproxy", "-v"),
	}
}

// cpuModel is the first "model name" of /proc/cpuinfo; not every architecture
// has one.
func cpuModel(cpuinfo []byte) string {
	for line := range strings.Lines(string(cpuinfo)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}

// version is the first line of what a program says of itself.
func version(program, flag string) string {
	path := find(program)
	if path == "" {
		return "no " + program
	}
	// slapd -VV says its version and exits with status 1.
	out, _ := exec.Command(path, flag).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimPrefix(string(out), "@(#) $"), "\n")
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "$"))
}

// calibrate times a fixed piece of work, in microseconds.
func calibrate() float64 {
	data := make([]byte, 1<<20)
	start := time.Now()
	sha256.Sum256(data)
	return micros(time.Since(start))
}

// A relay needs two descriptors for each session, and some of its own.
const (
	ownDescriptors  = 200
	wantDescriptors = 2*10_000 + ownDescriptors
)

// raiseDescriptors lets this process, and those it starts, open more files. It
// returns how many sessions a relay can hold with that.
func raiseDescriptors() (sessions int, err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	want := syscall.Rlimit{Cur: wantDescriptors, Max: max(limit.Max, wantDescriptors)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) != nil {
		// Not privileged to raise the hard limit: take what there is.
		want = syscall.Rlimit{Cur: min(limit.Max, wantDescriptors), Max: limit.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err != nil {
			return 0, fmt.Errorf("raise the limit of open files: %w", err)
		}
	}
	return sessionsWith(want.Cur), nil
}

func sessionsWith(files uint64) int { return int(max(files, ownDescriptors+2)-ownDescriptors) / 2 }
