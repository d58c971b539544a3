package testenv

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// heavy are libraries that a package with fuzz targets must not import, not even
// through its tests: the fuzzer compiles all that is imported anew, instrumented,
// which took four minutes for this one.
var heavy = []string{"github.com/pb33f/"}

// TestFuzzTargetsCompileFast: what a fuzz target is compiled with is not heavy.
func TestFuzzTargetsCompileFast(t *testing.T) {
	list := exec.Command("grep", "-rl", "--include=*_test.go", "^func Fuzz", "..")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("look for fuzz targets: %v", err)
	}
	args := []string{"list", "-test", "-deps", "-f", "{{.ImportPath}}"}
	seen := make(map[string]bool)
	for _, file := range strings.Fields(string(out)) {
		dir := file[:strings.LastIndexByte(file, '/')]
		if !seen[dir] {
			seen[dir] = true
			args = append(args, dir)
		}
	}
	if len(seen) < 5 {
		t.Fatalf("found fuzz targets in %d packages, want them all", len(seen))
	}
	deps, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(deps)); lines.Scan(); {
		for _, lib := range heavy {
			if pkg := strings.TrimSpace(lines.Text()); strings.HasPrefix(pkg, lib) {
				t.Errorf("a package with fuzz targets depends on %s: move the target and what it tests to a package of their own", pkg)
			}
		}
	}
}
