package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const mainPackage = "github.com/dirgate/dirgate/cmd/dirgate"

// builtProgram is the binary that the tests run.
type builtProgram struct {
	path  string
	noted sync.Once
}

// note makes go test know what the program is built from. It takes a result
// from its cache unless something changed that the test is linked from, or that
// a test looked at while it ran; the program is built by another process, and
// before the tests run. Of a directory that was opened it remembers name, size
// and time of every file.
func (p *builtProgram) note(t *testing.T) {
	t.Helper()
	p.noted.Do(func() {
		dirs, err := sourceDirs()
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			if _, err := os.ReadDir(dir); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// sourceDirs are the directories of the module that hold files of the program,
// and the module's root, with go.mod and go.sum.
func sourceDirs() ([]string, error) {
	const format = `{{with .Module}}{{if .Main}}{{.Dir}}
{{$.Dir}}{{range $.EmbedFiles}}
{{$.Dir}}/{{.}}{{end}}{{end}}{{end}}`
	out, err := exec.Command("go", "list", "-deps", "-f", format, mainPackage).Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages of the program: %w", err)
	}
	var dirs []string
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err != nil {
			return nil, err
		} else if !info.IsDir() { // an embedded file
			path = filepath.Dir(path)
		}
		dirs = append(dirs, path)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// TestSourceDirs: the packages that only the program is linked from are among
// them, and nothing outside the module.
func TestSourceDirs(t *testing.T) {
	t.Parallel()
	dirs, err := sourceDirs()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{".", "cmd/dirgate", "cmd/internal/admin", "gateway", "gateway/ldapwire", "gateway/netwait", "gateway/dc", "replicate", "store"} {
		if !slices.Contains(dirs, filepath.Join(root, dir)) {
			t.Errorf("%s is missing in %q", dir, dirs)
		}
	}
	for _, dir := range dirs {
		if rel, err := filepath.Rel(root, dir); err != nil || strings.HasPrefix(rel, "..") {
			t.Errorf("%s is outside the module", dir)
		}
	}
}
