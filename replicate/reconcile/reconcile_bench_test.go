package reconcile

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// cpu is what the process has used.
func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkFirstImport imports users into the simulator, and says what one
// costs of the whole process: both simulators and the store.
func BenchmarkFirstImport(b *testing.B) {
	const users = 1000
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b)
		for n := range users {
			w.hire(fmt.Sprintf("user%05d", n))
		}
		b.StartTimer()
		w.pass()
		b.StopTimer()
		if n := len(w.cloud.Users()); n != users {
			b.Fatalf("%d users", n)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*users), "us/user")
}

// BenchmarkCycle is a pass of a domain that was imported: without a change, and
// with one user's. Of the CPU time the simulators have a part.
func BenchmarkCycle(b *testing.B) {
	for _, users := range []int{500, 2000} {
		w := newWorld(b)
		for n := range users {
			w.hire(fmt.Sprintf("user%05d", n))
		}
		for next := w.pass(); !next.IsZero(); next = w.pass() {
			w.clock.t = next
		}
		w.pass()
		b.Run(fmt.Sprintf("no change/%d", users), func(b *testing.B) {
			w.cloud.ForgetHistory()
			began := cpu(b)
			for b.Loop() {
				w.ok(w.im.Cycle(b.Context()))
			}
			b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(b.N), "cpu-us/op")
			if counts := w.cloud.Counts(); len(counts) > 0 {
				b.Errorf("JumpCloud was asked: %v", counts)
			}
		})
		b.Run(fmt.Sprintf("one change/%d", users), func(b *testing.B) {
			began, n := cpu(b), 0
			for b.Loop() {
				n++
				w.set(w.dn("user00007"), "title", fmt.Sprintf("Title %d", n))
				w.pass()
			}
			b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(b.N), "cpu-us/op")
			if got := w.user("user00007").Fields["jobTitle"]; got != fmt.Sprintf("Title %d", n) {
				b.Errorf("the title is %v after %d changes", got, n)
			}
		})
	}
}
