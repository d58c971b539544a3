package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of times in /proc/PID/stat. Linux fixes USER_HZ at 100 for
// every architecture that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is the CPU time of a process with all its threads, to 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(stat)
}

// parseStat reads utime and stime, fields 14 and 15 of proc(5)'s stat. The
// second field, the program's name, may hold spaces and parentheses.
func parseStat(stat []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, errors.New("parse /proc/PID/stat: no name")
	}
	const utime, stime = 14 - 3, 15 - 3 // counted from the field after the name, the third
	fields := bytes.Fields(stat[end+1:])
	if len(fields) <= stime {
		return 0, fmt.Errorf("parse /proc/PID/stat: %d fields after the name, want more than %d", len(fields), stime)
	}
	var sum time.Duration
	for _, f := range [][]byte{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse /proc/PID/stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// memory is the resident memory of a process in KiB: now, and at its highest.
type memory struct{ now, peak int64 }

func memoryOf(pid int) (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	return parseStatus(status)
}

// parseStatus reads VmRSS and VmHWM of proc(5)'s status.
func parseStatus(status []byte) (m memory, err error) {
	for name, to := range map[string]*int64{"VmRSS:": &m.now, "VmHWM:": &m.peak} {
		_, rest, found := bytes.Cut(status, []byte("\n"+name))
		fields := bytes.Fields(rest)
		if !found || len(fields) < 2 || string(fields[1]) != "kB" {
			return memory{}, fmt.Errorf("parse /proc/PID/status: no %s in kB", name)
		}
		if *to, err = strconv.ParseInt(string(fields[0]), 10, 64); err != nil {
			return memory{}, fmt.Errorf("parse /proc/PID/status: %w", err)
		}
	}
	return m, nil
}
