package portal

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadForm(t *testing.T) {
	f, err := readForm(strings.NewReader("username=al+ice%40x&password=P%C3%A4ss%26%3D%2B%00+&"), "username", "password", "token")
	if err != nil {
		t.Fatal(err)
	}
	if f.text("username") != "al ice@x" || f.text("password") != "Päss&=+\x00 " || f.text("token") != "" {
		t.Errorf("got %q and %q", f.text("username"), f.text("password"))
	}
	password := f["password"]
	if f.wipe(); !password.IsEmpty() {
		t.Error("the password is not wiped")
	}
	if _, err := readForm(strings.NewReader("a="+strings.Repeat("x", maxForm)), "a"); !errors.Is(err, errFormLarge) {
		t.Errorf("a large form: %v", err)
	}
	if _, err := readForm(iotest.ErrReader(errors.New("reset by peer")), "a"); err == nil || errors.Is(err, errForm) {
		t.Errorf("a form that does not arrive: %v", err)
	}
}

// FuzzForm: what is taken is what net/url reads, and errors hold nothing of the
// input.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{"", "a=1&b=2", "a=%41+%zz", "a=1&a=2", "&&a&", "a=%", "b=%f0%9f%99%82", "a=1;b=2"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		own := bytes.Clone(raw)
		got, err := parseForm(own, []string{"a", "b"})
		if err != nil {
			if err.Error() != errForm.Error()+": a field is unknown or is there twice" && err.Error() != errForm.Error()+": a percent sign is not followed by two hex digits" {
				t.Errorf("the error is %q", err)
			}
			return
		}
		want, err := url.ParseQuery(string(raw))
		if err != nil {
			if strings.Contains(err.Error(), "semicolon") {
				return // net/url refuses them for the sake of old servers; WHATWG does not
			}
			t.Fatalf("taken, and net/url says %v", err)
		}
		for name, value := range got {
			if want.Get(name) != string(value.Expose()) {
				t.Errorf("%s: %q, net/url has %q", name, value.Expose(), want.Get(name))
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d fields, net/url has %d", len(got), len(want))
		}
	})
}
