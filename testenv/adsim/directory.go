package adsim

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/store/secret"
)

// A Directory is the content of a domain and the rules it lives by. It knows no
// sockets and no encoding, and is safe for concurrent use. Methods that may be
// refused return a *[Refusal] as their error.
type Directory struct {
	now    func() time.Time
	grace  time.Duration // how long the previous password binds
	schema *schema

	domain, netbios, base, host string
	baseKey, configKey          string
	sid                         []byte // of the domain
	invocation                  guid

	mu         sync.Mutex // guards what follows
	usn        int64
	rid        uint32
	byKey      map[string]*entry
	guids      map[guid]*entry
	ordered    []*entry // as they were created
	rights     map[guid]right
	allowances []allowance
	watches    map[*watch]struct{}
	links      map[string]linkHolders // by link attribute
	// logins are the entries that have, or had, a sAMAccountName, in the form in
	// which names are compared.
	logins map[string]*entry
}

// DirectoryConfig is what a new Directory needs to know.
type DirectoryConfig struct {
	Domain           string // DNS name, such as corp.example.test
	Policy           Policy
	OldPasswordGrace time.Duration // 60 minutes on Windows
	AdminPassword    secret.Bytes  // of CN=Administrator,CN=Users; the caller keeps it
	Now              func() time.Time
}

// NewDirectory makes a domain with its usual containers and groups, the
// administrator, and OU=People, OU=Service and OU=Groups.
func NewDirectory(c DirectoryConfig) *Directory {
	if c.Policy == (Policy{}) {
		c.Policy = DefaultPolicy()
	}
	label, _, _ := strings.Cut(c.Domain, ".")
	d := &Directory{now: c.Now, grace: c.OldPasswordGrace, schema: newSchema(),
		domain: strings.ToLower(c.Domain), netbios: strings.ToUpper(label[:min(len(label), 15)]),
		base: dnsToDN(c.Domain), host: "dc1." + strings.ToLower(c.Domain),
		invocation: newGUID(), sid: newDomainSID(), rid: 1103, usn: 12288, byKey: make(map[string]*entry), guids: make(map[guid]*entry),
		rights: make(map[guid]right), watches: make(map[*watch]struct{}), logins: make(map[string]*entry)}
	root, _ := parseName(d.base)
	d.baseKey, d.configKey = root.key, "cn=configuration,"+root.key
	d.found(c)
	return d
}

// found creates what every domain has.
func (d *Directory) found(c DirectoryConfig) {
	head := d.create(d.base, "domainDNS")
	head.set("objectSid", string(d.sid))
	c.Policy.store(head)
	for _, cn := range []string{"Users", "Computers", "Builtin", "Deleted Objects"} {
		d.create("CN="+cn+","+d.base, "container")
	}
	bin := d.byKey["cn=deleted objects,"+d.baseKey] // shown to those who may see what is in it
	bin.deleted = true
	bin.set("isDeleted", "TRUE")
	for _, ou := range []string{"Domain Controllers", "People", "Service", "Groups"} {
		d.create("OU="+ou+","+d.base, "organizationalUnit")
	}
	config := "CN=Configuration," + d.base
	d.create(config, "configuration")
	for _, cn := range []string{"Schema", "Services", "Sites", "Partitions"} {
		d.create("CN="+cn+","+config, "container")
	}
	d.create("CN=Windows NT,CN=Services,"+config, "container")
	d.create("CN=Directory Service,CN=Windows NT,CN=Services,"+config, "nTDSService")
	d.create("CN=Default-First-Site-Name,CN=Sites,"+config, "container")
	d.create("CN=Servers,CN=Default-First-Site-Name,CN=Sites,"+config, "container")
	d.create(d.serverDN(), "server").set("dNSHostName", d.host)
	d.create("CN=NTDS Settings,"+d.serverDN(), "nTDSDSA").set("invocationId", string(d.invocation[:]))
	ref := d.create("CN="+d.netbios+",CN=Partitions,"+config, "crossRef")
	ref.set("nETBIOSName", d.netbios)
	ref.set("dnsRoot", d.domain)
	ref.set("nCName", d.base)

	admin := d.createAccount("CN=Administrator,CN=Users,"+d.base, "user", "Administrator", 500)
	admin.setNum("userAccountControl", uacNormal|uacNeverExpires)
	admin.setNum("primaryGroupID", 513)
	admin.setNum("adminCount", 1)
	if !c.AdminPassword.IsEmpty() {
		d.setPassword(admin, c.AdminPassword.Expose())
	}
	d.createAccount("CN=Domain Users,CN=Users,"+d.base, "group", "Domain Users", 513)
	for sam, rid := range map[string]uint32{"Domain Admins": 512, "Account Operators": 548} {
		g := d.createAccount("CN="+sam+",CN=Users,"+d.base, "group", sam, rid)
		g.setNum("adminCount", 1)
		if rid == 512 {
			g.set("member", admin.dn)
		}
	}
}

func (d *Directory) serverDN() string {
	return "CN=DC1,CN=Servers,CN=Default-First-Site-Name,CN=Sites,CN=Configuration," + d.base
}

func (d *Directory) head() *entry { return d.byKey[d.baseKey] }

// create adds an entry with what every object has. Its name must be free.
func (d *Directory) create(dn, className string) *entry {
	e := d.blank(dn, className)
	d.insert(e)
	return e
}

func (d *Directory) insert(e *entry) {
	d.touch(e)
	e.set("uSNCreated", e.get("uSNChanged")...)
	d.byKey[e.key] = e
	d.guids[e.guid] = e
	d.ordered = append(d.ordered, e)
}

// blank makes an entry that is not in the directory yet.
func (d *Directory) blank(dn, className string) *entry {
	n, _ := parseName(dn)
	c := d.schema.classes[strings.ToLower(className)]
	above := n.above
	if parent, ok := d.byKey[n.parent]; ok {
		above = parent.dn
	}
	e := &entry{guid: newGUID(), key: n.key, attrs: make(map[string]attribute)}
	e.set("objectClass", c.chain...)
	e.set("objectCategory", "CN="+c.category+",CN=Schema,CN=Configuration,"+d.base)
	e.set("objectGUID", string(e.guid[:]))
	e.setNum("instanceType", 4)
	d.place(e, n, above)
	e.set("whenCreated", generalizedTime(d.now()))
	return e
}

// place gives an entry its name; above is the name of its parent.
func (d *Directory) place(e *entry, n name, above string) {
	rdn := n.attr + "=" + escapeDN(n.value)
	e.dn, e.key = rdn, n.key
	if above != "" {
		e.dn += "," + above
	}
	e.set("distinguishedName", e.dn)
	e.set("name", n.value)
	attr, ok := d.schema.lookup(n.attr)
	if ok {
		e.set(attr.name, n.value)
	}
}

// createAccount adds a security principal. With rid 0 it takes the next.
func (d *Directory) createAccount(dn, className, sam string, rid uint32) *entry {
	e := d.create(dn, className)
	d.makePrincipal(e, sam, rid)
	return e
}

// makePrincipal gives an entry what security principals have.
func (d *Directory) makePrincipal(e *entry, sam string, rid uint32) {
	if rid == 0 {
		d.rid++
		rid = d.rid
	}
	e.set("objectSid", string(appendRID(d.sid, rid)))
	e.set("sAMAccountName", sam)
	switch {
	case e.is("group"):
		e.setNum("groupType", -2147483646)
		e.setNum("sAMAccountType", 268435456)
	default:
		e.setNum("sAMAccountType", 805306368)
		e.setNum("primaryGroupID", 513)
		e.setNum("accountExpires", never)
		for _, name := range []string{"pwdLastSet", "badPwdCount", "badPasswordTime", "lastLogon", "logonCount"} {
			e.setNum(name, 0)
		}
	}
	d.noteLogin(e)
}

// noteLogin makes an entry findable by its sAMAccountName, after it was given
// one.
func (d *Directory) noteLogin(e *entry) {
	if sam := e.first("sAMAccountName"); sam != "" && !e.deleted {
		d.logins[fold(sam)] = e
	}
}

// touch records a change.
func (d *Directory) touch(e *entry) {
	d.noteLogin(e)
	d.usn++
	e.stamp(d.usn)
	d.notify(e)
	e.setNum("uSNChanged", d.usn)
	e.set("whenChanged", generalizedTime(d.now()))
}

// byGUID finds an entry, or nil.
func (d *Directory) byGUID(g guid) *entry { return d.guids[g] }

// resolve finds the entry a client names: by DN, <GUID=...> or <SID=...>
// (MS-ADTS 3.1.1.3.1.2.4).
func (d *Directory) resolve(dn string) (*entry, *Refusal) {
	if inner, ok := strings.CutPrefix(dn, "<"); ok {
		inner, ok = strings.CutSuffix(inner, ">")
		kind, value, _ := strings.Cut(inner, "=")
		if e := d.byID(kind, value); ok && e != nil {
			return e, nil
		}
		return nil, noObject("")
	}
	n, ok := parseName(dn)
	if !ok {
		return nil, badName()
	}
	if e, ok := d.byKey[n.key]; ok {
		return e, nil
	}
	return nil, noObject(d.bestMatch(n.key))
}

func (d *Directory) byID(kind, value string) *entry {
	switch strings.ToUpper(kind) {
	case "GUID":
		if g, ok := parseGUID(value); ok {
			return d.byGUID(g)
		}
	case "SID":
		for _, e := range d.ordered {
			sid := []byte(e.first("objectSid"))
			if len(sid) > 0 && (strings.EqualFold(sidString(sid), value) || strings.EqualFold(hexString(sid), value)) {
				return e
			}
		}
	}
	return nil
}

// bestMatch is the DN of the nearest existing entry above key.
func (d *Directory) bestMatch(key string) string {
	for key = parentKey(key); key != ""; key = parentKey(key) {
		if e, ok := d.byKey[key]; ok {
			return e.dn
		}
	}
	return ""
}

// find returns the first entry whose attribute has a value.
func (d *Directory) find(name, value string) *entry {
	at, _ := d.schema.lookup(name)
	want := at.normal(value)
	if at.name == "sAMAccountName" { // of which there is one, and which AddUser asks for
		if e := d.logins[want]; e != nil && !e.deleted && at.normal(e.first(name)) == want {
			return e
		}
		return nil
	}
	for _, e := range d.ordered {
		if !e.deleted && slices.ContainsFunc(e.get(name), func(v string) bool { return at.normal(v) == want }) {
			return e
		}
	}
	return nil
}

func newGUID() (g guid) {
	_, _ = rand.Read(g[:]) // never fails (crypto/rand)
	g[7] = g[7]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return g
}

// newDomainSID makes an S-1-5-21-x-y-z.
func newDomainSID() []byte {
	sid := []byte{1, 4, 0, 0, 0, 0, 0, 5}
	sid = binary.LittleEndian.AppendUint32(sid, 21)
	random := make([]byte, 12)
	_, _ = rand.Read(random)
	return append(sid, random...)
}
