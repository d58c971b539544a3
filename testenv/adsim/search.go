package adsim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// Limits of AD's default query policy.
const (
	MaxPageSize = 1000 // entries of an unpaged search, or of a page
	MaxValRange = 1500 // values of an attribute
)

// A Search is what to look for.
type Search struct {
	Base        string
	Scope       int // ldapwire.ScopeBase and so on
	SizeLimit   int // entries; 0 is no limit of the client's own
	TypesOnly   bool
	Filter      Filter
	Attributes  []string // none means all that are no constructed ones
	ShowDeleted bool
	ExtendedDN  bool // DNs come with GUID and SID, in hex or
	Dashes      bool // in their usual form
	WithoutSACL bool // of a security descriptor, everything but the audit list

	by Identity // who asks
}

// An Entry is a found object as a client sees it.
type Entry struct {
	DN         string
	Attributes []Attribute
}

// An Attribute has values, unless only types were asked for.
type Attribute struct {
	Name   string
	Values []string
}

// A found search knows its entries and can render them a page at a time.
type found struct {
	guids      []guid
	references []string
}

// Search returns the entries, and the references to other naming contexts. The
// error is a Refusal with code sizeLimitExceeded if there are more than a limit
// allows; the entries are valid then, too.
func (d *Directory) Search(id Identity, s Search) (entries []Entry, references []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.Base == "" && s.Scope == ldapwire.ScopeBase {
		return []Entry{d.rootDSE(id, s)}, nil, nil
	}
	s.by = id
	f, refusal := d.lookUp(id, s)
	if refusal != nil {
		return nil, nil, refusal
	}
	limit := MaxPageSize
	if s.SizeLimit > 0 {
		limit = min(limit, s.SizeLimit)
	}
	if len(f.guids) > limit {
		f.guids, refusal = f.guids[:limit], sizeLimit()
	}
	entries = d.render(f.guids, s)
	if refusal != nil {
		return entries, f.references, refusal
	}
	return entries, f.references, nil
}

func sizeLimit() *Refusal {
	return &Refusal{Code: ldapwire.ResultSizeLimitExceeded, Text: "00002023: SvcErr: DSID-0314050F, problem 5008 (ADMIN_LIMIT_EXCEEDED), data 0\n\x00"}
}

// lookUp finds what matches, in the order in which it was created.
func (d *Directory) lookUp(id Identity, s Search) (found, *Refusal) {
	actor, refusal := d.actor(id)
	if refusal != nil {
		return found{}, refusal
	}
	s.ShowDeleted = s.ShowDeleted && d.may(actor, maySeeDeleted)
	if s.Base == "" {
		return found{}, noObject("")
	}
	base, refusal := d.resolve(s.Base)
	if refusal != nil {
		return found{}, refusal
	}
	if base.deleted && !s.ShowDeleted {
		return found{}, noObject(d.bestMatch(base.key))
	}
	var f found
	all := d.ordered
	if s.Scope == ldapwire.ScopeBase {
		all = []*entry{base}
	}
	for _, e := range all {
		if e.deleted && !s.ShowDeleted || !d.inScope(e, base, s.Scope) {
			continue
		}
		if d.matches(s.Filter.p, e) == yes {
			f.guids = append(f.guids, e.guid)
		}
	}
	if base.key == d.baseKey && s.Scope == ldapwire.ScopeSubtree {
		f.references = []string{fmt.Sprintf("ldaps://%s/CN=Configuration,%s", d.domain, d.base)}
	}
	return f, nil
}

// inScope reports whether a search from base finds e. CN=Configuration is a
// naming context of its own.
func (d *Directory) inScope(e, base *entry, scope int) bool {
	switch scope {
	case ldapwire.ScopeBase:
		return e == base
	case ldapwire.ScopeOneLevel:
		return parentKey(e.key) == base.key && (e.key != d.configKey)
	}
	return within(e.key, base.key) && within(e.key, d.configKey) == within(base.key, d.configKey)
}

// render makes entries of those that still exist.
func (d *Directory) render(guids []guid, s Search) []Entry {
	var entries []Entry
	for _, g := range guids {
		if e := d.byGUID(g); e != nil {
			entries = append(entries, Entry{DN: d.nameFor(e.dn, s), Attributes: d.attributes(e, s)})
		}
	}
	return entries
}

// attributes selects what a search asks for. The order is that of the schema.
func (d *Directory) attributes(e *entry, s Search) []Attribute {
	all := len(s.Attributes) == 0 || slices.Contains(s.Attributes, "*")
	var out []Attribute
	for _, at := range d.schema.list {
		asked, low, high := rangeOf(s.Attributes, at.name)
		if at.flags&hidden != 0 || !asked && (!all || at.flags&constructed != 0) {
			continue
		}
		values := d.namesFor(at, d.values(e, at, s), s)
		if len(values) == 0 {
			continue
		}
		for _, a := range ranged(at.name, values, low, high) {
			if s.TypesOnly {
				a.Values = nil
			}
			out = append(out, a)
		}
	}
	return out
}

// rangeOf looks for an attribute among those asked for, with a range option
// (MS-ADTS 3.1.1.3.1.3.3) or without, when low is -1.
func rangeOf(asked []string, name string) (ok bool, low, high int) {
	for _, a := range asked {
		base, option, _ := strings.Cut(a, ";")
		if !strings.EqualFold(base, name) {
			continue
		}
		spec, ranged := strings.CutPrefix(strings.ToLower(option), "range=")
		if !ranged {
			return true, -1, -1
		}
		from, to, _ := strings.Cut(spec, "-")
		low, err := strconv.Atoi(from)
		if err != nil || low < 0 {
			return true, -1, -1
		}
		high, err := strconv.Atoi(to)
		if err != nil {
			high = -1
		}
		return true, low, high
	}
	return false, -1, -1
}

// ranged cuts values to what one answer may hold. If the client did not ask for
// a range, the plain attribute comes without values beside the first range.
func ranged(name string, values []string, low, high int) []Attribute {
	if low < 0 && len(values) <= MaxValRange {
		return []Attribute{{name, values}}
	}
	var out []Attribute
	if low < 0 {
		low, out = 0, []Attribute{{name, nil}}
	}
	if low >= len(values) {
		return nil
	}
	end := min(low+MaxValRange, len(values))
	if high >= 0 {
		end = min(end, high+1)
	}
	option := fmt.Sprintf("%s;range=%d-%d", name, low, end-1)
	if end == len(values) {
		option = fmt.Sprintf("%s;range=%d-*", name, low)
	}
	if end <= low {
		return out
	}
	return append(out, Attribute{option, values[low:end]})
}

// values are what a client sees of an attribute.
func (d *Directory) values(e *entry, at attrType, s Search) []string {
	if at.flags&constructed != 0 {
		return d.construct(e, at.name, s)
	}
	return d.searchable(e, at)
}

// backLinks are the entries whose link attribute names e.
func (d *Directory) backLinks(e *entry, link string) []string {
	var out []string
	for _, other := range d.holders(link) {
		if slices.Contains(other.get(link), e.dn) {
			out = append(out, other.dn)
		}
	}
	return out
}

// linkHolders are the entries that have a link attribute, at a USN.
type linkHolders struct {
	usn     int64
	entries []*entry
}

// holders are few where the entries are many: without them a search by memberOf
// would look at every entry for every entry.
func (d *Directory) holders(link string) []*entry {
	known := d.links[link]
	if known.usn == d.usn {
		return known.entries
	}
	known = linkHolders{usn: d.usn}
	for _, e := range d.ordered {
		if len(e.get(link)) > 0 {
			known.entries = append(known.entries, e)
		}
	}
	if d.links == nil {
		d.links = make(map[string]linkHolders)
	}
	d.links[link] = known
	return known.entries
}
