package jcsim

import (
	"crypto/tls"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/go-ldap/ldap/v3"
	"github.com/jimlambrt/gldap"
)

// directoryFace is what gldap serves. The front hands over the requests of
// one connection one at a time.
type directoryFace struct {
	s *Server

	mu    sync.Mutex
	bound map[int]string // gldap's connection number: user id; guarded by mu
}

func (s *Server) startLDAP(addr string, conf *tls.Config) (*front, error) {
	face := &directoryFace{s: s, bound: make(map[int]string)}
	routes, err := gldap.NewMux()
	if err != nil {
		return nil, err
	}
	if err := routes.Bind(face.guard(face.bind)); err != nil {
		return nil, err
	}
	if err := routes.Search(face.guard(face.search)); err != nil {
		return nil, err
	}
	return startFront(addr, conf, s.log, routes, face.forget)
}

func (d *directoryFace) forget(conn int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.bound, conn)
}

// guard keeps a panic from ending the process: gldap runs handlers unguarded.
func (d *directoryFace) guard(handle gldap.HandlerFunc) gldap.HandlerFunc {
	return func(w *gldap.ResponseWriter, r *gldap.Request) {
		defer func() {
			if p := recover(); p != nil {
				d.s.log.Error("jumpcloud simulator: ldap handler panicked", "panic", p)
			}
		}()
		handle(w, r)
	}
}

func (d *directoryFace) bind(w *gldap.ResponseWriter, r *gldap.Request) {
	resp := r.NewBindResponse(gldap.WithResponseCode(int(ldapwire.ResultProtocolError)))
	defer func() { _ = w.Write(resp) }() // the client may be gone
	d.forget(r.ConnectionID())
	msg, err := r.GetSimpleBindMessage()
	if err != nil {
		return
	}
	password := secret.Take([]byte(msg.Password))
	defer password.Wipe()
	id, code, why := d.s.ldapBind(msg.UserName, password)
	resp.SetResultCode(int(code))
	resp.SetDiagnosticMessage(why)
	if code == ldapwire.ResultSuccess {
		d.mu.Lock()
		d.bound[r.ConnectionID()] = id
		d.mu.Unlock()
	}
}

// ldapBind checks a simple bind. The reason for invalidCredentials stays here,
// in the log.
func (s *Server) ldapBind(name string, password secret.Bytes) (id string, code ldapwire.ResultCode, why string) {
	switch {
	case name == "" && password.IsEmpty():
		return "", ldapwire.ResultInappropriateAuthentication, "anonymous bind is not allowed"
	case password.IsEmpty(): // RFC 4513 5.1.2
		return "", ldapwire.ResultUnwillingToPerform, "unauthenticated bind is not allowed"
	}
	dn, err := ldap.ParseDN(name)
	if err != nil {
		return "", ldapwire.ResultInvalidDNSyntax, "invalid DN"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, refused := s.authenticate(dn, password)
	if refused != "" {
		s.log.Debug("jumpcloud simulator: ldap bind refused", "dn", name, "why", refused)
		return "", ldapwire.ResultInvalidCredentials, ""
	}
	return u.id(), ldapwire.ResultSuccess, ""
}

func (s *Server) authenticate(dn *ldap.DN, password secret.Bytes) (u *user, refused string) {
	for _, other := range s.users {
		if own, err := ldap.ParseDN(s.UserDN(other.text("username"))); err == nil && own.EqualFold(dn) {
			u = other
		}
	}
	switch {
	case u == nil:
		return nil, "no such user"
	case !u.ldap:
		return nil, "not bound to the LDAP directory"
	case u.text("state") != "ACTIVATED":
		return nil, "user is " + u.text("state")
	case u.flag("account_locked"):
		return nil, "locked"
	case len(u.passwords) == 0:
		return nil, "has no password"
	case !u.passwords[len(u.passwords)-1].Equal(password):
		failures, _ := u.doc["badLoginAttempts"].(float64)
		u.doc["badLoginAttempts"] = failures + 1
		if s.policy.EnableMaxLoginAttempts && int(failures)+1 >= s.policy.MaxLoginAttempts {
			lock(u.doc, true, stamp(s.now()))
		}
		return nil, "wrong password"
	case u.expired(s.now()):
		return nil, "password has expired"
	}
	u.doc["badLoginAttempts"] = 0.0
	return u, ""
}

// entry is an LDAP entry, its attributes in the order of answers.
type entry struct {
	dn    string
	attrs []attribute
}

type attribute struct {
	name   string
	values []string
}

func (e entry) values(name string) []string {
	for _, a := range e.attrs {
		if strings.EqualFold(a.name, name) {
			return a.values
		}
	}
	return nil
}

func (s *Server) rootDSE() entry {
	return entry{attrs: []attribute{
		{"objectClass", []string{"top"}},
		{"namingContexts", []string{"o=" + s.orgID + ",dc=jumpcloud,dc=com"}},
		{"supportedLDAPVersion", []string{"3"}},
		{"supportedControl", []string{ldapwire.OIDControlPagedResults}},
	}}
}

// entries are the organisation, the container and the users bound to the
// directory. The caller holds mu.
func (s *Server) entries() []entry {
	all := []entry{
		{"o=" + s.orgID + ",dc=jumpcloud,dc=com", []attribute{{"objectClass", []string{"top", "organization"}}, {"o", []string{s.orgID}}}},
		{s.BaseDN(), []attribute{{"objectClass", []string{"top", "organizationalUnit"}}, {"ou", []string{"Users"}}}},
	}
	for _, u := range s.users {
		if u.ldap {
			all = append(all, s.userEntry(u))
		}
	}
	return all
}

func (s *Server) userEntry(u *user) entry {
	name := u.text("username")
	full := strings.TrimSpace(u.text("firstname") + " " + u.text("lastname"))
	e := entry{dn: s.UserDN(name)}
	add := func(attr string, values ...string) {
		if values = slices.DeleteFunc(values, func(v string) bool { return v == "" }); len(values) > 0 {
			e.attrs = append(e.attrs, attribute{attr, values})
		}
	}
	add("objectClass", "top", "person", "organizationalPerson", "inetOrgPerson", "shadowAccount", "posixAccount", "jumpcloudUser")
	add("uid", name)
	add("cn", first(full, name))
	add("sn", first(u.text("lastname"), name))
	add("givenName", u.text("firstname"))
	add("mail", u.text("email"))
	add("uidNumber", plain(u.doc["unix_uid"]))
	add("gidNumber", plain(u.doc["unix_guid"]))
	add("homeDirectory", "/home/"+name)
	add("loginShell", "/bin/bash")
	if u.flag("ldap_binding_user") {
		add("jcLdapAdmin", "TRUE")
	}
	return e
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// found is what a search gives.
type found struct {
	entries []entry
	code    ldapwire.ResultCode
	why     string
	cookie  []byte // of the paged results control
}

func (d *directoryFace) search(w *gldap.ResponseWriter, r *gldap.Request) {
	done := r.NewSearchDoneResponse(gldap.WithResponseCode(int(ldapwire.ResultProtocolError)))
	defer func() { _ = w.Write(done) }() // the client may be gone
	msg, err := r.GetSearchMessage()
	if err != nil {
		return
	}
	d.mu.Lock()
	id := d.bound[r.ConnectionID()]
	d.mu.Unlock()
	paging := pagingOf(msg.Controls)
	result := d.s.ldapSearch(id, msg, paging)
	for _, e := range result.entries {
		answer := r.NewSearchResponseEntry(e.dn)
		for _, a := range wanted(e, msg.Attributes) {
			if msg.TypesOnly {
				a.values = nil
			}
			answer.AddAttribute(a.name, a.values)
		}
		if w.Write(answer) != nil {
			return
		}
	}
	done.SetResultCode(int(result.code))
	done.SetDiagnosticMessage(result.why)
	if paging != nil {
		// Size zero: the size of the result is not told (RFC 2696 section 2).
		done.SetControls(&gldap.ControlPaging{Cookie: result.cookie})
	}
}

func pagingOf(controls []gldap.Control) *gldap.ControlPaging {
	for _, c := range controls {
		if p, ok := c.(*gldap.ControlPaging); ok {
			return p
		}
	}
	return nil
}

// wanted are the attributes a search asks for (RFC 4511 4.5.1.8).
func wanted(e entry, names []string) []attribute {
	if len(names) == 0 || slices.Contains(names, "*") {
		return e.attrs
	}
	var list []attribute
	for _, a := range e.attrs {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, a.name) }) {
			list = append(list, a)
		}
	}
	return list
}

func (s *Server) ldapSearch(id string, msg *gldap.SearchMessage, paging *gldap.ControlPaging) found {
	s.mu.Lock()
	defer s.mu.Unlock()
	match, err := compileFilter(msg.Filter)
	if err != nil {
		return found{code: ldapwire.ResultProtocolError, why: "the filter cannot be read"}
	}
	if msg.BaseDN == "" && msg.Scope == gldap.BaseObject {
		return found{entries: []entry{s.rootDSE()}}
	}
	u := s.find(id)
	switch {
	case u == nil:
		return found{code: ldapwire.ResultInsufficientAccessRights, why: "bind first"}
	case !u.flag("ldap_binding_user"):
		return found{code: ldapwire.ResultInsufficientAccessRights, why: "the user is not an LDAP binding user"}
	}
	base, err := ldap.ParseDN(msg.BaseDN)
	if err != nil {
		return found{code: ldapwire.ResultInvalidDNSyntax, why: "invalid DN"}
	}
	return limited(s.below(base, msg.Scope, match), msg.SizeLimit, paging)
}

// below gives the matching entries in scope.
func (s *Server) below(base *ldap.DN, scope gldap.Scope, match matcher) found {
	var hits []entry
	exists := false
	for _, e := range s.entries() {
		dn, err := ldap.ParseDN(e.dn)
		if err != nil {
			continue // usernames are of a form that parses
		}
		depth := len(dn.RDNs) - len(base.RDNs)
		self := dn.EqualFold(base)
		under := base.AncestorOfFold(dn)
		exists = exists || self
		inScope := self && scope != gldap.SingleLevel || under && (scope == gldap.WholeSubtree || scope == gldap.SingleLevel && depth == 1)
		if inScope && match(e) == isTrue {
			hits = append(hits, e)
		}
	}
	if !exists {
		return found{code: ldapwire.ResultNoSuchObject}
	}
	return found{entries: hits}
}

// limited cuts a result to a page and to the size limit. The cookie is the
// offset of the next page.
func limited(all found, size int64, paging *gldap.ControlPaging) found {
	if all.code != ldapwire.ResultSuccess {
		return all
	}
	if paging != nil {
		offset, err := strconv.Atoi(string(paging.Cookie))
		if len(paging.Cookie) > 0 && (err != nil || offset < 0 || offset > len(all.entries)) {
			return found{code: ldapwire.ResultUnwillingToPerform, why: "the cookie is not known"}
		}
		end := min(len(all.entries), offset+int(paging.PagingSize))
		if end < len(all.entries) && paging.PagingSize > 0 {
			all.cookie = []byte(strconv.Itoa(end))
		}
		all.entries = all.entries[offset:end]
	}
	if size > 0 && int64(len(all.entries)) > size {
		all.entries, all.code = all.entries[:size], ldapwire.ResultSizeLimitExceeded
	}
	return all
}
