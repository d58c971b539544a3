package portal

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/store/identity"
)

// client is a browser as far as HTTP goes, which follows no redirects.
type client struct {
	t    *testing.T
	http *http.Client
	url  string
}

func newClient(t *testing.T, s *httptest.Server) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := *s.Client()
	h.Jar = jar
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{t, &h, s.URL}
}

type answer struct {
	*http.Response
	body string
}

func (c *client) do(r *http.Request) answer {
	c.t.Helper()
	res, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{res, string(b)}
}

func (c *client) request(method, path, body string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (c *client) get(path string) answer {
	c.t.Helper()
	return c.do(c.request(http.MethodGet, path, ""))
}

var sayToken = regexp.MustCompile(`name="token" value="([^"]*)"`)

// token is that of the form on a page.
func (c *client) token(path string) string {
	c.t.Helper()
	m := sayToken.FindStringSubmatch(c.get(path).body)
	if m == nil {
		c.t.Fatalf("%s has no form", path)
	}
	return m[1]
}

func (c *client) post(path, token string, fields ...string) answer {
	c.t.Helper()
	values := url.Values{"token": {token}}
	for i := 0; i < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return c.do(c.request(http.MethodPost, path, values.Encode()))
}

func (c *client) signIn(name, password string) answer {
	c.t.Helper()
	return c.post("/sign-in", c.token("/sign-in"), "username", name, "password", password)
}

func (c *client) session() string {
	at, _ := url.Parse(c.url)
	for _, k := range c.http.Jar.Cookies(at) {
		if k.Name == cookieSession {
			return k.Value
		}
	}
	return ""
}

func (a answer) want(t *testing.T, code int, location string) {
	t.Helper()
	if a.StatusCode != code || a.Header.Get("Location") != location {
		t.Errorf("%s %s: %d to %q, want %d to %q", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.Header.Get("Location"), code, location)
	}
}

// TestSession_OfAnotherUser: a session whose name is another user's by now shows
// that one to nobody.
func TestSession_OfAnotherUser(t *testing.T) {
	s, f := newServer(t)
	u := delegate.User{Username: "zoe", DisplayName: "Zoe Alone", JumpCloudID: "jc-zoe"}
	f.set(func(f *fake) {
		f.accounts["zoe"] = &account{user: u, password: right, authority: delegate.ByJumpCloud,
			info: delegate.PasswordInfo{User: u, Status: delegate.StatusActive, Authority: delegate.ByJumpCloud, ChangedAt: delegate.ByJumpCloud, InSync: true}}
	})
	c := newClient(t, s)
	c.signIn("zoe", right).want(t, http.StatusSeeOther, "/account")
	c.get("/account").want(t, http.StatusOK, "")
	c.get("/account/copy").want(t, http.StatusOK, "")
	f.set(func(f *fake) { f.accounts["zoe"].info.User.JumpCloudID = "jc-another" })
	c.get("/account/copy").want(t, http.StatusServiceUnavailable, "")
	c.get("/account").want(t, http.StatusSeeOther, "/sign-in")
	if c.session() != "" {
		t.Error("the session goes on")
	}
}

// TestD5_SignIn: where each verdict leads, and that whoever has the wrong
// password is told one thing of all accounts.
func TestD5_SignIn(t *testing.T) {
	s, f := newServer(t)
	for name, want := range map[string][2]string{
		"alice": {"/account", ""}, "dave": {"/change-password", ""}, "frank": {"/change-password", ""},
		"carol": {"/sign-in", "is disabled"}, "gone": {"/sign-in", "has ended"}, "erin": {"/sign-in", "is locked"}, "hurry": {"/sign-in", "Wait for 2 minutes"},
		"jcexpired": {"/sign-in", "kept by JumpCloud"}, "nobody": {"/sign-in", "name or password is wrong"}, "": {"/sign-in", "Something is missing"},
	} {
		c := newClient(t, s)
		c.signIn(name, right).want(t, http.StatusSeeOther, want[0])
		if (c.session() != "") != (want[1] == "") {
			t.Errorf("%s: the session is %q", name, c.session())
		}
		if page := c.get(want[0]).body; !strings.Contains(page, want[1]) {
			t.Errorf("%s: the page does not say %q:\n%s", name, want[1], page)
		}
		if want[1] != "" && strings.Contains(c.get("/sign-in").body, "role=\"alert\"") {
			t.Errorf("%s: the notice is shown twice", name)
		}
	}
	wrong := map[string]bool{}
	for _, name := range []string{"alice", "dave", "frank", "carol", "gone", "hours", "pending", "station", "nobody"} {
		c := newClient(t, s)
		c.signIn(name, "Wrong-Pässwörd1")
		page := c.get("/sign-in").body
		page = sayToken.ReplaceAllString(page, "")
		wrong[strings.ReplaceAll(page, `value="`+name+`"`, "")] = true
	}
	if len(wrong) != 1 {
		t.Errorf("with a wrong password there are %d different pages, want one", len(wrong))
	}
	for _, client := range f.clients {
		if client != "127.0.0.1" {
			t.Errorf("the throttle is told the address %q", client)
		}
	}
}

// TestHeaders: what every answer says to browsers.
func TestHeaders(t *testing.T) {
	s, _ := newServer(t, func(c *Config) { c.ForHost = func(host string) bool { return host == "127.0.0.1" } })
	c := newClient(t, s)
	page := c.get("/sign-in")
	asset := regexp.MustCompile(`/assets/[0-9a-f]{16}/portal\.css`).FindString(page.body)
	for _, path := range []string{"/", "/sign-in", "/signed-out", "/no-such-page", asset} {
		h := c.get(path).Header
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "Cross-Origin-Opener-Policy": "same-origin", "Referrer-Policy": "same-origin",
			"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s: %q, want %q", path, name, h.Get(name), want)
			}
		}
		if cached := h.Get("Cache-Control"); (cached == "no-store") == (path == asset) {
			t.Errorf("%s: Cache-Control: %s", path, cached)
		}
	}
	if strings.Contains(page.body, "style=") || regexp.MustCompile(`<script[^>]*>[^<]|\son[a-z]+=`).MatchString(page.body) {
		t.Error("a page has an inline style or script")
	}
	r := c.request(http.MethodGet, "/sign-in", "")
	r.Host = "elsewhere.example"
	c.do(r).want(t, http.StatusMisdirectedRequest, "")
}

// TestForgedRequests: none of them reaches the directory.
func TestForgedRequests(t *testing.T) {
	s, f := newServer(t)
	const form = "username=alice&password=x"
	for name, tt := range map[string]struct {
		code int
		make func(c *client) *http.Request
	}{
		"no token": {http.StatusForbidden, func(c *client) *http.Request { c.get("/sign-in"); return c.request("POST", "/sign-in", form) }},
		"another visitor's token": {http.StatusForbidden, func(c *client) *http.Request {
			c.get("/sign-in")
			return c.request("POST", "/sign-in", form+"&token="+newClient(t, s).token("/sign-in"))
		}},
		"no cookie": {http.StatusForbidden, func(c *client) *http.Request {
			return c.request("POST", "/sign-in", form+"&token="+newClient(t, s).token("/sign-in"))
		}},
		"cross-site": {http.StatusForbidden, func(c *client) *http.Request {
			r := c.request("POST", "/sign-in", form+"&token="+c.token("/sign-in"))
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			return r
		}},
		"another origin": {http.StatusForbidden, func(c *client) *http.Request {
			r := c.request("POST", "/sign-in", form+"&token="+c.token("/sign-in"))
			r.Header.Set("Origin", "https://elsewhere.example")
			return r
		}},
		"too large": {http.StatusRequestEntityTooLarge, func(c *client) *http.Request {
			return c.request("POST", "/sign-in", "username="+strings.Repeat("a", maxForm))
		}},
		"unknown field":   {http.StatusBadRequest, func(c *client) *http.Request { return c.request("POST", "/sign-in", form+"&next=https://x") }},
		"field twice":     {http.StatusBadRequest, func(c *client) *http.Request { return c.request("POST", "/sign-in", form+"&username=bob") }},
		"broken escape":   {http.StatusBadRequest, func(c *client) *http.Request { return c.request("POST", "/sign-in", "username=%zz") }},
		"password in URL": {http.StatusNotFound, func(c *client) *http.Request { return c.request("GET", "/sign-out?"+form, "") }},
		"JSON": {http.StatusUnsupportedMediaType, func(c *client) *http.Request {
			r := c.request("POST", "/sign-in", "{}")
			r.Header.Set("Content-Type", "application/json")
			return r
		}},
	} {
		c := newClient(t, s)
		if got := c.do(tt.make(c)); got.StatusCode != tt.code {
			t.Errorf("%s: %d, want %d", name, got.StatusCode, tt.code)
		}
	}
	if len(f.clients) > 0 {
		t.Errorf("%d forged requests reached the directory", len(f.clients))
	}
}

// TestSession: identifiers change, end, and stop what they should.
func TestSession(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	s, _ := newServer(t, func(c *Config) { c.Now = func() time.Time { return now } })
	c := newClient(t, s)
	c.get("/account").want(t, http.StatusSeeOther, "/sign-in")
	c.signIn("alice", right)
	first := c.session()
	if len(first) < 26 {
		t.Errorf("the identifier %q is short", first)
	}
	c.get("/account").want(t, http.StatusOK, "")
	c.get("/sign-in").want(t, http.StatusSeeOther, "/account")

	c.post("/change-password", "forged", "current", right, "new", "x", "confirm", "x").want(t, http.StatusForbidden, "")
	c.post("/sign-out", "forged").want(t, http.StatusForbidden, "")
	c.get("/account").want(t, http.StatusOK, "")

	t.Run("a change ends the other sessions and renews this one", func(t *testing.T) {
		other := newClient(t, s)
		other.signIn("alice", right)
		c.post("/change-password", c.token("/change-password"), "current", right, "new", "Xy7!-Plenty-Long", "confirm", "Xy7!-Plenty-Long").want(t, http.StatusSeeOther, "/account")
		if c.session() == first {
			t.Error("the identifier is the same after a change")
		}
		c.get("/account").want(t, http.StatusOK, "")
		other.get("/account").want(t, http.StatusSeeOther, "/sign-in")
		if page := other.get("/sign-in").body; !strings.Contains(page, "were signed out") {
			t.Errorf("the other browser is not told why:\n%s", page)
		}
	})
	t.Run("sign-out", func(t *testing.T) {
		id := c.session()
		c.post("/sign-out", c.token("/account")).want(t, http.StatusSeeOther, "/signed-out")
		at, _ := url.Parse(c.url)
		c.http.Jar.SetCookies(at, []*http.Cookie{{Name: cookieSession, Value: id, Path: "/", Secure: true}})
		c.get("/account").want(t, http.StatusSeeOther, "/sign-in")
	})
	t.Run("idle and absolute end", func(t *testing.T) {
		c := newClient(t, s)
		c.signIn("alice", "Xy7!-Plenty-Long")
		start := now
		for now.Sub(start) < sessionLife-sessionIdle {
			now = now.Add(sessionIdle - time.Second)
			c.get("/account").want(t, http.StatusOK, "")
		}
		now = start.Add(sessionLife)
		c.get("/account").want(t, http.StatusSeeOther, "/sign-in")
		c.signIn("alice", "Xy7!-Plenty-Long")
		now = now.Add(sessionIdle)
		c.get("/account").want(t, http.StatusSeeOther, "/sign-in")
	})
	t.Run("who must change the password can do nothing else", func(t *testing.T) {
		c := newClient(t, s)
		c.signIn("dave", right)
		c.get("/account").want(t, http.StatusSeeOther, "/change-password")
		c.get("/account/copy").want(t, http.StatusUnauthorized, "")
		now = now.Add(sessionMustLife - time.Second)
		c.get("/change-password").want(t, http.StatusOK, "")
		now = now.Add(time.Second)
		c.get("/change-password").want(t, http.StatusSeeOther, "/sign-in")
	})
}

// TestSessionsAreBounded, those of one account and all of them.
func TestSessionsAreBounded(t *testing.T) {
	now := time.Now()
	l := newSessions(func() time.Time { now = now.Add(time.Millisecond); return now })
	var mine []string
	for range maxSessionsPerUser + 1 {
		mine = append(mine, l.start("", session{user: delegate.User{GUID: identity.GUID{1}}}))
	}
	if _, ok := l.find(mine[0]); ok || len(l.open) != maxSessionsPerUser {
		t.Errorf("an account has %d sessions, the oldest among them: %v", len(l.open), ok)
	}
	for id := range l.open {
		if string(id[:]) == mine[1] {
			t.Error("the identifier itself is kept")
		}
	}
}

// TestD4_Change: what each answer to a change leads to.
func TestD4_Change(t *testing.T) {
	s, f := newServer(t)
	for name, tt := range map[string]struct {
		result   delegate.ChangeResult
		location string
		says     string
	}{
		"policy of AD": {delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.PolicyRefused,
			Violations: []delegate.Violation{{Side: identity.AD, Rule: delegate.RuleHistory}}}, "/change-password", "used before"},
		"policy of JumpCloud": {delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.PolicyRefused,
			Violations: []delegate.Violation{{Side: identity.JumpCloud, Rule: delegate.RuleMinLength, Limit: 20}}}, "/change-password", "JumpCloud: At least 20 characters"},
		"too young": {delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.PolicyRefused,
			Violations: []delegate.Violation{{Side: identity.AD, Rule: delegate.RuleMinAge, Limit: 86400}}}, "/change-password", "at least 1 day old"},
		"wrong":         {delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.BadCredentials}, "/change-password", "present password is not right"},
		"not AD's":      {delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.NotSupported}, "/change-password", "kept by JumpCloud"},
		"disk full":     {delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.NotRecorded}, "/change-password", "no room to record"},
		"not permitted": {delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.NotPermittedNow}, "/change-password", "may not do this now"},
		"away":          {delegate.ChangeResult{Outcome: delegate.ChangeUnknown, Reason: delegate.Unavailable}, "/change-password", "does not answer"},
		"throttled":     {delegate.ChangeResult{Outcome: delegate.ChangeUnknown, Reason: delegate.Throttled, RetryAfter: 2 * time.Hour}, "/change-password", "Wait for 2 hours"},
		"no answer":     {delegate.ChangeResult{Outcome: delegate.ChangeUnknown, Reason: delegate.Unavailable, Sent: true}, "/sign-in", "may or may not have worked"},
		"locked":        {delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.LockedOut}, "/sign-in", "is locked"},
		"disabled":      {delegate.ChangeResult{Outcome: delegate.ChangeRefused, Reason: delegate.Disabled}, "/sign-in", "is disabled"},
		"with a warning": {delegate.ChangeResult{Outcome: delegate.Changed,
			Warnings: []delegate.Violation{{Side: identity.JumpCloud, Rule: delegate.RuleSymbolic}}}, "/account", "A symbol, such as"},
	} {
		f.set(func(f *fake) { f.accounts["alice"].change = &tt.result })
		c := newClient(t, s)
		c.signIn("alice", right)
		c.post("/change-password", c.token("/change-password"), "username", "alice", "current", right, "new", "a", "confirm", "a").want(t, http.StatusSeeOther, tt.location)
		if page := c.get(tt.location).body; !strings.Contains(page, tt.says) {
			t.Errorf("%s: the page does not say %q:\n%s", name, tt.says, page)
		}
	}
}

// TestRulesOfATemporaryPassword: AD asks for no age of one, so the page does not.
func TestRulesOfATemporaryPassword(t *testing.T) {
	s, f := newServer(t)
	for name, want := range map[string]bool{"dave": false, "frank": true} {
		c := newClient(t, s)
		c.signIn(name, right)
		if page := c.get("/change-password").body; strings.Contains(page, "1 day old") != want || !strings.Contains(page, "At least 8 characters") {
			t.Errorf("%s: the minimum age is shown: %v, want %v", name, !want, want)
		}
	}
	if f.policies.AD.MinAge == 0 {
		t.Error("the directory's own policy was changed")
	}
}

// TestNotesCannotBeForged: what a page says comes from the portal.
func TestNotesCannotBeForged(t *testing.T) {
	now := time.Now()
	sign := newSigner()
	good := sign.seal(note{Reason: delegate.LockedOut, Name: "alice", At: now})
	if n := sign.unseal(good, now); n == nil || n.Reason != delegate.LockedOut || n.Name != "alice" {
		t.Fatalf("got %+v", n)
	}
	for name, value := range map[string]string{"": "", "no mac": good[:strings.Index(good, ".")], "changed": "A" + good[1:], "another key": newSigner().seal(note{At: now})} {
		if sign.unseal(value, now) != nil {
			t.Errorf("%s: taken", name)
		}
	}
	if sign.unseal(good, now.Add(noteLife+time.Second)) != nil {
		t.Error("an old note is taken")
	}
}

// TestOverHTTP2 as browsers ask: the cookies and tokens work there too.
func TestOverHTTP2(t *testing.T) {
	p, _ := newServer(t)
	s := httptest.NewUnstartedServer(p.Config.Handler)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c := newClient(t, s)
	res := c.signIn("alice", right)
	res.want(t, http.StatusSeeOther, "/account")
	if res.ProtoMajor != 2 || res.TLS.Version < tls.VersionTLS12 {
		t.Errorf("spoken over %s", res.Proto)
	}
}
