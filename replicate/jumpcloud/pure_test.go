package jumpcloud

import (
	"encoding/json"
	"io"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dirgate/dirgate/store/secret"
)

func TestNew(t *testing.T) {
	key := text("0123456789abcdef")
	for _, tt := range []struct {
		name string
		cfg  Config
		base string // empty: refused
	}{
		{"console", Config{URL: "https://console.jumpcloud.com", APIKey: key}, "https://console.jumpcloud.com"},
		{"with api", Config{URL: "https://console.eu.jumpcloud.com/api/", APIKey: key}, "https://console.eu.jumpcloud.com"},
		{"with v2", Config{URL: "https://console.jumpcloud.com/api/v2", APIKey: key}, "https://console.jumpcloud.com"},
		{"behind a path", Config{URL: "https://relay.example/jc/api", APIKey: key}, "https://relay.example/jc"},
		{"clear text", Config{URL: "http://console.jumpcloud.com", APIKey: key}, ""},
		{"no host", Config{URL: "https:///api", APIKey: key}, ""},
		{"credentials", Config{URL: "https://a:b@console.jumpcloud.com", APIKey: key}, ""},
		{"query", Config{URL: "https://console.jumpcloud.com?x=1", APIKey: key}, ""},
		{"no key", Config{URL: "https://console.jumpcloud.com"}, ""},
		{"key with newline", Config{URL: "https://console.jumpcloud.com", APIKey: text("abc\n")}, ""},
		{"negative rate", Config{URL: "https://console.jumpcloud.com", APIKey: key, RequestsPerSecond: -1}, ""},
	} {
		c, err := New(tt.cfg)
		if (err == nil) != (tt.base != "") {
			t.Errorf("%s: got %v", tt.name, err)
		} else if err == nil && c.base != tt.base {
			t.Errorf("%s: got base %q, want %q", tt.name, c.base, tt.base)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		header string
		want   time.Duration
		ok     bool
	}{
		{"", 0, false}, {"soon", 0, false}, {"-5", 0, false}, {"0", 0, true}, {" 7 ", 7 * time.Second, true},
		{"99999999", longestRetryAfter, true},
		{"Sun, 01 Mar 2026 12:01:00 GMT", time.Minute, true}, {"Sun, 01 Mar 2026 11:00:00 GMT", 0, true},
	} {
		if got, ok := retryAfter(tt.header, now); got != tt.want || ok != tt.ok {
			t.Errorf("%q: got %v, %t, want %v, %t", tt.header, got, ok, tt.want, tt.ok)
		}
	}
}

func TestExplain(t *testing.T) {
	plain := func(s string) string { return s }
	for _, tt := range []struct {
		body    string
		message string
		want    []Violation
	}{
		{`{"code":400,"message":"Password validation fail","details":[{"@type":"x","fieldViolationsList":[{"field":"password","description":"specialCharacter"},{"field":"password","description":"passwordHistory"}]}]}`,
			"Password validation fail", []Violation{{"password", "specialCharacter"}, {"password", "passwordHistory"}}},
		{`{"message":"m","details":{"fieldViolations":[{"field":"f","description":"d"},7]}}`, "m", []Violation{{"f", "d"}}},
		{`{"error":"other name"}`, "other name", nil},
		{`{"message":{"odd":1},"details":"text"}`, "", nil},
		{`"a string"`, "a string", nil},
		{"line\none\x1b[31m", "line one[31m", nil},
		{"", "", nil},
	} {
		message, got := explain([]byte(tt.body), plain)
		if message != tt.message || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q %v, want %q %v", tt.body, message, got, tt.message, tt.want)
		}
	}
}

func TestPasswordBodyIsCleared(t *testing.T) {
	b, err := passwordBody(text(canary))
	if err != nil {
		t.Fatal(err)
	}
	raw, r := b.bytes, b.reader()
	if n, err := r.Read(make([]byte, 3)); n != 3 || err != nil {
		t.Fatalf("read: got %d, %v", n, err)
	}
	b.wipe()
	if n, err := r.Read(make([]byte, 3)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("read after wipe: got %d, %v, want an error", n, err)
	}
	if slices.ContainsFunc(raw, func(c byte) bool { return c != 0 }) {
		t.Errorf("buffer after wipe: %q", raw)
	}
	for _, bad := range []string{"", "a\xff"} {
		if _, err := passwordBody(text(bad)); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

func FuzzPasswordBody(f *testing.F) {
	for _, s := range []string{"a", canary, "\x00\x1f\u2028</script>", "\U0001f511"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, pw []byte) {
		b, err := passwordBody(secret.New(pw))
		if len(pw) == 0 || !utf8.Valid(pw) {
			if err == nil {
				t.Fatal("accepted")
			}
			return
		}
		var got struct{ Password string }
		if err := json.Unmarshal(b.bytes, &got); err != nil || got.Password != string(pw) {
			t.Fatalf("got %q, %v, want %q", got.Password, err, pw)
		}
	})
}

func FuzzExplain(f *testing.F) {
	f.Add([]byte(`{"message":"m","details":[{"fieldViolationsList":[{"field":"f","description":"d"}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		message, list := explain(raw, func(s string) string { return s })
		if len(message) > maxMessage+3 || !utf8.ValidString(message) || len(list) > maxViolations {
			t.Fatalf("got %q and %d violations", message, len(list))
		}
	})
}
