package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"dirgate": func() { os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScript holds the command line's contract: what is printed where, exit
// statuses, and what is not done.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status,
			"mode":   mode,
			"seed":   seed,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("LONG", strings.Repeat("n", 250)) // of 255 that a name may have
			return nil
		},
		RequireExplicitExec: true,
	})
}

// status N COMMAND... runs a command that must end with exit status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = "signal"
		if e, ok := err.(interface{ ExitCode() int }); ok {
			got = string(rune('0' + e.ExitCode()))
		}
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// mode OCTAL FILE... checks permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := info.Mode().Perm().String(); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

func TestFlagsFirst(t *testing.T) {
	app := newApp(streams{})
	tests := []struct{ in, want []string }{
		{[]string{"dirgate"}, []string{"dirgate"}},
		{[]string{"dirgate", "domain", "register", "corp.example.test", "--dc", "ldaps://dc1", "--ca-file=x"},
			[]string{"dirgate", "domain", "register", "--dc", "ldaps://dc1", "--ca-file=x", "corp.example.test"}},
		{[]string{"dirgate", "--config", "f", "user", "show", "alice", "--domain", "d"},
			[]string{"dirgate", "--config", "f", "user", "show", "--domain", "d", "alice"}},
		{[]string{"dirgate", "-o", "json", "changelog", "discard", "3", "--yes"},
			[]string{"dirgate", "-o", "json", "changelog", "discard", "--yes", "3"}},
		{[]string{"dirgate", "domain", "register", "x", "--import-password-file", "-", "--api-key-file", "k"},
			[]string{"dirgate", "domain", "register", "--import-password-file", "-", "--api-key-file", "k", "x"}},
		{[]string{"dirgate", "user", "show", "--", "--odd-name"}, []string{"dirgate", "user", "show", "--", "--odd-name"}},
		{[]string{"dirgate", "domain", "register", "x", "--dc"}, []string{"dirgate", "domain", "register", "--dc", "x"}},
	}
	for _, tt := range tests {
		if got := flagsFirst(app, tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("flagsFirst(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
