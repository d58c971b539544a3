package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/urfave/cli/v2"
)

// show asks the backend, and prints the answer: as JSON where --output says so,
// else as text does.
func show[T any](c *cli.Context, io streams, ask func(admin.Backend) (T, error), text func(T) error) error {
	return withBackend(c, io, func(b admin.Backend) error {
		answer, err := ask(b)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", full(c.Command), err)
		case c.String("output") == "json":
			return writeJSON(io.out, answer)
		}
		return text(answer)
	})
}

// showList is show of a list, which as JSON is empty where there is none, never
// null.
func showList[T any](c *cli.Context, io streams, ask func(admin.Backend) ([]T, error), text func([]T) error) error {
	return show(c, io, func(b admin.Backend) ([]T, error) {
		list, err := ask(b)
		return append([]T{}, list...), err
	}, text)
}

// writeList prints a list, empty where there is none, never null.
func writeList[T any](w io.Writer, list []T) error {
	if list == nil {
		list = []T{}
	}
	return writeJSON(w, list)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table prints rows under a heading, aligned.
func table(w io.Writer, heading string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, heading)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = plain(cell)
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// plain keeps names that came from the network from steering a terminal or
// breaking a table. Errors that were joined stand on one line.
func plain(text string) string {
	text = strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "; ")
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return '?'
		}
		return r
	}, text)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// newLog makes the logger that the configuration asks for.
func newLog(w io.Writer, cfg *config.Config, override string) (*slog.Logger, error) {
	level, err := logLevel(cfg, override)
	if err != nil {
		return nil, err
	}
	return newLogAt(w, cfg, level), nil
}

// newLogAt is newLog with a level that may change.
func newLogAt(w io.Writer, cfg *config.Config, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func logLevel(cfg *config.Config, override string) (level slog.Level, err error) {
	name := cfg.Log.Level
	if override != "" {
		name = override
	}
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return level, usagef("--log-level %q: want debug, info, warn or error", name)
	}
	return level, nil
}

// loadConfig reads the file that --config names.
func loadConfig(c *cli.Context) (*config.Config, error) {
	return config.Load(c.String("config"))
}

// readSecretFile reads a password or key from a file, without the line end
// that editors add; "-" is standard input.
func readSecretFile(in io.Reader, flag, path string) ([]byte, error) {
	return readSecret(in, "--"+flag, path)
}

// readSecret is readSecretFile of what is named otherwise than by a flag.
func readSecret(in io.Reader, name, path string) ([]byte, error) {
	const longest = 64 << 10
	r := in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		defer f.Close()
		r = f
	}
	b := make([]byte, longest+1)
	n, err := io.ReadFull(r, b)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return nil, fmt.Errorf("%s %s: %w", name, path, err)
	}
	b = trimLineEnd(b[:n])
	if len(b) == 0 || n > longest {
		return nil, fmt.Errorf("%s %s: want 1 to %d bytes", name, path, longest)
	}
	return b, nil
}

// atEnd: there was nothing more to read.
func atEnd(err error) bool { return errors.Is(err, io.EOF) }

func trimLineEnd(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b
}
