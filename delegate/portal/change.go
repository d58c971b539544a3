package portal

import (
	"errors"
	"net/http"

	"github.com/dirgate/dirgate/delegate"
)

// changeView is what the page to change the password shows.
type changeView struct {
	Must   delegate.Reason // why it has to be changed; empty: it need not
	Groups []ruleGroup
	// Username and Name are for the script, which holds the password against
	// them, and for password managers.
	Username, Name string
	// Unknown: the rules cannot be shown now.
	Unknown bool
	Errors  []fieldError
	Broken  []ruleView // rules that the server found broken
}

// fieldError is an error of one field, by the field's id.
type fieldError struct{ Field, Text string }

// Of gives the error of a field.
func (v changeView) Of(field string) string {
	for _, e := range v.Errors {
		if e.Field == field {
			return e.Text
		}
	}
	return ""
}

func (p *Portal) changePage(w http.ResponseWriter, r *http.Request) {
	id, s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	t := p.languages.of(r)
	view := changeView{Must: s.must, Username: s.user.Username, Name: s.user.DisplayName}
	rules, err := p.cfg.Directory.Policies(r.Context(), s.name)
	switch {
	case errors.Is(err, delegate.ErrNoUser):
		p.leave(w, r, id, note{Reason: ended})
		return
	case err != nil:
		p.cfg.Log.Warn("password policies not shown", "err", err)
		view.Unknown = true
	}
	content := page{Title: "change.title", User: display(s.user), CSRF: s.csrf}
	n := p.sessions.take(id)
	if n != nil {
		content.Failed = true
		view.Broken = brokenRules(t, n.Broken)
		for _, field := range []string{"current", "new", "confirm"} {
			if key := n.Fields[field]; key != "" {
				view.Errors = append(view.Errors, fieldError{field, t.T(key)})
			}
		}
		if n.Reason != "" {
			content.Reasons = reasonOf(n.Reason, n.Authority, n.Wait)
		}
	}
	if s.must == delegate.MustChange && rules.AD != nil {
		own := *rules.AD
		own.MinAge = 0 // a temporary password may be changed at once
		rules.AD = &own
	}
	view.Groups = groupsOf(t, rules, n)
	content.Data = view
	p.render(w, r, http.StatusOK, "change", content)
}

func (p *Portal) change(w http.ResponseWriter, r *http.Request) {
	f, ok := p.body(w, r, "username", "current", "new", "confirm")
	if !ok {
		return
	}
	defer f.wipe()
	id, s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	if !same(f.text("token"), s.csrf) {
		p.message(w, r, http.StatusForbidden, "stale")
		return
	}
	if wrong := mistakes(f); len(wrong) > 0 {
		p.sessions.leave(id, note{Fields: wrong})
		to(w, r, "/change-password")
		return
	}
	p.changed(w, r, id, s, p.cfg.Directory.Change(r.Context(), s.name, f["current"], f["new"], clientOf(r)))
}

// mistakes are those that no directory need be asked about.
func mistakes(f form) map[string]string {
	wrong := make(map[string]string)
	if f["current"].IsEmpty() {
		wrong["current"] = "error.current_missing"
	}
	switch {
	case f["new"].IsEmpty():
		wrong["new"] = "error.new_missing"
	case !f["new"].Equal(f["confirm"]):
		wrong["confirm"] = "error.not_confirmed"
	}
	return wrong
}

// changed says what became of a change.
func (p *Portal) changed(w http.ResponseWriter, r *http.Request, id string, s session, res delegate.ChangeResult) {
	switch {
	case res.Outcome == delegate.Changed:
		p.sessions.endAllOf(s.owner())
		s.must, s.note = "", &note{Done: true, Warnings: res.Warnings}
		p.begin(w, r, s, "/account")
		return
	case res.Outcome == delegate.ChangeUnknown && res.Sent:
		// Which of the two passwords is right now, nobody knows here.
		p.sessions.endAllOf(s.owner())
		p.leave(w, r, id, note{Reason: unsure, Name: s.user.Username})
		return
	case res.Reason == delegate.BadCredentials:
		p.sessions.leave(id, note{Fields: map[string]string{"current": "error.current_wrong"}})
	case res.Reason == delegate.PolicyRefused:
		p.sessions.leave(id, note{Broken: res.Violations, Fields: map[string]string{"new": "error.rules"}})
	case res.Reason == delegate.LockedOut || res.Reason == delegate.Disabled || res.Reason == delegate.AccountExpired:
		p.leave(w, r, id, note{Reason: res.Reason, Authority: delegate.ByAD, Name: s.user.Username})
		return
	default:
		p.sessions.leave(id, note{Reason: res.Reason, Wait: res.RetryAfter})
	}
	to(w, r, "/change-password")
}
