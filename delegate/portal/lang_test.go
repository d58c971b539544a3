package portal

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/delegate"
)

// TestCatalogueIsComplete: every language has every text, with the same verbs,
// and the pages use no other.
func TestCatalogueIsComplete(t *testing.T) {
	verb := regexp.MustCompile(`%[a-z]`)
	l := newLanguages()
	first := l.all[0]
	for _, other := range l.all[1:] {
		for key, text := range first.words {
			translated, ok := other.words[key]
			if !ok {
				t.Errorf("%s lacks %q", other.Lang, key)
			}
			if !slices.Equal(verb.FindAllString(text, -1), verb.FindAllString(translated, -1)) {
				t.Errorf("%s: %q has other verbs: %q and %q", other.Lang, key, text, translated)
			}
		}
		if len(other.words) != len(first.words) {
			t.Errorf("%s has %d texts, %s has %d", other.Lang, len(other.words), first.Lang, len(first.words))
		}
	}
	used := regexp.MustCompile(`T "([^"%]+)"`)
	names, err := files.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := files.ReadFile("templates/" + name.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(text), -1) {
			if !first.Has(m[1]) {
				t.Errorf("%s uses %q, which is no text", name.Name(), m[1])
			}
		}
	}
	for _, reason := range []delegate.Reason{delegate.BadCredentials, delegate.Disabled, delegate.LockedOut, delegate.Expired, delegate.MustChange, delegate.AccountExpired,
		delegate.NotPermittedNow, delegate.DelegationPending, delegate.NotDelegated, delegate.PasswordPending, delegate.NoCloudLDAP, delegate.Throttled, delegate.Unavailable, delegate.NotSupported, delegate.NotRecorded, missing, ended, unsure} {
		for _, part := range []string{"title", "text", "next"} {
			if key := fmt.Sprintf("reason.%s.%s", reason, part); !first.Has(key) {
				t.Errorf("there is no %s", key)
			}
		}
	}
	for _, rule := range []delegate.Rule{delegate.RuleMinLength, delegate.RuleComplexity, delegate.RuleNameInside, delegate.RuleLowercase, delegate.RuleUppercase, delegate.RuleNumeric,
		delegate.RuleSymbolic, delegate.RuleSequential, delegate.RuleMinAge, delegate.RuleSame, delegate.RuleHistory, delegate.RuleCharacters, delegate.RuleMaxLength, ruleCommon} {
		if text := first.broken(delegate.Violation{Side: sideAD, Rule: rule, Limit: 3}); strings.ContainsAny(text, "[%") {
			t.Errorf("rule %s: %q", rule, text)
		}
	}
}

func TestLanguage(t *testing.T) {
	l := newLanguages()
	for accept, want := range map[string]string{"": "en", "de": "de", "de-AT,en;q=0.8": "de", "fr,de;q=0.5": "de", "fr": "en", "en-GB,de;q=0.9": "en", "*": "en", ";;,q=": "en"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Language", accept)
		if got := l.of(r).Lang; got != want {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
	}
	en, de := l.all[0], l.all[1]
	at := time.Date(2027, 3, 5, 23, 0, 0, 0, time.UTC)
	for got, want := range map[string]string{en.Date(at): "5 Mar 2027", de.Date(at): "5. März 2027", en.Span(time.Millisecond): "1 second", en.Span(61 * time.Second): "2 minutes",
		de.Span(24 * time.Hour): "1 Tag", en.Span(25 * time.Hour): "2 days"} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
