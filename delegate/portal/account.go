package portal

import (
	"errors"
	"net/http"
	"time"

	"github.com/dirgate/dirgate/delegate"
)

// accountView is what the page of the password's status shows.
type accountView struct {
	Status delegate.PasswordStatus
	// Tone colours the status: good, warn or bad.
	Tone string
	Info delegate.PasswordInfo
	// Copy is whether JumpCloud has the password: has, waiting or none.
	Copy     string
	Days     int // until it expires
	Soon     bool
	Changed  bool // just now
	Warnings []ruleView
	Unknown  bool // nothing is known at the moment
}

// expiresSoon is from when on the page says more about it.
const expiresSoon = 14 * 24 * time.Hour

func (p *Portal) account(w http.ResponseWriter, r *http.Request) {
	id, s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	if s.must != "" {
		to(w, r, "/change-password")
		return
	}
	info, err := p.cfg.Directory.Password(r.Context(), s.name)
	// Deleted meanwhile, or, of JumpCloud alone, renamed: another may have the
	// name now.
	if errors.Is(err, delegate.ErrNoUser) || err == nil && !s.is(info.User) {
		p.leave(w, r, id, note{Reason: ended})
		return
	}
	n := p.sessions.take(id)
	if n == nil {
		n = new(note)
	}
	view := accountView{Unknown: true}
	if err != nil {
		p.cfg.Log.Warn("password status not shown", "err", err)
	} else {
		view = viewOf(info, n.Done, p.cfg.Now())
	}
	view.Changed, view.Warnings = n.Done, brokenRules(p.languages.of(r), n.Warnings)
	content := page{Title: "account.title", User: display(s.user), CSRF: s.csrf}
	content.Data = view
	p.render(w, r, http.StatusOK, "account", content)
}

// viewOf is pure; changed: the password was, just now.
func viewOf(info delegate.PasswordInfo, changed bool, now time.Time) accountView {
	v := accountView{Status: info.Status, Info: info, Tone: "good", Copy: "none"}
	switch info.Status {
	case delegate.StatusLocked, delegate.StatusExpired:
		v.Tone = "bad"
	case delegate.StatusPending:
		v.Tone = "warn"
	}
	if info.User.JumpCloudID != "" {
		v.Copy = "waiting"
		// Who was let in by JumpCloud has shown that it has the password.
		if info.InSync || info.ChangedAt == delegate.ByJumpCloud || info.Authority == delegate.ByJumpCloud && !changed {
			v.Copy = "has"
		}
	}
	if !info.ExpiresAt.IsZero() {
		left := info.ExpiresAt.Sub(now)
		v.Days = max(0, int(left/(24*time.Hour)))
		v.Soon = left > 0 && left <= expiresSoon
		if v.Soon && v.Tone == "good" {
			v.Tone = "warn"
		}
	}
	return v
}

// copied answers the page's script: has JumpCloud got the password?
func (p *Portal) copied(w http.ResponseWriter, r *http.Request) {
	_, s, ok := p.current(r)
	if !ok || s.must != "" {
		http.Error(w, "signed out", http.StatusUnauthorized)
		return
	}
	info, err := p.cfg.Directory.Password(r.Context(), s.name)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case err != nil || !s.is(info.User):
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("{}\n"))
	case info.InSync:
		_, _ = w.Write([]byte("{\"inSync\":true}\n"))
	default:
		_, _ = w.Write([]byte("{\"inSync\":false}\n"))
	}
}
