package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves the flags of the last command in args before its
// arguments. The library stops reading flags at the first argument, so that
// `domain register corp.example.test --dc ...` would not be understood.
func flagsFirst(app *cli.App, args []string) []string {
	flags, commands := app.Flags, app.Commands
	var done []string // program name, and everything up to the last command
	rest := args
	if len(rest) > 0 {
		done, rest = append(done, rest[0]), rest[1:]
	}
	for {
		n := leadingFlags(flags, rest)
		if n == len(rest) {
			return args
		}
		next := find(commands, rest[n])
		if next == nil {
			break
		}
		done, rest = append(done, rest[:n+1]...), rest[n+1:]
		flags, commands = next.Flags, next.Subcommands
	}
	front, back := split(flags, rest)
	return append(append(done, front...), back...)
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// leadingFlags counts the words of the flags at the start of args.
func leadingFlags(flags []cli.Flag, args []string) int {
	n := 0
	for n < len(args) && isFlag(args[n]) {
		n += words(flags, args[n])
	}
	return min(n, len(args))
}

// split parts flags, with their values, from arguments. What follows "--" is
// an argument whatever it looks like.
func split(flags []cli.Flag, args []string) (front, back []string) {
	for len(args) > 0 {
		switch {
		case args[0] == "--":
			return front, append(append(back, "--"), args[1:]...)
		case isFlag(args[0]):
			n := min(words(flags, args[0]), len(args))
			front, args = append(front, args[:n]...), args[n:]
		default:
			back, args = append(back, args[0]), args[1:]
		}
	}
	return front, back
}

// isFlag: a lone dash is an argument (standard input).
func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' && word != "--" }

// words is how many words a flag takes up: two when its value is the next.
func words(flags []cli.Flag, word string) int {
	name := strings.TrimLeft(word, "-")
	if strings.Contains(name, "=") {
		return 1
	}
	for _, f := range flags {
		for _, n := range f.Names() {
			if v, ok := f.(cli.DocGenerationFlag); n == name && ok && v.TakesValue() {
				return 2
			}
		}
	}
	return 1
}
