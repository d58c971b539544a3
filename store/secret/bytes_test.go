package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "Kanarienvogel-7f3a"

type hidden struct {
	name string
	pw   Bytes // fmt cannot call its methods here
}

type hiddenPointer struct{ pw *Bytes }

// leaks reports the form in which text shows the canary, or "".
func leaks(text string) string {
	var list strings.Builder // as %v prints a []byte
	for i, c := range []byte(canary) {
		if i > 0 {
			list.WriteByte(' ')
		}
		fmt.Fprintf(&list, "%d", c)
	}
	for name, form := range map[string]string{
		"text": canary, "hex": hex.EncodeToString([]byte(canary)), "bytes": list.String(),
		"Go syntax": strings.ReplaceAll(fmt.Sprintf("%#v", []byte(canary)), "[]byte{", "")[:20],
		"base64":    base64.StdEncoding.EncodeToString([]byte(canary))[:20],
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return name
		}
	}
	return ""
}

// values are the places where a secret may be when someone prints it.
func values(pw Bytes) map[string]any {
	return map[string]any{
		"value": pw, "pointer": &pw, "unexported field": hidden{"x", pw}, "pointer to it": &hidden{"x", pw},
		"unexported pointer": hiddenPointer{&pw}, "slice": []Bytes{pw}, "slice of structs": []hidden{{"x", pw}},
		"map": map[string]Bytes{"k": pw}, "any": []any{pw, hidden{"x", pw}},
		"error": fmt.Errorf("wrap %v: %w", pw, errors.New("x")),
	}
}

func TestP4_PrintsNothing(t *testing.T) {
	pw := New([]byte(canary))
	for place, value := range values(pw) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%t", "%p", "%T"} {
			if form := leaks(fmt.Sprintf(verb, value)); form != "" {
				t.Errorf("%s of %s shows the secret as %s", verb, place, form)
			}
		}
		if form := leaks(fmt.Sprint(value) + fmt.Sprintln(value)); form != "" {
			t.Errorf("Sprint of %s shows the secret as %s", place, form)
		}
		var out bytes.Buffer
		level := &slog.HandlerOptions{Level: slog.LevelDebug}
		for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, level)), slog.New(slog.NewJSONHandler(&out, level))} {
			log.Debug("m", "k", value, slog.Group("g", "k", value))
			log.With("k", value).Info("m")
		}
		if form := leaks(out.String()); form != "" {
			t.Errorf("slog of %s shows the secret as %s: %s", place, form, out.String())
		}
		if text, err := json.Marshal(value); err == nil && leaks(string(text)) != "" {
			t.Errorf("JSON of %s shows the secret: %s", place, text)
		}
	}
	// The search finds what is not hidden.
	for _, text := range []string{fmt.Sprint([]byte(canary)), fmt.Sprintf("%x", canary), fmt.Sprintf("%#v", []byte(canary)), canary} {
		if leaks(text) == "" {
			t.Errorf("the canary was not found in %s", text)
		}
	}
	if got := fmt.Sprint(pw); got != Redacted {
		t.Errorf("printed as %q, want %q", got, Redacted)
	}
}

func TestWipe(t *testing.T) {
	raw := []byte(canary)
	own := Take(raw)
	copied := own.Clone()
	shared := own
	own.Wipe()
	own.Wipe()
	if !bytes.Equal(raw, make([]byte, len(raw))) {
		t.Error("the memory was not overwritten")
	}
	if !own.IsEmpty() || !shared.IsEmpty() || copied.IsEmpty() {
		t.Errorf("empty after wipe: itself %v, a copy of the value %v, a clone %v", own.IsEmpty(), shared.IsEmpty(), copied.IsEmpty())
	}
	var zero Bytes
	zero.Wipe()
	if !zero.IsEmpty() || zero.Expose() != nil {
		t.Error("the zero value is not empty")
	}
}

func TestEqual(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want bool
	}{{"a", "a", true}, {"a", "b", false}, {"a", "ab", false}, {"", "", true}} {
		if got := New([]byte(row.a)).Equal(New([]byte(row.b))); got != row.want {
			t.Errorf("%q equal %q: got %v", row.a, row.b, got)
		}
	}
	given := []byte("given")
	kept := New(given)
	clear(given)
	if string(kept.Expose()) != "given" {
		t.Error("New shares the caller's memory")
	}
}
