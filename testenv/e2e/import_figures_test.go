package e2e

import (
	"flag"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// importUsers is how many users TestImportFigures imports.
var importUsers = flag.Int("import-users", 0, "measure the first import of `N` users (0: do not)")

// defaultPace is jumpcloud.requests_per_second, if nothing else is configured.
const defaultPace = 10

// TestImportFigures measures the program's own part in a first import: its CPU
// time as a process, against the time that JumpCloud's API budget takes for the
// requests. Both directories are simulators in this process.
func TestImportFigures(t *testing.T) {
	if *importUsers == 0 {
		t.Skip("SKIPPED: a measurement; `make bench-import` runs it")
	}
	w := newEmbeddedWorld(t)
	w.cloud.ForgetHistory()
	const everyone = "Everyone"
	password := secret.New([]byte(before))
	var members []string
	for n := range *importUsers {
		dn, err := w.ad.AddUser(adsim.User{Name: fmt.Sprintf("user%05d", n), Password: password, GivenName: "Given", Surname: "Sur"})
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, dn)
	}
	if _, err := w.ad.AddGroup(everyone, members...); err != nil {
		t.Fatal(err)
	}
	w.configure("requests_per_second", "1000") // the most there is
	w.must("domain", "register", w.name, "--scope-group", "CN="+everyone+",OU=Groups,"+w.base)
	for _, what := range []string{"first import", "a pass without changes", "full compare"} {
		w.cloud.ForgetHistory()
		args := []string{"--config", w.config, "replicate", "run", "--once"}
		if what == "full compare" {
			args = []string{"--config", w.config, "replicate", "resync"}
		}
		cmd := exec.CommandContext(t.Context(), program(t), args...)
		begun := time.Now()
		out, err := cmd.CombinedOutput()
		took := time.Since(begun)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		requests := 0
		counts := w.cloud.Counts()
		for _, n := range counts {
			requests += n
		}
		cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		budget := time.Duration(requests) * time.Second / defaultPace
		t.Logf("%s: %d users, wall %s, cpu %s (user %s), peak memory %d MiB, %d requests to JumpCloud: %s of budget at %d per second", what,
			*importUsers, took.Round(time.Millisecond), cpu, cmd.ProcessState.UserTime(), usage.Maxrss>>10, requests, budget, defaultPace)
		for _, operation := range slices.Sorted(maps.Keys(counts)) {
			t.Logf("  %6d %s", counts[operation], operation)
		}
		if cpu > budget && what == "first import" {
			t.Errorf("the program takes longer than JumpCloud's budget")
		}
	}
	if n := len(w.cloud.people()); n != *importUsers+1 {
		t.Errorf("JumpCloud has %d users, want %d", n, *importUsers+1)
	}
}
