package gateway

import (
	"context"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// One endpoint serves several domains: each bind says by its name which one
// it is for (rule G3), and the session then works with a controller of that
// domain. What is searched is not looked at: a session that asks its domain
// for a name of another gets what AD says to that, a referral or noSuchObject.
// Without a bind the default domain answers, which is the first one.

// A route is where a bind goes, and under which name.
type route struct {
	domain *Domain
	name   string
	// unsure: the name looks like a mail address, or is a userPrincipalName
	// whose suffix nobody knows; looking it up may tell.
	unsure bool
}

// chooseRoute decides by the text of a bind name (MS-ADTS 5.1.1.1.1) which
// domain is asked. A name that says nothing, or something unknown, goes to the
// default domain as it is, for AD to decide. The route's domain is nil when
// there is none.
func chooseRoute(domains []*Domain, name string) route {
	r := route{domain: defaultDomain(domains), name: name}
	switch {
	case name == "" || len(domains) == 0:
	case strings.ContainsAny(name, "=<{") || isSIDText(name): // a DN, <GUID=...>, {...}
		r.domain = orElse(domainOfDN(domains, name), r.domain)
	case strings.Contains(name, `\`):
		netbios, _, _ := strings.Cut(name, `\`)
		r.domain = orElse(domainOfLabel(domains, netbios), r.domain)
	case strings.Contains(name, "@"):
		suffix := name[strings.LastIndexByte(name, '@')+1:]
		r.domain = orElse(domainOfLabel(domains, suffix), orElse(domainAbove(domains, suffix), r.domain))
		r.unsure = true
	case strings.Contains(name, "/"): // a canonical name: corp.example.test/People/alice
		dns, _, _ := strings.Cut(name, "/")
		r.domain = orElse(domainOfLabel(domains, dns), r.domain)
	case isAccountName(name) && r.domain != nil:
		r.name = r.domain.qualified(name)
	}
	return r
}

func orElse(d, other *Domain) *Domain {
	if d != nil {
		return d
	}
	return other
}

func defaultDomain(domains []*Domain) *Domain {
	for _, d := range domains {
		if !d.Foreign {
			return d
		}
	}
	return nil
}

// qualified is a sAMAccountName as AD takes it in a bind: a bare one it would
// only compare with display names.
func (d *Domain) qualified(sam string) string {
	if d.NetBIOS != "" {
		return d.NetBIOS + `\` + sam
	}
	return sam + "@" + d.Name
}

// isAccountName says whether a bare name can be a sAMAccountName rather than a
// display name: none of the characters that AD forbids there (MS-SAMR
// 3.1.1.6), no white space, and not longer than any.
func isAccountName(name string) bool {
	const longest = 64 // AD's limit is 20 for people; computers and old accounts have more
	return len(name) <= longest && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`"/\[]:;|=,+*?<>@`, r)
	})
}

func isSIDText(name string) bool {
	return len(name) > 4 && strings.EqualFold(name[:4], "S-1-")
}

// domainOfLabel finds a domain by its DNS or NetBIOS name.
func domainOfLabel(domains []*Domain, label string) *Domain {
	for _, d := range domains {
		if !d.Foreign && strings.EqualFold(d.Name, label) {
			return d
		}
	}
	for _, d := range domains {
		if !d.Foreign && d.NetBIOS != "" && strings.EqualFold(d.NetBIOS, label) {
			return d
		}
	}
	return nil
}

// domainAbove finds the domain that a DNS name lies below; of several, the
// nearest. Its controllers know their forest.
func domainAbove(domains []*Domain, dns string) (found *Domain) {
	for _, d := range domains {
		tail := "." + d.Name
		if !d.Foreign && len(dns) > len(tail) && strings.EqualFold(dns[len(dns)-len(tail):], tail) && (found == nil || len(d.Name) > len(found.Name)) {
			found = d
		}
	}
	return found
}

// domainOfDN finds the domain that a DN ends in; of several, the longest.
func domainOfDN(domains []*Domain, name string) (found *Domain) {
	if len(domains) == 1 && !domains[0].Foreign {
		return domains[0] // whatever it says
	}
	dn, ok := canonicalDN(name)
	if !ok {
		return nil
	}
	longest := -1
	for _, d := range domains {
		if base, ok := canonicalDN(d.base()); ok && isBelow(dn, base) && len(base) > longest {
			found, longest = d, len(base)
		}
	}
	return found
}

// isBelow compares canonical DNs.
func isBelow(dn, base string) bool {
	return dn == base || strings.HasSuffix(dn, "\x00"+base)
}

// base is the DN that the domain's entries end in.
func (d *Domain) base() string {
	if d.BaseDN != "" {
		return d.BaseDN
	}
	return "DC=" + strings.ReplaceAll(d.Name, ".", ",DC=")
}

// home is the domain that a new DC connection of the session goes to.
func (s *session) home() *Domain {
	if s.domain != nil {
		return s.domain
	}
	return defaultDomain(s.srv.cfg.Domains())
}

// routeRequest gives a session that is not bound a connection to the domain
// that a request is about, once nothing is outstanding on the one it has. A DN
// of no registered domain, or in a form that names none, goes where the one
// before went. Strangers are not sent to a directory outside, which Foreign is.
func (s *session) routeRequest(msg ldapwire.Message) {
	if s.bound {
		return
	}
	domains := s.srv.cfg.Domains()
	if s.up == nil && s.domain != nil && !slices.Contains(domains, s.domain) {
		s.domain = nil // its registration has changed
	}
	if len(domains) < 2 {
		return
	}
	dn, ok := requestDN(msg)
	if !ok {
		return
	}
	d := defaultDomain(domains) // which the root DSE is of
	if len(dn) > 0 {
		d = domainOfDN(domains, string(dn))
	}
	if d == nil || d.Foreign || d == s.home() {
		return
	}
	if s.up != nil {
		if !s.waitDrained(s.srv.cfg.DrainTimeout) {
			return // what goes on, such as a change notification, is not given up for it
		}
		s.leaveUpstream()
	}
	s.domain = d
}

// requestDN is the entry that a request is about; false: it is about none, or
// cannot be read.
func requestDN(msg ldapwire.Message) ([]byte, bool) {
	switch msg.Op {
	case ldapwire.OpSearchRequest:
		req, err := ldapwire.ParseSearchRequest(msg.Body)
		return req.BaseDN, err == nil
	case ldapwire.OpCompareRequest:
		req, err := ldapwire.ParseCompareRequest(msg.Body)
		return req.DN, err == nil
	case ldapwire.OpModifyRequest:
		req, err := ldapwire.ParseModifyRequest(msg.Body)
		return req.DN, err == nil
	case ldapwire.OpAddRequest:
		req, err := ldapwire.ParseAddRequest(msg.Body)
		return req.DN, err == nil
	case ldapwire.OpModifyDNRequest:
		req, err := ldapwire.ParseModifyDNRequest(msg.Body)
		return req.DN, err == nil
	case ldapwire.OpDelRequest:
		return ldapwire.ParseDelRequest(msg.Body), true
	}
	return nil, false
}

// isForeign: the session is bound at a directory that is not AD, whose
// passwords and password operations are its own.
func (s *session) isForeign() bool {
	if s.up == nil { // lost, to be connected again
		return s.bound && s.domain != nil && s.domain.Foreign
	}
	return s.up.domain.Foreign
}

// isRelayedToForeign says whether a request that would be seen to in AD is
// that other directory's own affair.
func isRelayedToForeign(msg ldapwire.Message) bool {
	switch msg.Op {
	case ldapwire.OpSearchRequest, ldapwire.OpModifyRequest, ldapwire.OpAddRequest:
		return true
	case ldapwire.OpExtendedRequest:
		req, err := ldapwire.ParseExtendedRequest(msg.Body)
		return err == nil && string(req.Name) == ldapwire.OIDPasswordModify
	}
	return false
}

// routeBind sends a bind to the domain that its name is for. The result is
// the bind to make, under the name to make it with; done wipes it.
func (s *session) routeBind(msg ldapwire.Message, req ldapwire.BindRequest) (ldapwire.Message, ldapwire.BindRequest, func(), error) {
	domains := s.srv.cfg.Domains()
	name := string(req.Name)
	r := chooseRoute(domains, name)
	if r.unsure && s.srv.cfg.Resolve != nil {
		ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.BindTimeout)
		domain, known := s.srv.cfg.Resolve(ctx, name)
		cancel()
		if d := domainOfLabel(domains, domain); d != nil && known != "" {
			r.domain, r.name = d, known
		}
	}
	s.domain = r.domain
	if s.up != nil && r.domain != nil && s.up.domain != r.domain {
		s.dropUpstream(true)
	}
	if r.name == name || req.Auth != ldapwire.AuthSimple {
		return msg, req, func() {}, nil
	}
	s.details("bind name rewritten", "from", clip(name), "to", clip(r.name))
	password := req.Password(msg.Body)
	defer password.Wipe()
	frame := ldapwire.AppendBindRequest(nil, msg.ID, r.name, password.Expose())
	done := func() { clear(frame) }
	out, err := ldapwire.ParseMessage(frame)
	if err == nil && msg.Controls != nil {
		whole := ldapwire.AppendMessage(nil, msg.ID, msg.Op, out.Body, msg.Controls)
		clear(frame)
		frame = whole
		out, err = ldapwire.ParseMessage(frame)
	}
	if err != nil {
		done()
		return msg, req, func() {}, err
	}
	rewritten, err := ldapwire.ParseBindRequest(out.Body)
	if err != nil {
		done()
		return msg, req, func() {}, err
	}
	return out, rewritten, done, nil
}
