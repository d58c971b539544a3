package portal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/browser"
)

// visitor is somebody at a browser before the portal.
type visitor struct {
	*browser.Page
	t   *testing.T
	url string
}

func (v visitor) signIn(name, password string) {
	v.t.Helper()
	v.Do("Network.clearBrowserCookies", nil)
	v.Open(v.url + "/sign-in")
	v.Type("#username", name)
	v.Type("#password", password)
	v.Submit()
}

func (v visitor) wantText(selector, want string) {
	v.t.Helper()
	if got := v.Text(selector); !strings.Contains(got, want) {
		v.t.Errorf("at %s, %s says %q, want %q", v.Path(), selector, got, want)
	}
}

func (v visitor) wantPath(want string) {
	v.t.Helper()
	if got := v.Path(); got != want {
		v.t.Errorf("at %s, want %s:\n%s", got, want, v.Text("main"))
	}
}

// TestBrowser visits every page with a real browser: light and dark, wide and
// narrow, with and without scripts, in both languages.
func TestBrowser(t *testing.T) {
	s, f := newServer(t)
	b := browser.Start(t, s.Certificate())
	visit := func(t *testing.T) visitor { return visitor{b.NewPage(t), t, s.URL} }

	t.Run("D5 every reason has its page", func(t *testing.T) {
		v := visit(t)
		for name, want := range map[string]string{
			"nobody": "name or password is wrong", "carol": "is disabled", "gone": "has ended", "hours": "not do this now", "pending": "not ready", "nodelegation": "not set up",
			"erin": "is locked", "hurry": "Too many tries", "jcexpired": "kept by JumpCloud", "station": "name or password is wrong",
		} {
			v.signIn(name, right)
			v.wantPath("/sign-in")
			v.wantText("#notice", want)
			if got := v.Focused(); got != "notice" {
				t.Errorf("%s: the focus is at %q, want the notice", name, got)
			}
			v.looks(name)
		}
		f.set(func(f *fake) { f.down = true })
		v.signIn("alice", right)
		v.wantText("#notice", "does not answer")
		f.set(func(f *fake) { f.down = false })
	})

	t.Run("status and change", func(t *testing.T) {
		v := visit(t)
		f.set(func(f *fake) {
			i := &f.accounts["alice"].info
			i.ExpiresAt = time.Now().Add(9*24*time.Hour + time.Hour)
		})
		v.signIn("alice", right)
		v.wantPath("/account")
		v.wantText("main", "in 9 days")
		v.looks("account")
		v.Follow(".todo .button")
		v.looks("change")
		v.change(right, "short", "other")
		v.wantText("#summary", "two new passwords differ")
		v.change(right, "short", "short")
		v.wantText("#summary", "At least 12 characters")
		v.looks("change-refused")
		v.change("Wrong-Pässwörd1", "Xy7!-Plenty-Long", "Xy7!-Plenty-Long")
		v.wantText("#summary", "present password is not right")
		v.change(right, "Xy7!-Plenty-Long", "Xy7!-Plenty-Long")
		v.wantPath("/account")
		v.wantText("#notice", "was changed")
		v.wantText("#copy", "On its way")
		v.looks("changed")
		f.set(func(f *fake) { f.accounts["alice"].info.InSync = true })
		v.Wait("the page tells that JumpCloud has the password", `document.querySelector("#copy").innerText.includes("Has this password")`)
		v.Follow(".who button")
		v.wantPath("/signed-out")
		v.looks("signed-out")
	})

	t.Run("D5 a temporary and an expired password are changed", func(t *testing.T) {
		for name, want := range map[string]string{"dave": "first sign-in only", "frank": "has expired"} {
			v := visit(t)
			v.signIn(name, right)
			v.wantPath("/change-password")
			v.wantText("main", want)
			v.looks("must-" + name)
			v.Open(s.URL + "/account")
			v.wantPath("/change-password")
			v.change(right, "Xy7!-Plenty-Long", "Xy7!-Plenty-Long")
			v.wantPath("/account")
		}
	})

	t.Run("every status", func(t *testing.T) {
		v := visit(t)
		v.signIn("alice", "Xy7!-Plenty-Long")
		for _, status := range []delegate.PasswordStatus{delegate.StatusPending, delegate.StatusActive, delegate.StatusExpired, delegate.StatusLocked, delegate.StatusDelegated} {
			f.set(func(f *fake) { f.accounts["alice"].info.Status = status })
			v.Open(s.URL + "/account")
			v.wantText(".badge", string(status))
			v.looks("status-" + string(status))
		}
		f.set(func(f *fake) { f.accounts["alice"].info.Status = delegate.StatusActive; f.down = true })
		v.Open(s.URL + "/account")
		v.wantText("main", "cannot be told at the moment")
		v.Open(s.URL + "/change-password")
		v.wantText("#rules", "cannot be shown")
		f.set(func(f *fake) { f.down = false })
	})
	t.Run("the script's rules are the server's", func(t *testing.T) { sameRules(t, visit(t), f) })
	t.Run("without scripts", func(t *testing.T) { withoutScript(t, visit(t)) })
	t.Run("in German, dark, on a phone", func(t *testing.T) {
		v := visit(t)
		v.Language("de-CH,de;q=0.9,en;q=0.5")
		v.Size(390, 844)
		v.Open(s.URL + "/")
		v.wantText("h1", "Anmelden")
		v.looks("de-signin")
		v.signIn("alice", "falsch")
		v.wantText("#notice", "Passwort ist falsch")
		v.looks("de-wrong")
		v.signIn("alice", "Xy7!-Plenty-Long")
		v.looks("de-account")
		v.Open(s.URL + "/change-password")
		v.looks("de-change")
		var wide bool
		if v.Eval("document.documentElement.scrollWidth > innerWidth", &wide); wide {
			t.Error("the page is wider than the phone")
		}
		v.Media(map[string]string{"prefers-reduced-motion": "reduce"})
		var moves string
		if v.Eval("getComputedStyle(document.querySelector('button.main')).transitionDuration", &moves); moves != "0s" {
			t.Errorf("with reduced motion the button's colour takes %s", moves)
		}
	})
	t.Run("the keyboard alone", func(t *testing.T) {
		v := visit(t)
		v.Open(s.URL + "/sign-in")
		v.Wait("the browser heeds autofocus when it first draws", `document.activeElement.id === "username"`)
		var order []string
		for range 4 {
			order = append(order, v.Focused())
			v.Press("Tab")
		}
		if want := []string{"username", "password", "Show", "Sign in"}; !slices.Equal(order, want) {
			t.Errorf("Tab goes through %q, want %q", order, want)
		}
	})
	t.Run("nothing of a password stays in the browser", func(t *testing.T) {
		v := visit(t)
		v.signIn("alice", "Xy7!-Plenty-Long")
		for _, c := range v.Cookies() {
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HTTPOnly || c.SameSite != "Strict" || c.Path != "/" || !c.Session {
				t.Errorf("cookie %+v", c)
			}
		}
		var history struct{ Entries []struct{ URL string } }
		result := v.history()
		if err := json.Unmarshal(result, &history); err != nil || len(history.Entries) < 2 {
			t.Fatalf("history: %v %s", err, result)
		}
		for _, e := range history.Entries {
			if strings.Contains(e.URL, "?") {
				t.Errorf("the history has %s", e.URL)
			}
		}
		v.Do("Page.reload", nil)
		v.Wait("loading again asks nothing", `document.querySelector(".badge")`)
	})
}

func (v visitor) history() (raw json.RawMessage) {
	v.t.Helper()
	return v.Ask("Page.getNavigationHistory", nil)
}

func (v visitor) change(old, new, again string) {
	v.t.Helper()
	v.Open(v.url + "/change-password")
	v.Type("#current", old)
	v.Type("#new", new)
	v.Type("#confirm", again)
	v.Submit()
}

// sameRules holds the page's script against delegate's checks.
func sameRules(t *testing.T, v visitor, f *fake) {
	v.signIn("alice", "Xy7!-Plenty-Long")
	v.Open(v.url + "/change-password")
	names := delegate.Names{SAM: "alice", Display: "alice Archer", CloudUsername: "alice"}
	for _, password := range []string{"a", "abcdefgh", "Abcdefg1", "ABCDEFG1!", "Äöüß-Ñandú-12", "漢字漢字漢字漢字Aa", "my-ARCHER-Name1", "xxAliceXx!9-long", "Tr0ub4dor&3-horse",
		"cba-Zyx987-Qwe!", "1357924680acegik", "aaabbbccc", "٣٤٥-Arabic-Digits", "ǅ-title-case-9A", "Long-Enough 2026?!", "🙂🙂🙂🙂-Emoji-x1"} {
		want := map[string]bool{}
		pw := secret.New([]byte(password))
		for _, r := range append(delegate.CheckAD(*f.policies.AD, names, pw, time.Time{}, time.Now()), delegate.CheckCloud(*f.policies.JumpCloud, names, pw)...) {
			want[string(r.Side)+" "+string(r.Rule)] = true
		}
		v.Type("#new", password)
		var got map[string]bool // rule -> met
		v.Eval(`Object.fromEntries([...document.querySelectorAll("li.live")].map(e => [e.dataset.side + " " + e.dataset.rule, e.classList.contains("met")]))`, &got)
		if len(got) < 10 {
			t.Fatalf("the page has the rules %v", got)
		}
		for rule, met := range got {
			if met == want[rule] {
				t.Errorf("%s: the script says of %s that it is met: %v; the server does not", password, rule, met)
			}
		}
	}
	v.Type("#new", "Tr0ub4dor&3-horse")
	v.Wait("the progress is told", `document.querySelector("#progress").textContent.includes(" rules met")`)
	v.looks("change-typing")
	v.Type("#confirm", "other")
	v.wantText("#match", "differ")
	v.Type("#confirm", "Tr0ub4dor&3-horse")
	v.wantText("#match", "are the same")
	var kind string
	v.Click("#new + .reveal")
	if v.Eval(`document.querySelector("#new").type`, &kind); kind != "text" {
		t.Errorf("a password that is to be shown is a field of type %s", kind)
	}
}

// withoutScript: the server does everything that the script would.
func withoutScript(t *testing.T, v visitor) {
	v.NoScript()
	v.signIn("nobody", right)
	v.wantText("#notice", "name or password is wrong")
	v.signIn("alice", "Xy7!-Plenty-Long")
	v.wantPath("/account")
	var shown bool
	if v.Open(v.url + "/change-password"); v.Text("#rules") == "" {
		t.Error("the rules are not shown")
	}
	if v.Eval(`[...document.querySelectorAll(".reveal")].some(e => e.offsetParent)`, &shown); shown {
		t.Error("a button is shown that does nothing without scripts")
	}
	v.change("Xy7!-Plenty-Long", "alice-short", "alice-short")
	v.wantText("#summary", "Neither your user name nor a part of your name")
	var broken int
	if v.Eval(`document.querySelectorAll("#rules .broken").length`, &broken); broken < 2 {
		t.Errorf("%d rules are marked as broken", broken)
	}
	v.looks("noscript-refused")
	v.Click(`#summary a[href="#new"]`)
	v.Wait("the summary's link leads to the field", `location.hash === "#new"`)
}

// looks checks a page as it stands, light and dark, and takes its picture.
func (v visitor) looks(name string) {
	v.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		// A colour on its way to another is neither.
		v.Media(map[string]string{"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"})
		for _, problem := range v.Problems() {
			v.t.Errorf("%s (%s): %s", name, scheme, problem)
		}
		v.Screenshot(fmt.Sprintf("%s-%s", name, scheme))
	}
	v.Media(nil)
}
