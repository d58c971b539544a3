package browser

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Page is a tab with cookies of its own.
type Page struct {
	b       *Browser
	tb      testing.TB
	session string
	loaded  chan struct{}
}

// NewPage opens a tab that shares nothing with others.
func (b *Browser) NewPage(tb testing.TB) *Page {
	tb.Helper()
	p := &Page{b: b, tb: tb, loaded: make(chan struct{}, 1)}
	var context struct{ BrowserContextID string }
	p.get(&context, "Target.createBrowserContext", nil)
	var target struct{ TargetID string }
	p.get(&target, "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": context.BrowserContextID})
	var attached struct{ SessionID string }
	p.get(&attached, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true})
	p.session = attached.SessionID
	b.mu.Lock()
	b.loaded[p.session] = p.loaded
	b.mu.Unlock()
	p.Do("Page.enable", nil)
	p.Do("Network.enable", nil)
	p.Size(1280, 900)
	p.Language("en-US,en")
	return p
}

// get makes a call and reads its result.
func (p *Page) get(into any, method string, params any) {
	p.tb.Helper()
	result, err := p.b.call(p.session, method, params)
	if err == nil && into != nil {
		err = json.Unmarshal(result, into)
	}
	if err != nil {
		p.tb.Fatal("browser:", err)
	}
}

// Do makes any call of the protocol.
func (p *Page) Do(method string, params any) {
	p.tb.Helper()
	p.get(nil, method, params)
}

// Size sets the window's size in CSS pixels.
func (p *Page) Size(width, height int) {
	p.tb.Helper()
	p.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
}

// Media sets media features, such as prefers-color-scheme.
func (p *Page) Media(features map[string]string) {
	p.tb.Helper()
	list := []map[string]string{}
	for name, value := range features {
		list = append(list, map[string]string{"name": name, "value": value})
	}
	p.Do("Emulation.setEmulatedMedia", map[string]any{"features": list})
}

// Language sets the Accept-Language field.
func (p *Page) Language(accept string) {
	p.tb.Helper()
	p.Do("Network.setExtraHTTPHeaders", map[string]any{"headers": map[string]string{"Accept-Language": accept}})
}

// NoScript keeps pages from running scripts; [Page.Eval] goes on working.
func (p *Page) NoScript() {
	p.tb.Helper()
	p.Do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
}

// Open loads a page.
func (p *Page) Open(url string) {
	p.tb.Helper()
	p.load(func() {
		var result struct{ ErrorText string }
		p.get(&result, "Page.navigate", map[string]any{"url": url})
		if result.ErrorText != "" {
			p.tb.Fatalf("browser: open %s: %s", url, result.ErrorText)
		}
	})
}

// load waits until what do begins has loaded a page.
func (p *Page) load(do func()) {
	p.tb.Helper()
	select {
	case <-p.loaded:
	default:
	}
	do()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.loaded:
	case <-p.b.done:
		p.tb.Fatal("browser: it has ended")
	case <-timer.C:
		p.tb.Fatalf("browser: no page was loaded; it shows:\n%s", p.Text("body"))
	}
}

// Eval evaluates an expression of JavaScript, a promise too, into a value.
func (p *Page) Eval(expression string, into any) {
	p.tb.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.get(&answer, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true})
	if d := answer.ExceptionDetails; d != nil {
		p.tb.Fatalf("browser: %s: %s %s", expression, d.Text, d.Exception.Description)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer.Result.Value, into); err != nil {
		p.tb.Fatalf("browser: %s gave %s: %v", expression, answer.Result.Value, err)
	}
}

// quote is a string of JavaScript.
func quote(text string) string {
	b, _ := json.Marshal(text) // a string cannot fail
	return string(b)
}

// Text is what an element shows; empty when there is none.
func (p *Page) Text(selector string) (text string) {
	p.tb.Helper()
	p.Eval("document.querySelector("+quote(selector)+")?.innerText ?? ''", &text)
	return text
}

// Path is the path and query of the page.
func (p *Page) Path() (path string) {
	p.tb.Helper()
	p.Eval("location.pathname + location.search", &path)
	return path
}

// Focused is the id, or else the text, of what has the focus.
func (p *Page) Focused() (id string) {
	p.tb.Helper()
	p.Eval("document.activeElement.id || document.activeElement.innerText || ''", &id)
	return strings.TrimSpace(id)
}

// Wait waits until an expression is true.
func (p *Page) Wait(what, expression string) {
	p.tb.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // another process
		var ok bool
		if p.Eval("Boolean("+expression+")", &ok); ok {
			return
		}
		if time.Now().After(until) {
			p.tb.Fatalf("browser: not within %s: %s; it shows:\n%s", patience, what, p.Text("body"))
		}
	}
}

// Type puts text into a field as a keyboard does, in place of what is there.
func (p *Page) Type(selector, text string) {
	p.tb.Helper()
	var found bool
	p.Eval("(e => { if (!e) return false; e.focus(); if (e.select) e.select(); return true })(document.querySelector("+quote(selector)+"))", &found)
	if !found {
		p.tb.Fatalf("browser: type into %s: there is no such field in:\n%s", selector, p.Text("body"))
	}
	p.Do("Input.insertText", map[string]any{"text": text})
}

// keys are the named keys that tests press.
var keys = map[string]struct {
	code int
	text string
}{"Tab": {9, ""}, "Enter": {13, "\r"}, "Escape": {27, ""}, " ": {32, " "}}

// Press presses one key: a name of keys, with "Shift+" before it or not.
func (p *Page) Press(key string) {
	p.tb.Helper()
	name, shifted := strings.CutPrefix(key, "Shift+")
	k, ok := keys[name]
	if !ok {
		p.tb.Fatalf("browser: there is no key %q", key)
	}
	params := map[string]any{"key": name, "code": name, "windowsVirtualKeyCode": k.code, "text": k.text, "modifiers": 0}
	if shifted {
		params["modifiers"] = 8
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		params["type"] = kind
		p.Do("Input.dispatchKeyEvent", params)
	}
}

// Submit presses Enter in the field that has the focus, and waits for the page
// that follows.
func (p *Page) Submit() {
	p.tb.Helper()
	p.load(func() { p.Press("Enter") })
}

// Click clicks in the middle of an element.
func (p *Page) Click(selector string) {
	p.tb.Helper()
	var at *struct{ X, Y float64 }
	p.Eval("(e => { if (!e) return null; e.scrollIntoView({block: 'center', behavior: 'instant'}); const r = e.getBoundingClientRect(); return {X: r.x + r.width / 2, Y: r.y + r.height / 2} })(document.querySelector("+quote(selector)+"))", &at)
	if at == nil {
		p.tb.Fatalf("browser: click %s: there is no such element in:\n%s", selector, p.Text("body"))
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.Do("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1})
	}
}

// Follow clicks an element and waits for the page that follows.
func (p *Page) Follow(selector string) {
	p.tb.Helper()
	p.load(func() { p.Click(selector) })
}

// Cookie is what the browser keeps.
type Cookie struct {
	Name, Value, Domain, Path, SameSite string
	Secure, HTTPOnly, Session           bool
}

// Cookies are those of the page.
func (p *Page) Cookies() []Cookie {
	p.tb.Helper()
	var answer struct{ Cookies []Cookie }
	p.get(&answer, "Network.getCookies", nil)
	return answer.Cookies
}

// Screenshot writes the whole page as PNG into the folder that
// DIRGATE_SCREENSHOTS names; without it, nothing.
func (p *Page) Screenshot(name string) {
	p.tb.Helper()
	dir := os.Getenv("DIRGATE_SCREENSHOTS")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), p.Picture(), 0o644); err != nil {
		p.tb.Fatal(err)
	}
}

// Picture is the page as PNG.
func (p *Page) Picture() []byte {
	p.tb.Helper()
	var picture struct{ Data string }
	p.get(&picture, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true})
	png, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil {
		p.tb.Fatal("browser: screenshot:", err)
	}
	return png
}

// Ask makes any call of the protocol and gives its result.
func (p *Page) Ask(method string, params any) (result json.RawMessage) {
	p.tb.Helper()
	p.get(&result, method, params)
	return result
}
