package adsim

import (
	"slices"
	"strconv"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// Cursors are the paged searches a connection has begun (RFC 2696). A cookie is
// good once, and on its connection only. The zero Cursors is ready to use.
type Cursors struct {
	last    int
	pending map[string]pendingPage
}

type pendingPage struct {
	search Search
	found  found
}

// maxCursors bounds the searches one connection may leave unfinished.
const maxCursors = 16

// Page returns the next page of a search, and the cookie of the page after, ""
// if there is none. A size of 0 ends the search.
func (d *Directory) Page(id Identity, s Search, c *Cursors, size int, cookie string) (entries []Entry, references []string, next string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.Base == "" && s.Scope == ldapwire.ScopeBase {
		return []Entry{d.rootDSE(id, s)}, nil, "", nil
	}
	p, refusal := d.pageOf(id, s, c, cookie)
	if refusal != nil {
		return nil, nil, "", refusal
	}
	if size == 0 {
		return nil, nil, "", nil
	}
	n := min(size, MaxPageSize, len(p.found.guids))
	entries = d.render(p.found.guids[:n], p.search)
	if n == len(p.found.guids) {
		return entries, p.found.references, "", nil
	}
	p.found.guids = slices.Clone(p.found.guids[n:])
	return entries, nil, c.keep(p), nil
}

func (d *Directory) pageOf(id Identity, s Search, c *Cursors, cookie string) (pendingPage, *Refusal) {
	if cookie == "" {
		s.by = id
		f, refusal := d.lookUp(id, s)
		return pendingPage{s, f}, refusal
	}
	p, ok := c.pending[cookie]
	if !ok {
		return pendingPage{}, ldapErr(ldapwire.ResultUnwillingToPerform, win32InvalidParameter, "Error processing control")
	}
	delete(c.pending, cookie)
	return p, nil
}

func (c *Cursors) keep(p pendingPage) (cookie string) {
	if c.pending == nil || len(c.pending) >= maxCursors {
		c.pending = make(map[string]pendingPage) // abandoned ones are forgotten
	}
	c.last++
	cookie = "page-" + strconv.Itoa(c.last)
	c.pending[cookie] = p
	return cookie
}

// refers reports whether a search will return references.
func (d *Directory) refers(base string, scope int) bool {
	n, ok := parseName(base)
	if !ok {
		return true // <GUID=...>: may be the domain's head
	}
	return scope == ldapwire.ScopeSubtree && n.key == d.baseKey
}
