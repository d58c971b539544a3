package jsonbody

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzRead holds the decoder against encoding/json: what it takes, that
// takes too and means the same.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{`{"username":"a","password":"b"}`, `{"password":"\ud83d\ude00\u0000","username":""}`, `{"username":"\\","password":"\""}`, `{}`, "{\"username\":\"\xff\",\"password\":\"\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Read(bytes.NewReader(bytes.Clone(raw)), "username", "password")
		var want map[string]any
		std := json.Unmarshal(raw, &want)
		if err != nil {
			u, uok := want["username"].(string)
			p, pok := want["password"].(string)
			// A replacement character is what encoding/json makes of what is no
			// text, and a name twice is none of its errors.
			odd := strings.ContainsRune(u+p, utf8.RuneError) || bytes.Count(raw, []byte(`"`)) != 8
			if std == nil && uok && pok && len(want) == 2 && !odd && len(raw) <= Max {
				t.Errorf("%q was refused: %v", raw, err)
			}
			return
		}
		if std != nil || len(want) != 2 || want["username"] != string(got["username"].Expose()) || want["password"] != string(got["password"].Expose()) {
			t.Errorf("%q was taken for %q and %q, and is %v, %v", raw, got["username"].Expose(), got["password"].Expose(), want, std)
		}
	})
}

func TestRead(t *testing.T) {
	good := map[string]string{
		`{"u":"a","p":"b"}`: "b",
		" {\n\"p\" : \"\\\"\\\\\\/\\b\\f\\n\\r\\t\" ,\"u\":\"\"} ": "\"\\/\b\f\n\r\t",
		`{"u":"a","p":"\u00e4\ud83d\ude00ä😀"}`:                     "ä😀ä😀",
		`{"u":"a","\u0070":"b"}`:                                   "b",
	}
	for text, want := range good {
		got, err := Read(strings.NewReader(text), "u", "p")
		if err != nil || string(got["p"].Expose()) != want {
			t.Errorf("%s: got %q, %v", text, got["p"].Expose(), err)
		}
	}
	for _, bad := range []string{
		``, `{`, `null`, `[]`, `"a"`, `{"u":"a"}`, `{"u":"a","p":1}`, `{"u":"a","p":null}`, `{"u":"a","p":"b","x":"c"}`, `{"u":"a","u":"a","p":"b"}`,
		`{"u":"a","p":"b"} x`, `{"u":"a","p":"b",}`, `{"u":"a" "p":"b"}`, `{"u":"a","p":"b`, `{"u":"a","p":"\x"}`, `{"u":"a","p":"\ud800"}`, `{"u":"a","p":"\ud800\u0041"}`,
		`{"u":"a","p":"\u12"}`, "{\"u\":\"a\",\"p\":\"\xff\"}", "{\"u\":\"a\",\"p\":\"\n\"}", `{"u":"a","p":{"q":"b"}}`, `{"":"a","p":"b"}`, `{"U":"a","p":"b"}`,
	} {
		if _, err := Read(strings.NewReader(bad), "u", "p"); !errors.Is(err, ErrForm) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	if _, err := Read(bytes.NewReader(make([]byte, Max+1)), "u"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: got %v", err)
	}
}
