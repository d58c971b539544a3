package delegate

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzReadObject holds the decoder against encoding/json: what it takes, that
// takes too and means the same.
func FuzzReadObject(f *testing.F) {
	for _, seed := range []string{`{"username":"a","password":"b"}`, `{"password":"\ud83d\ude00\u0000","username":""}`, `{"username":"\\","password":"\""}`, `{}`, "{\"username\":\"\xff\",\"password\":\"\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := readObject(bytes.NewReader(bytes.Clone(raw)), "username", "password")
		var want map[string]any
		std := json.Unmarshal(raw, &want)
		if err != nil {
			u, uok := want["username"].(string)
			p, pok := want["password"].(string)
			// A replacement character is what encoding/json makes of what is no
			// text, and a name twice is none of its errors.
			odd := strings.ContainsRune(u+p, utf8.RuneError) || bytes.Count(raw, []byte(`"`)) != 8
			if std == nil && uok && pok && len(want) == 2 && !odd && len(raw) <= maxBody {
				t.Errorf("%q was refused: %v", raw, err)
			}
			return
		}
		if std != nil || len(want) != 2 || want["username"] != string(got["username"].Expose()) || want["password"] != string(got["password"].Expose()) {
			t.Errorf("%q was taken for %q and %q, and is %v, %v", raw, got["username"].Expose(), got["password"].Expose(), want, std)
		}
	})
}
