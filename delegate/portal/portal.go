package portal

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/store/secret"
)

// Directory knows users and passwords; *delegate.Validator implements it.
type Directory interface {
	Validate(ctx context.Context, username string, password secret.Bytes, client string) delegate.Verdict
	Change(ctx context.Context, username string, old, new secret.Bytes, client string) delegate.ChangeResult
	Password(ctx context.Context, username string) (delegate.PasswordInfo, error)
	Policies(ctx context.Context, username string) (delegate.Policies, error)
}

// Config describes a Portal. Directory and Log are required.
type Config struct {
	Directory Directory
	Log       *slog.Logger
	// ForHost reports whether the portal is reached under a host name or
	// address; nil: under every one.
	ForHost func(host string) bool
	Now     func() time.Time // nil: time.Now
}

//go:embed templates/*.html assets/*
var files embed.FS

// assetTypes are the files that pages load.
var assetTypes = map[string]string{
	"portal.css": "text/css; charset=utf-8",
	"portal.js":  "text/javascript; charset=utf-8",
	"icon.svg":   "image/svg+xml",
}

// Portal serves the pages. It is safe for concurrent use.
type Portal struct {
	cfg       Config
	languages languages
	sessions  *sessions
	signer    signer
	pages     map[string]*template.Template
	assets    string // the folder of this version's assets
	handler   http.Handler
}

// New makes a Portal; it has no parts that run on their own.
func New(cfg Config) (*Portal, error) {
	if cfg.Directory == nil || cfg.Log == nil {
		return nil, errors.New("portal config: Directory and Log are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Portal{cfg: cfg, languages: newLanguages(), sessions: newSessions(cfg.Now), signer: newSigner(), pages: make(map[string]*template.Template)}
	for _, name := range []string{"signin", "account", "change", "message"} {
		page, err := template.ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("portal pages: %w", err)
		}
		p.pages[name] = page
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(assetTypes)) {
		content, err := files.ReadFile("assets/" + name)
		if err != nil {
			return nil, fmt.Errorf("portal assets: %w", err)
		}
		sum.Write(content)
	}
	p.assets = "/assets/" + hex.EncodeToString(sum.Sum(nil)[:8]) + "/"
	p.handler = p.routes()
	return p, nil
}

func (p *Portal) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("GET /sign-in", p.signInPage)
	mux.HandleFunc("POST /sign-in", p.signIn)
	mux.HandleFunc("POST /sign-out", p.signOut)
	mux.HandleFunc("GET /signed-out", p.signedOut)
	mux.HandleFunc("GET /account", p.account)
	mux.HandleFunc("GET /account/copy", p.copied)
	mux.HandleFunc("GET /change-password", p.changePage)
	mux.HandleFunc("POST /change-password", p.change)
	mux.HandleFunc("GET "+p.assets+"{name}", p.asset)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { p.message(w, r, http.StatusNotFound, "not_found") })
	// Browsers say where a request comes from; the tokens of the forms hold for
	// those that do not.
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.message(w, r, http.StatusForbidden, "stale")
	}))
	return p.guarded(origin.Handler(mux))
}

// ServeHTTP serves a page.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// policy lets a page load nothing but the portal's own style, script and icon,
// and send its forms nowhere else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// guarded sets what holds for every answer, and refuses requests for hosts that
// the portal is not.
func (p *Portal) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		// With no-referrer a browser would send its forms with "Origin: null".
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		if p.cfg.ForHost != nil && !p.cfg.ForHost(hostOf(r)) {
			http.Error(w, "This server is not for that host name.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf is the host that a request is for, without port and brackets.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return strings.Trim(host, "[]")
}

// clientOf is the address of the browser.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (p *Portal) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	kind := assetTypes[name]
	if kind == "" {
		p.message(w, r, http.StatusNotFound, "not_found")
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // the path changes with the content
	http.ServeFileFS(w, r, files, path.Join("assets", name))
}

// page is what every template gets.
type page struct {
	*texts
	assets string

	Title   string // key of a text
	Failed  bool   // the page is about something that went wrong
	User    string // who is signed in; empty: nobody
	CSRF    string
	Reasons *reasonView
	Data    any
}

// Asset is the path of a file that the page loads.
func (p page) Asset(name string) string { return p.assets + name }

// render writes a page, or nothing but an error.
func (p *Portal) render(w http.ResponseWriter, r *http.Request, code int, name string, content page) {
	content.texts, content.assets = p.languages.of(r), p.assets
	var b bytes.Buffer
	if err := p.pages[name].ExecuteTemplate(&b, "layout", content); err != nil {
		p.cfg.Log.Error("page not made", "page", name, "err", err)
		http.Error(w, "The page cannot be shown. Please tell your administrator.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", content.Lang)
	h.Add("Vary", "Accept-Language")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // the browser is gone: nobody to tell
}

// message shows a page that only says something.
func (p *Portal) message(w http.ResponseWriter, r *http.Request, code int, what string) {
	p.render(w, r, code, "message", page{Title: what + ".title", Failed: code >= http.StatusBadRequest, Data: what})
}

// to sends the browser to another page of the portal. The target is never what
// a request says.
func to(w http.ResponseWriter, r *http.Request, path string) {
	http.Redirect(w, r, path, http.StatusSeeOther)
}

// body reads the fields of a form, or answers that it cannot.
func (p *Portal) body(w http.ResponseWriter, r *http.Request, fields ...string) (form, bool) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		p.message(w, r, http.StatusUnsupportedMediaType, "malformed")
		return nil, false
	}
	f, err := readForm(r.Body, append(fields, "token")...)
	switch {
	case errors.Is(err, errFormLarge):
		w.Header().Set("Connection", "close")
		p.message(w, r, http.StatusRequestEntityTooLarge, "malformed")
	case err != nil:
		p.message(w, r, http.StatusBadRequest, "malformed")
	}
	return f, err == nil
}

// current is the session of a browser.
func (p *Portal) current(r *http.Request) (id string, s session, ok bool) {
	id = cookie(r, cookieSession)
	if id == "" {
		return "", session{}, false
	}
	s, ok = p.sessions.find(id)
	return id, s, ok
}

// visit gives the visitor's cookie, and sets one if there is none.
func visit(w http.ResponseWriter, r *http.Request) string {
	v := cookie(r, cookieVisit)
	if len(v) != len(rand.Text()) {
		v = rand.Text()
		setCookie(w, cookieVisit, v)
	}
	return v
}
