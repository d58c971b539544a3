package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// RightKind is a kind of right that the sync account needs.
type RightKind int

const (
	// CreateObjects of a class in the root container and the containers below.
	CreateObjects RightKind = iota
	// WriteAttribute of the objects of a class there.
	WriteAttribute
	// ResetPasswords of the users there.
	ResetPasswords
)

// AccessRight is one right on the root container that is delegated to the sync
// account.
type AccessRight struct {
	Kind      RightKind
	Class     string // user or group
	Attribute string // of WriteAttribute
}

// String is what the right is called to people.
func (r AccessRight) String() string {
	switch r.Kind {
	case CreateObjects:
		return "Create " + r.Class + " objects"
	case ResetPasswords:
		return "Reset password of " + r.Class + " objects"
	}
	return "Write " + r.Attribute + " of " + r.Class + " objects"
}

// A Grant is a right with the commands by which an administrator of the domain
// delegates it.
type Grant struct {
	Right   AccessRight
	Windows string // dsacls
	Samba   string // samba-tool, on a controller; empty when the schema could not be read
}

// RightState says whether the account has a right.
type RightState struct {
	Grant
	// Known: it could be found out. If not, Why says why not.
	Known, Held bool
	Why         string
}

// SyncRights are the rights that sync takes: those for creating and keeping
// users and groups, and for the further attributes of users that translation
// rules write.
func SyncRights(attributes ...string) []AccessRight {
	rights := []AccessRight{{CreateObjects, "user", ""}, {CreateObjects, "group", ""}, {ResetPasswords, "user", ""}}
	seen := make(map[string]bool)
	for _, name := range append([]string{"givenName", "sn", "userAccountControl"}, attributes...) {
		if !seen[strings.ToLower(name)] {
			rights = append(rights, AccessRight{WriteAttribute, "user", name})
		}
		seen[strings.ToLower(name)] = true
	}
	for _, name := range []string{"member", "sAMAccountName", "cn", "name"} {
		rights = append(rights, AccessRight{WriteAttribute, "group", name})
	}
	return rights
}

// Rights asks AD which of the rights that sync takes the account has: on the
// root container, and on a user and a group below it that serve as samples. It
// writes nothing.
func (w *Writer) Rights(ctx context.Context, attributes ...string) (states []RightState, err error) {
	err = w.do(ctx, func(ctx context.Context, d *desk) error {
		states, err = d.rights(ctx, SyncRights(attributes...))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check the rights of the sync account: %w", err)
	}
	return states, nil
}

func (d *desk) rights(ctx context.Context, rights []AccessRight) ([]RightState, error) {
	have := map[string]*effective{}
	for class, filter := range map[string]string{"user": "(&(objectCategory=person)(objectClass=user)(!(adminCount=1)))", "group": "(&(objectClass=group)(!(adminCount=1)))"} {
		dn, err := d.sample(ctx, filter)
		if err != nil {
			return nil, err
		}
		if dn != "" {
			if have[class], err = d.effective(ctx, dn); err != nil {
				return nil, err
			}
		}
	}
	root, err := d.effective(ctx, d.root)
	if err != nil {
		return nil, err
	}
	states := make([]RightState, 0, len(rights))
	for _, g := range d.grants(ctx, rights) {
		s, on := RightState{Grant: g}, have[g.Right.Class]
		switch {
		case g.Right.Kind == CreateObjects:
			s.Known, s.Held = true, root.has(g.Right)
		case on == nil:
			s.Why = "there is no " + g.Right.Class + " in the root container yet to look at"
		case g.Right.inAccessList() && on.access != nil:
			s.Why = fmt.Sprint(on.access)
		default:
			s.Known, s.Held = true, on.has(g.Right)
		}
		states = append(states, s)
	}
	return states, nil
}

// effective is what the account may do with an object.
type effective struct {
	classes, attributes []string
	reset, name         bool
	access              error // the access list, which those two are from, cannot be read
}

func (e *effective) has(r AccessRight) bool {
	same := func(have string) bool { return strings.EqualFold(have, r.Attribute) }
	switch r.Kind {
	case CreateObjects:
		return slices.ContainsFunc(e.classes, func(have string) bool { return strings.EqualFold(have, r.Class) })
	case ResetPasswords:
		return e.reset
	}
	if r.inAccessList() {
		return e.name
	}
	return slices.ContainsFunc(e.attributes, same)
}

// inAccessList reports that only the access list tells of the right.
func (r AccessRight) inAccessList() bool {
	return r.Kind == ResetPasswords || r.Kind == WriteAttribute && strings.EqualFold(r.Attribute, "name")
}

// effective asks AD (MS-ADTS 3.1.1.4.5.10 and .12), which does not tell of
// extended rights, nor of name, which only a rename writes.
func (d *desk) effective(ctx context.Context, dn string) (*effective, error) {
	e, err := d.one(ctx, dn, "allowedChildClassesEffective", "allowedAttributesEffective")
	if err != nil {
		return nil, fmt.Errorf("read the rights on %q: %w", dn, err)
	}
	got := &effective{classes: e.GetAttributeValues("allowedChildClassesEffective"), attributes: e.GetAttributeValues("allowedAttributesEffective")}
	sd, err := d.descriptor(ctx, dn)
	if errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	got.access = err
	if err == nil {
		sids := append([][]byte{d.me.sid}, d.me.groups...)
		got.reset = sd.allows(controlAccess, guids(rightGUIDReset), sids)
		got.name = sd.allows(writeProperty, guids(attrGUIDName, setGUIDPublic), sids)
	}
	return got, nil
}

// sample is the DN of one object below the root container; empty: there is none.
func (d *desk) sample(ctx context.Context, filter string) (string, error) {
	req := ldap.NewSearchRequest(d.within, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, []string{"1.1"},
		[]ldap.Control{ldap.NewControlPaging(1), ldap.NewControlString(oidDomainScope, true, "")})
	var res *ldap.SearchResult
	err := d.during(ctx, func() (err error) {
		res, err = d.Search(req)
		return err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("look for a sample below %q: %w", d.within, d.readError(ctx, err))
	case len(res.Entries) == 0:
		return "", nil
	}
	return res.Entries[0].DN, nil
}

// denied makes the error of a write that AD refused for want of a right. Of the
// rights that it may have been, it names those that the account really lacks on
// the object where they count.
func (d *desk) denied(ctx context.Context, operation, object, where string, rights []AccessRight, cause error) error {
	have, err := d.effective(ctx, where)
	if err == nil {
		lacks := func(r AccessRight) bool { return !have.has(r) }
		rights = slices.DeleteFunc(slices.Clone(rights), func(r AccessRight) bool { return !lacks(r) })
	}
	return &RightsError{Operation: operation, Object: object, Lacking: d.grants(ctx, rights), Text: words(cause)}
}

// Identifiers of classes in the schema (MS-ADSC), of the extended right Reset
// Password (MS-ADTS 5.1.3.2.1), and of an attribute with its set.
const (
	classGUIDUser  = "bf967aba-0de6-11d0-a285-00aa003049e2"
	classGUIDGroup = "bf967a9c-0de6-11d0-a285-00aa003049e2"
	rightGUIDReset = "00299570-246d-11d0-a768-00aa006e0529"
	attrGUIDName   = "bf967a0e-0de6-11d0-a285-00aa003049e2"
	setGUIDPublic  = "e48d0154-bcf8-11d1-8702-00c04fb96050" // Public Information, of which name is
)

func guids(constants ...string) (list [][16]byte) {
	for _, text := range constants {
		guid, _ := identity.ParseGUID(text) // constants
		list = append(list, guid)
	}
	return list
}

// grants adds the commands. Identifiers of attributes come from the domain's
// own schema.
func (d *desk) grants(ctx context.Context, rights []AccessRight) []Grant {
	ids := d.schemaIDs(ctx, rights)
	grants := make([]Grant, 0, len(rights))
	for _, r := range rights {
		g := Grant{Right: r, Windows: r.dsacls(d.within, d.me.name)}
		if entry := r.entry(ids, sidText(d.me.sid)); entry != "" {
			g.Samba = fmt.Sprintf(`samba-tool dsacl set --objectdn="%s" --sddl="%s"`, d.within, entry)
		}
		grants = append(grants, g)
	}
	return grants
}

// dsacls is the command for Windows. /I:T is for the container and what is
// below it, /I:S for what is below it only.
func (r AccessRight) dsacls(container, account string) string {
	switch r.Kind {
	case CreateObjects:
		return fmt.Sprintf(`dsacls "%s" /I:T /G "%s:CC;%s"`, container, account, r.Class)
	case ResetPasswords:
		return fmt.Sprintf(`dsacls "%s" /I:S /G "%s:CA;Reset Password;%s"`, container, account, r.Class)
	}
	return fmt.Sprintf(`dsacls "%s" /I:S /G "%s:WP;%s;%s"`, container, account, r.Attribute, r.Class)
}

// entry is the access control entry in SDDL (MS-DTYP 2.5.1); empty: an
// identifier is not known.
func (r AccessRight) entry(ids map[string]string, sid string) string {
	class := map[string]string{"user": classGUIDUser, "group": classGUIDGroup}[r.Class]
	switch r.Kind {
	case CreateObjects:
		return fmt.Sprintf("(OA;CI;CC;%s;;%s)", class, sid)
	case ResetPasswords:
		return fmt.Sprintf("(OA;CIIO;CR;%s;%s;%s)", rightGUIDReset, class, sid)
	}
	id := ids[strings.ToLower(r.Attribute)]
	if id == "" {
		return ""
	}
	return fmt.Sprintf("(OA;CIIO;WP;%s;%s;%s)", id, class, sid)
}

// schemaIDs are the schemaIDGUIDs of attributes, by name in lower case, as far
// as they can be read.
func (d *desk) schemaIDs(ctx context.Context, rights []AccessRight) map[string]string {
	ids, filter := make(map[string]string), "(|"
	for _, r := range rights {
		if r.Kind == WriteAttribute {
			filter += "(lDAPDisplayName=" + ldap.EscapeFilter(r.Attribute) + ")"
		}
	}
	if filter == "(|" {
		return ids
	}
	entries, err := d.find(ctx, d.schema, ldap.ScopeSingleLevel, filter+")", []string{"lDAPDisplayName", "schemaIDGUID"})
	if err != nil {
		return ids // the commands for Windows do without
	}
	for _, e := range entries {
		if guid, err := identity.GUIDFromBytes(e.GetRawAttributeValue("schemaIDGUID")); err == nil {
			ids[strings.ToLower(e.GetAttributeValue("lDAPDisplayName"))] = guid.String()
		}
	}
	return ids
}
