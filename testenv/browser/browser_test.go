package browser

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const bad = `<!doctype html><title> </title><style>body{background:#fff;color:#000} .pale{color:#999} .large{color:#888;font-size:30px} #named{height:30px} .on{background:linear-gradient(#fff,#666)}</style>
<h1>one</h1><h3>three</h3><p class=pale>pale</p><p class=large>large</p><p class=on>on a gradient</p>
<label for=named>name</label><input id=named autocomplete=name><input id=nameless><a href=/>  </a><button id=twice tabindex=3>b</button><b id=twice></b>
<p aria-describedby=nowhere>x</p><button style="padding:0;border:0;width:9px;height:9px" aria-label=small></button>`

const good = `<!doctype html><html lang=en><title>good</title><main><h1>one</h1><h2>two</h2><form action=/sent method=post>
<label for=a>a</label><input id=a name=a autocomplete=off style="height:30px"><button style="min-height:30px" id=send>send it</button></form></main>`

// TestProblems: the checks find what is wrong, and nothing where all is well.
func TestProblems(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/bad":
			_, _ = io.WriteString(w, bad)
		case "/sent":
			_, _ = io.WriteString(w, "<p id=got>"+r.FormValue("a")+" "+r.Header.Get("Accept-Language")+"</p>")
		default:
			_, _ = io.WriteString(w, good)
		}
	}))
	t.Cleanup(s.Close)
	p := Start(t, s.Certificate()).NewPage(t)
	p.Open(s.URL + "/bad")
	found := strings.Join(p.Problems(), "\n")
	for _, want := range []string{`p.pale "pale": contrast 2.85`, `p.on "on a gradient": contrast 3.`, "input#nameless", "has no visible label", "has no autocomplete", `a "": has no name`,
		"level 3 follows one of level 1", "out of the tab order", "names nowhere", "the id twice is there twice", "no language", "no title", "one main part", "9 by 9 pixels"} {
		if !strings.Contains(found, want) {
			t.Errorf("not found: %s", want)
		}
	}
	if strings.Contains(found, "large") || strings.Contains(found, "input#named ") {
		t.Error("found what is well")
	}
	if t.Failed() {
		t.Log(found)
	}

	p.Language("de-AT")
	p.Open(s.URL + "/good")
	if got := p.Problems(); !slices.Equal(got, []string{}) {
		t.Errorf("on a good page: %q", got)
	}
	p.Type("#a", "Ünïcode & more")
	p.Press("Tab")
	if got := p.Focused(); got != "send" {
		t.Errorf("Tab leads to %q", got)
	}
	p.Submit()
	if got := p.Text("#got"); got != "Ünïcode & more de-AT" || p.Path() != "/sent" {
		t.Errorf("at %s: %q", p.Path(), got)
	}
	if png := p.Picture(); !strings.HasPrefix(string(png), "\x89PNG") {
		t.Errorf("the picture is %d bytes of something else", len(png))
	}
}

// TestLeavesNothing: of a browser that was killed no process of its group is
// left, nor its profile.
func TestLeavesNothing(t *testing.T) {
	Need(t)
	var b *Browser
	t.Run("killed", func(t *testing.T) {
		b = Start(t)
		b.NewPage(t)
		if err := syscall.Kill(-b.cmd.Process.Pid, 0); err != nil {
			t.Error("its process group:", err)
		}
		_ = b.cmd.Process.Kill() // leaves the helpers
	})
	if _, err := os.Stat(b.profile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the profile is left: %v", err)
	}
	for until := time.Now().Add(patience); !errors.Is(syscall.Kill(-b.cmd.Process.Pid, 0), syscall.ESRCH); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("helpers are left")
		}
	}
}
