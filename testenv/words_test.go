package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxLines bounds a source file, so that each can be read in one sitting.
const maxLines = 450

// words are not committed. Each says something about the machine or the state
// of work of whoever wrote the file, or takes back a promise of the program.
var words = []struct {
	pattern *regexp.Regexp
	// hints are what a text has, in lower case, where pattern matches: patterns
	// alone take 18 s with the race detector.
	hints []string
	why   string
}{
	{regexp.MustCompile(`(^|[^A-Za-z0-9_.])/(work/(main|shared)|root/go|tmp/(brief|bash_jobs))\b`), []string{"/work/", "root/go", "tmp/brief", "tmp/bash_jobs"}, "a path of one machine"},
	{regexp.MustCompile(`shared/(reference|tools|hooks)\b|\bDESIGN\.md\b`), []string{"shared/", "design.md"}, "a text that readers of the repository do not have"},
	{regexp.MustCompile(`\bGOPROXY=|https?://(proxy|registry|mirror)s?\.`), []string{"goproxy=", "//proxy", "//registry", "//mirror"}, "where packages are fetched from is the machine's affair"},
	{regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`), []string{"todo", "fixme", "xxx", "hack"}, "unfinished work belongs in the tracker"},
	{regexp.MustCompile(`\b[Ii]ssue #?\d+\b`), []string{"issue"}, "the text must stand without the tracker"},
	{regexp.MustCompile(`(?i)\bnot (yet )?implemented\b`), []string{"implemented"}, "what is not there is absent, not announced"},
	{regexp.MustCompile(`\bInsecureSkipVerify\s*[:=]\s*true\b`), []string{"insecureskipverify"}, "peers are always verified"},
	{regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]`), []string{"private key-----"}, "private keys are made, never committed"},
}

// wordsExempt are files that must hold such words.
var wordsExempt = map[string]string{
	"testenv/words_test.go": "this list",
	"go.sum":                "checksums are random text",
	"LICENSE":               "a standard text",
}

// tracked gives the names of the files in version control, from the root of
// the repository, whose folder it also returns.
func tracked(t *testing.T) (root string, files []string) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, ".git")); errors.Is(err, os.ErrNotExist) {
		t.Skip("SKIPPED: this is not a clone of the repository, so there is no list of its files")
	}
	// A clone made by another user is fine to read.
	cmd := exec.Command("git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v\n%s", err, &stderr)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(output), "\x00"), "\x00") {
		files = append(files, name)
	}
	if len(files) < 10 {
		t.Fatalf("git named %d files, want the whole repository", len(files))
	}
	return root, files
}

// read gives a tracked file's text; ok is false for one that is deleted in the
// working tree, a link, or not text.
func read(t *testing.T, name string) (text string, ok bool) {
	t.Helper()
	info, err := os.Lstat(name)
	if errors.Is(err, os.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return "", false
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), utf8.Valid(data) && !bytes.ContainsRune(data, 0)
}

// badWords gives what is wrong with a text, one message each.
func badWords(name, text string) (out []string) {
	lower := strings.ToLower(text)
	for _, w := range words {
		if !slices.ContainsFunc(w.hints, func(hint string) bool { return strings.Contains(lower, hint) }) {
			continue
		}
		if at := w.pattern.FindStringIndex(text); at != nil {
			line := 1 + strings.Count(text[:at[0]], "\n")
			out = append(out, fmt.Sprintf("%s:%d: %s: %s", name, line, strings.TrimSpace(text[at[0]:at[1]]), w.why))
		}
	}
	return out
}

func TestWords(t *testing.T) {
	root, files := tracked(t)
	for _, name := range files {
		text, ok := read(t, filepath.Join(root, name))
		if !ok || wordsExempt[name] != "" {
			continue
		}
		for _, bad := range badWords(name, text) {
			t.Error(bad)
		}
	}
}

func TestFileLength(t *testing.T) {
	root, files := tracked(t)
	for _, name := range files {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, ok := read(t, filepath.Join(root, name))
		if n := strings.Count(text, "\n"); ok && n > maxLines {
			t.Errorf("%s: %d lines, want at most %d: split it by what its parts are about", name, n, maxLines)
		}
	}
}

// TestBadWords checks that the check above can fail, and does not cry wolf.
func TestBadWords(t *testing.T) {
	for text, bad := range map[string]bool{
		"see /work/" + "main/x":                       true,
		"cache = \"/root/" + "go/pkg\"":               true,
		"// TO" + "DO: later":                         true,
		"return errors.New(\"not imple" + "mented\")": true,
		"cfg.InsecureSkip" + "Verify = true":          true,
		"GOPROXY" + "=https://x":                      true,
		"as iss" + "ue 12 says":                       true,
		"-----BEGIN PRIVATE KEY-----\nMIGH":           true,
		"under /var/lib/dirgate/work/main":            false,
		"a mastodon, TODOS":                           false,
		"InsecureSkipVerify: false":                   false,
		"we issue 12 certificates":                    true, // the price of a simple pattern
		"-----BEGIN PRIVATE KEY-----\n\" + body":      false,
		"GOPROXY is honoured":                         false,
	} {
		if got := badWords("x", text); (len(got) > 0) != bad {
			t.Errorf("badWords(%q) = %q, want any: %v", text, got, bad)
		}
	}
	if got, want := badWords("a.go", "ok\nok // FIX"+"ME\n")[0], "a.go:2: FIX"+"ME: "; !strings.HasPrefix(got, want) {
		t.Errorf("message %q, want it to start with %q", got, want)
	}
}
