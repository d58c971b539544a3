package portal

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/dirgate/dirgate/delegate"
	"golang.org/x/text/language"
)

// texts are all the words of the portal in one language.
type texts struct {
	Lang string // BCP 47
	// months are their short names, and date is how a date is written: day,
	// month, year.
	months [12]string
	date   string
	words  map[string]string // with fmt's verbs
}

// languages is what the portal speaks; the first is taken where none fits.
type languages struct {
	all   []*texts
	match language.Matcher
}

func newLanguages() languages {
	l := languages{all: []*texts{english(), german()}}
	var tags []language.Tag
	for _, t := range l.all {
		tags = append(tags, language.MustParse(t.Lang))
	}
	l.match = language.NewMatcher(tags)
	return l
}

// of gives the language that suits a request's Accept-Language field (RFC 9110
// 12.5.4).
func (l languages) of(r *http.Request) *texts {
	_, at := language.MatchStrings(l.match, r.Header.Get("Accept-Language"))
	return l.all[at]
}

// T is a text; a key that is not there is shown, and a test finds it.
func (t *texts) T(key string, args ...any) string {
	text, ok := t.words[key]
	if !ok {
		return "[" + key + "]"
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// Has reports whether there is a text.
func (t *texts) Has(key string) bool { return t.words[key] != "" }

// Count is a text for a number: key.one or key.many.
func (t *texts) Count(key string, n int) string {
	if n == 1 {
		return t.T(key + ".one")
	}
	return t.T(key+".many", n)
}

// Date writes a day; the reader's time zone is not known here, and the page's
// script writes it again in that.
func (t *texts) Date(at time.Time) string {
	at = at.UTC()
	return fmt.Sprintf(t.date, at.Day(), t.months[at.Month()-1], at.Year())
}

// Machine is the date for the datetime attribute.
func (t *texts) Machine(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// Span writes a duration in its largest unit, rounded up.
func (t *texts) Span(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		key  string
	}{{24 * time.Hour, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}} {
		if d >= u.unit {
			return t.Count(u.key, int((d+u.unit-1)/u.unit))
		}
	}
	return t.Count("seconds", int((d+time.Second-1)/time.Second))
}

// rule is a rule of a side, to be read before the password is chosen.
func (t *texts) rule(side string, rule delegate.Rule, limit int) string {
	key := "rule." + string(rule)
	if t.Has(key + "." + side) {
		key += "." + side
	}
	switch rule {
	case delegate.RuleMinLength, delegate.RuleMaxLength, delegate.RuleHistory:
		return t.T(key, limit)
	case delegate.RuleMinAge:
		return t.T(key, t.Span(time.Duration(limit)*time.Second))
	}
	return t.T(key)
}

// broken says which rule a password breaks, after the directory said so. Of
// AD's own answer the limit is not known.
func (t *texts) broken(v delegate.Violation) string {
	key := "broken." + string(v.Rule)
	if t.Has(key) {
		return t.T(key)
	}
	return cmp.Or(t.rule(string(v.Side), v.Rule, v.Limit), v.Text)
}
