package portal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/dirgate/dirgate/delegate"
)

// Names of the cookies. __Host- makes browsers take them only over TLS, for
// this host alone and every path (RFC 6265bis 4.1.3.2).
const (
	cookieSession = "__Host-dirgate-session"
	cookieVisit   = "__Host-dirgate-visit" // of who has not signed in
	cookieNote    = "__Host-dirgate-note"  // for the next page
)

// note is what a request leaves for the page that follows it, so that no
// answer to a POST is a page: such a page, loaded again, would send the
// password again.
type note struct {
	Reason    delegate.Reason      `json:"r,omitempty"`
	Authority delegate.Authority   `json:"a,omitempty"`
	Wait      time.Duration        `json:"w,omitempty"`
	Name      string               `json:"n,omitempty"` // as typed
	Fields    map[string]string    `json:"-"`           // field -> key of its error
	Broken    []delegate.Violation `json:"-"`
	Warnings  []delegate.Violation `json:"-"`
	Sent      bool                 `json:"-"`
	At        time.Time            `json:"t"`
	Done      bool                 `json:"-"` // the password was changed
}

// noteLife is how long a browser may take to ask for the next page.
const noteLife = time.Minute

// setCookie sets a cookie that ends with the browser's session, or at once.
func setCookie(w http.ResponseWriter, name, value string) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// signer makes and checks values that need not be remembered.
type signer struct{ key []byte }

func newSigner() signer {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return signer{key}
}

func (s signer) mac(purpose, text string) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(purpose + "\x00" + text))
	return m.Sum(nil)
}

// visitToken is the token that a form for a visitor carries: nobody can make it
// without the visitor's cookie and the key.
func (s signer) visitToken(visit string) string {
	return base64.RawURLEncoding.EncodeToString(s.mac("visit", visit))
}

func (s signer) seal(n note) string {
	text, err := json.Marshal(n)
	if err != nil { // no field of it can fail
		return ""
	}
	body := base64.RawURLEncoding.EncodeToString(text)
	return body + "." + base64.RawURLEncoding.EncodeToString(s.mac("note", body))
}

func (s signer) unseal(value string, now time.Time) *note {
	body, mac, _ := strings.Cut(value, ".")
	sum, err := base64.RawURLEncoding.DecodeString(mac)
	if err != nil || !hmac.Equal(sum, s.mac("note", body)) {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(body)
	n := new(note)
	if err != nil || json.Unmarshal(text, n) != nil || now.Sub(n.At) > noteLife || n.At.After(now) {
		return nil
	}
	return n
}
