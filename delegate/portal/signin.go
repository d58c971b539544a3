package portal

import (
	"cmp"
	"crypto/subtle"
	"net/http"
	"time"

	"github.com/dirgate/dirgate/delegate"
)

func (p *Portal) home(w http.ResponseWriter, r *http.Request) {
	switch _, s, ok := p.current(r); {
	case !ok:
		to(w, r, "/sign-in")
	case s.must != "":
		to(w, r, "/change-password")
	default:
		to(w, r, "/account")
	}
}

// signInView is what the sign-in page shows.
type signInView struct {
	Name string // as typed before
	// Retry: the form is there to try again with.
	Retry bool
	// Field and Wrong: the fields are to blame.
	Wrong bool
}

func (p *Portal) signInPage(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := p.current(r); ok {
		p.home(w, r)
		return
	}
	content := page{Title: "signin.title", CSRF: p.signer.visitToken(visit(w, r))}
	view := signInView{Retry: true}
	if sealed := cookie(r, cookieNote); sealed != "" {
		setCookie(w, cookieNote, "")
		if n := p.signer.unseal(sealed, p.cfg.Now()); n != nil {
			content.Failed, content.Reasons = true, reasonOf(n.Reason, n.Authority, n.Wait)
			view = signInView{Name: n.Name, Retry: mayRetry(n.Reason), Wrong: n.Reason == delegate.BadCredentials || n.Reason == missing}
		}
	}
	content.Data = view
	p.render(w, r, http.StatusOK, "signin", content)
}

// Reasons of the portal's own.
const (
	missing delegate.Reason = "missing" // a field was left empty
	ended   delegate.Reason = "ended"   // the session is over
	unsure  delegate.Reason = "unsure"  // no answer came to a change
)

// mayRetry: typing name and password again can help.
func mayRetry(reason delegate.Reason) bool {
	switch reason {
	case delegate.BadCredentials, delegate.LockedOut, delegate.Throttled, delegate.Unavailable, delegate.PasswordPending, delegate.NoCloudLDAP,
		missing, ended, unsure:
		return true
	}
	return false
}

// told is what the portal tells of a verdict. Whoever does not know the
// password learns nothing but that, and that an account is locked; see the
// package comment.
func told(v delegate.Verdict) delegate.Reason {
	switch {
	case v.PasswordCorrect, v.Verdict == delegate.Undecided, v.Reason == delegate.LockedOut:
		return v.Reason
	}
	return delegate.BadCredentials
}

func (p *Portal) signIn(w http.ResponseWriter, r *http.Request) {
	f, ok := p.body(w, r, "username", "password")
	if !ok {
		return
	}
	defer f.wipe()
	known := cookie(r, cookieVisit)
	if known == "" || !same(f.text("token"), p.signer.visitToken(known)) {
		p.message(w, r, http.StatusForbidden, "stale")
		return
	}
	name := f.text("username")
	if name == "" || f["password"].IsEmpty() {
		p.refuse(w, r, note{Reason: missing, Name: name})
		return
	}
	v := p.cfg.Directory.Validate(r.Context(), name, f["password"], clientOf(r))
	s := session{name: name}
	if v.User != nil {
		s.user, s.name = *v.User, nameOf(*v.User, name)
	}
	switch {
	case v.Verdict == delegate.Accepted:
		p.begin(w, r, s, "/account")
	case v.Verdict == delegate.Refused && v.PasswordCorrect && v.Authority == delegate.ByAD && (v.Reason == delegate.Expired || v.Reason == delegate.MustChange):
		s.must = v.Reason
		p.begin(w, r, s, "/change-password")
	default:
		p.refuse(w, r, note{Reason: told(v), Authority: v.Authority, Wait: v.RetryAfter, Name: name})
	}
}

// nameOf is what the Directory is asked by: the account, however it is called or
// moved meanwhile, or, of users of JumpCloud alone, the name that was typed.
func nameOf(u delegate.User, typed string) string {
	if u.GUID.IsZero() {
		return typed
	}
	return "<GUID=" + u.GUID.String() + ">"
}

// begin opens a session. The visitor's cookie ends, so that its token is good
// for nothing any more.
func (p *Portal) begin(w http.ResponseWriter, r *http.Request, s session, path string) (id string) {
	id = p.sessions.start(cookie(r, cookieSession), s)
	setCookie(w, cookieSession, id)
	setCookie(w, cookieVisit, "")
	to(w, r, path)
	return id
}

// refuse sends the browser back to the sign-in page, with what to say there.
func (p *Portal) refuse(w http.ResponseWriter, r *http.Request, n note) {
	n.At = p.cfg.Now()
	if len(n.Name) > delegate.MaxName {
		n.Name = "" // nobody's, and too long for a cookie
	}
	setCookie(w, cookieNote, p.signer.seal(n))
	to(w, r, "/sign-in")
}

// leave ends a session and says why.
func (p *Portal) leave(w http.ResponseWriter, r *http.Request, id string, n note) {
	p.sessions.end(id)
	setCookie(w, cookieSession, "")
	p.refuse(w, r, n)
}

func (p *Portal) signOut(w http.ResponseWriter, r *http.Request) {
	f, ok := p.body(w, r)
	if !ok {
		return
	}
	defer f.wipe()
	if id, s, ok := p.current(r); ok {
		if !same(f.text("token"), s.csrf) {
			p.message(w, r, http.StatusForbidden, "stale")
			return
		}
		p.sessions.end(id)
	}
	setCookie(w, cookieSession, "")
	w.Header().Set("Clear-Site-Data", `"cache"`)
	to(w, r, "/signed-out")
}

func (p *Portal) signedOut(w http.ResponseWriter, r *http.Request) {
	p.message(w, r, http.StatusOK, "signed_out")
}

// same compares in constant time.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// signedIn gives the session of a request, or sends the browser to sign in.
func (p *Portal) signedIn(w http.ResponseWriter, r *http.Request) (id string, s session, ok bool) {
	had := cookie(r, cookieSession)
	id, s, ok = p.current(r)
	switch {
	case ok:
		return id, s, true
	case had != "":
		p.leave(w, r, had, note{Reason: ended})
	default:
		to(w, r, "/sign-in")
	}
	return "", session{}, false
}

// display is how a user is called.
func display(u delegate.User) string { return cmp.Or(u.DisplayName, u.Username, u.Mail) }

// soonest rounds a time to wait up to something that can be said.
func soonest(d time.Duration) time.Duration { return max(d, time.Second) }
