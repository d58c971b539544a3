package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// globalSecurity is the groupType of a global security group (MS-ADTS 2.2.12),
// as the signed number that it is stored as.
const globalSecurity = -0x80000000 + 0x2

// CreateGroup creates a global security group in the root container, whose
// sAMAccountName and common name are name; the latter is "name (group)" when an
// entry of the container has that. [ErrExists] and a repeated call are as with
// [Writer.CreateUser].
func (w *Writer) CreateGroup(ctx context.Context, name string) (group identity.Group, err error) {
	if err := checkAccountName(name, maxGroupName); err != nil {
		return group, fmt.Errorf("create AD group %q: %w", name, err)
	}
	err = w.do(ctx, func(ctx context.Context, d *desk) error {
		group, err = d.createGroup(ctx, name)
		return err
	})
	if err != nil {
		return identity.Group{}, fmt.Errorf("create AD group %q: %w", name, err)
	}
	return group, nil
}

func (d *desk) createGroup(ctx context.Context, name string) (identity.Group, error) {
	names := commonNames(name, "group")
	attrs := []Attribute{{Name: "groupType", Values: []string{strconv.Itoa(globalSecurity)}}}
	for attempt := 1; ; attempt++ {
		ours, err := d.groupHolder(ctx, name, identity.GUID{}, attrs, names)
		switch {
		case err != nil:
			return identity.Group{}, err
		case ours != "":
			return d.group(ctx, ours)
		}
		dn, err := d.freeDN(ctx, names)
		if err != nil {
			return identity.Group{}, err
		}
		req := ldap.NewAddRequest(dn, nil)
		req.Attribute("objectClass", []string{"top", "group"})
		req.Attribute("sAMAccountName", []string{name})
		req.Attribute("groupType", attrs[0].Values)
		err = d.write(ctx, func() error { return d.Add(req) })
		switch {
		case err == nil:
			return d.group(ctx, dn)
		case taken(err) && attempt == 1:
			// somebody was faster: look again who has it
		case taken(err):
			return identity.Group{}, fmt.Errorf("%w: AD says: %s", ErrExists, words(err))
		case deniedBy(err):
			return identity.Group{}, d.denied(ctx, "create the group", dn, d.root, []AccessRight{{CreateObjects, "group", ""}}, err)
		default:
			return identity.Group{}, err
		}
	}
}

// groupHolder looks for who else has a sAMAccountName, which users and groups
// share. self may have it.
func (d *desk) groupHolder(ctx context.Context, name string, self identity.GUID, attrs []Attribute, names []string) (ours string, err error) {
	asked := []Attribute{{Name: "sAMAccountName", Values: []string{name}}}
	found, err := d.holders(ctx, asked, []string{"objectGUID", "objectClass", "adminCount", "userAccountControl", "sAMAccountName", "groupType"})
	if err != nil {
		return "", err
	}
	for _, e := range found {
		if guid, err := identity.GUIDFromBytes(e.GetRawAttributeValue("objectGUID")); err == nil && guid == self {
			continue
		}
		if !self.IsZero() {
			return "", takenBy(e, asked)
		}
		made, err := d.isMade(ctx, e, classGroup, name, attrs, names)
		switch {
		case err != nil:
			return "", err
		case !made:
			return "", takenBy(e, asked)
		}
		ours = e.DN
	}
	return ours, nil
}

// group reads a group that has just been written, without its members.
func (d *desk) group(ctx context.Context, dn string) (identity.Group, error) {
	e, err := d.one(ctx, dn, "objectGUID", "sAMAccountName", "description", "groupType")
	if err != nil {
		return identity.Group{}, fmt.Errorf("%w: it is written, but not read back: %w", ErrUnknown, err)
	}
	guid, err := identity.GUIDFromBytes(e.GetRawAttributeValue("objectGUID"))
	if err != nil {
		return identity.Group{}, fmt.Errorf("group %q: %w", e.DN, err)
	}
	return identity.Group{Side: identity.AD, GUID: guid, DN: e.DN, Name: e.GetAttributeValue("sAMAccountName"), Description: e.GetAttributeValue("description"),
		Security: number(e, "groupType")&securityGroup != 0, InRoot: below(e.DN, d.within)}, nil
}

// RenameGroup gives a group another sAMAccountName and common name. The latter
// comes first: when only that was done, the sAMAccountName still tells that the
// work is not.
func (w *Writer) RenameGroup(ctx context.Context, guid identity.GUID, name string) (group identity.Group, err error) {
	if err := checkAccountName(name, maxGroupName); err != nil {
		return group, fmt.Errorf("rename AD group %s: %w", guid, err)
	}
	err = w.do(ctx, func(ctx context.Context, d *desk) error {
		group, err = d.renameGroup(ctx, guid, name)
		return err
	})
	if err != nil {
		return identity.Group{}, fmt.Errorf("rename AD group %s to %q: %w", guid, name, err)
	}
	return group, nil
}

func (d *desk) renameGroup(ctx context.Context, guid identity.GUID, name string) (identity.Group, error) {
	e, err := d.object(ctx, guid, classGroup)
	if err != nil {
		return identity.Group{}, err
	}
	if e.GetAttributeValue("sAMAccountName") == name {
		return d.group(ctx, byGUID(guid))
	}
	if _, err := d.groupHolder(ctx, name, guid, nil, nil); err != nil {
		return identity.Group{}, err
	}
	if err := d.renameEntry(ctx, e, commonNames(name, "group")); err != nil {
		return identity.Group{}, err
	}
	req := ldap.NewModifyRequest(byGUID(guid), nil)
	req.Replace("sAMAccountName", []string{name})
	err = d.write(ctx, func() error { return d.Modify(req) })
	switch {
	case err == nil:
		return d.group(ctx, byGUID(guid))
	case deniedBy(err):
		return identity.Group{}, d.denied(ctx, "rename", e.DN, byGUID(guid), []AccessRight{{WriteAttribute, "group", "sAMAccountName"}}, err)
	case taken(err):
		return identity.Group{}, fmt.Errorf("%w: AD says: %s", ErrExists, words(err))
	}
	return identity.Group{}, err
}

// renameEntry gives an entry the first of the names that is free where it is.
func (d *desk) renameEntry(ctx context.Context, e *ldap.Entry, names []string) error {
	for i, cn := range names {
		if rdnValue(e.DN) == cn {
			return nil
		}
		req := ldap.NewModifyDNRequest(e.DN, rdn(cn), true, "")
		err := d.write(ctx, func() error { return d.ModifyDN(req) })
		switch {
		case err == nil:
			return nil
		case ldap.IsErrorWithCode(err, ldap.LDAPResultEntryAlreadyExists) && i+1 < len(names):
		case ldap.IsErrorWithCode(err, ldap.LDAPResultEntryAlreadyExists):
			return fmt.Errorf("%w: the container of %q has entries %q; rename one of them", ErrExists, e.DN, names)
		case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
			return fmt.Errorf("%w: %q was moved meanwhile", ErrUnavailable, e.DN)
		case deniedBy(err):
			return d.denied(ctx, "rename", e.DN, e.DN, []AccessRight{{WriteAttribute, "group", "cn"}, {WriteAttribute, "group", "name"}}, err)
		default:
			return err
		}
	}
	return nil
}

// AddMembers makes objects members of a group; those that are already are left.
func (w *Writer) AddMembers(ctx context.Context, group identity.GUID, members []identity.GUID) error {
	return w.members(ctx, "add members to", group, members, true)
}

// RemoveMembers ends the membership of objects in a group; those that are no
// members are left. Somebody whose primary group it is stays a member, which AD
// does not let anybody end here, and is an error.
func (w *Writer) RemoveMembers(ctx context.Context, group identity.GUID, members []identity.GUID) error {
	return w.members(ctx, "remove members from", group, members, false)
}

func (w *Writer) members(ctx context.Context, what string, group identity.GUID, members []identity.GUID, add bool) error {
	err := w.do(ctx, func(ctx context.Context, d *desk) error {
		e, err := d.object(ctx, group, classGroup, "objectSid")
		if err != nil {
			return err
		}
		members = slices.Clone(members)
		slices.SortFunc(members, compareGUID)
		for some := range slices.Chunk(slices.Compact(members), batchSize) {
			if err := d.changeMembers(ctx, what, group, e, some, add); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s AD group %s: %w", what, group, err)
	}
	return nil
}

// memberTries bounds how often somebody else may be faster.
const memberTries = 3

// changeMembers writes what is not yet so of a batch. Windows would let a
// permissive modify (1.2.840.113556.1.4.1413) leave out the rest, Samba does not
// for links.
func (d *desk) changeMembers(ctx context.Context, what string, group identity.GUID, e *ldap.Entry, some []identity.GUID, add bool) error {
	for try := 1; ; try++ {
		there, err := d.membersAmong(ctx, e.DN, some)
		if err != nil {
			return err
		}
		var values []string
		for _, guid := range some {
			if there[guid] != add {
				values = append(values, byGUID(guid))
			}
		}
		if len(values) == 0 {
			return d.checkPrimary(ctx, e, some, add)
		}
		req := ldap.NewModifyRequest(byGUID(group), nil)
		if add {
			req.Add("member", values)
		} else {
			req.Delete("member", values)
		}
		err = d.write(ctx, func() error { return d.Modify(req) })
		switch {
		case err == nil:
			return d.checkPrimary(ctx, e, some, add)
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultEntryAlreadyExists, ldap.LDAPResultAttributeOrValueExists, ldap.LDAPResultUnwillingToPerform) && try < memberTries:
		case deniedBy(err):
			return d.denied(ctx, what, e.DN, e.DN, []AccessRight{{WriteAttribute, "group", "member"}}, err)
		case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
			return d.absent(ctx, some, err)
		default:
			return err
		}
	}
}

func anyOf(guids []identity.GUID) string {
	var filter strings.Builder
	filter.WriteString("(|")
	for _, g := range guids {
		filter.WriteString("(objectGUID=" + escapeBytes(g[:]) + ")")
	}
	filter.WriteString(")")
	return filter.String()
}

// which finds those of the objects that a filter matches.
func (d *desk) which(ctx context.Context, guids []identity.GUID, filter string) (map[identity.GUID]bool, error) {
	entries, err := d.find(ctx, d.base, ldap.ScopeWholeSubtree, "(&"+anyOf(guids)+filter+")", []string{"objectGUID"})
	if err != nil {
		return nil, err
	}
	found := make(map[identity.GUID]bool, len(entries))
	for _, e := range entries {
		guid, err := identity.GUIDFromBytes(e.GetRawAttributeValue("objectGUID"))
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", e.DN, err)
		}
		found[guid] = true
	}
	return found, nil
}

func (d *desk) membersAmong(ctx context.Context, group string, guids []identity.GUID) (map[identity.GUID]bool, error) {
	found, err := d.which(ctx, guids, "(memberOf="+ldap.EscapeFilter(group)+")")
	if err != nil {
		return nil, fmt.Errorf("read who is a member of %q: %w", group, err)
	}
	return found, nil
}

// absent names the members that do not exist.
func (d *desk) absent(ctx context.Context, guids []identity.GUID, cause error) error {
	found, err := d.which(ctx, guids, "(objectClass=*)")
	if err != nil {
		return err
	}
	var missing []string
	for _, g := range guids {
		if !found[g] {
			missing = append(missing, g.String())
		}
	}
	return fmt.Errorf("%w: members %s: %s", ErrNotFound, strings.Join(missing, ", "), words(cause))
}

// checkPrimary refuses to call somebody removed whose primary group it is.
func (d *desk) checkPrimary(ctx context.Context, e *ldap.Entry, some []identity.GUID, add bool) error {
	rid := ridOf(e)
	if add || rid == 0 {
		return nil
	}
	found, err := d.which(ctx, some, "(primaryGroupID="+strconv.FormatUint(uint64(rid), 10)+")")
	if err != nil {
		return fmt.Errorf("read whose primary group %q is: %w", e.DN, err)
	}
	for guid := range found {
		return fmt.Errorf("%w: %q is the primary group of %s; give it another one", errPrimary, e.DN, guid)
	}
	return nil
}

var errPrimary = errors.New("a member by primaryGroupID")

// MemberOf reads the groups of the domain that an object is a direct member of,
// but for its primary group; sorted. It asks the groups, page by page, since
// memberOf of one object comes in ranges.
func (w *Writer) MemberOf(ctx context.Context, guid identity.GUID) (groups []identity.GUID, err error) {
	err = w.do(ctx, func(ctx context.Context, d *desk) error {
		groups = nil
		e, err := d.one(ctx, byGUID(guid), "1.1")
		if err != nil {
			return err
		}
		found, err := d.find(ctx, d.base, ldap.ScopeWholeSubtree, "(&(objectClass=group)(member="+ldap.EscapeFilter(e.DN)+"))", []string{"objectGUID"})
		if err != nil {
			return err
		}
		for _, g := range found {
			guid, err := identity.GUIDFromBytes(g.GetRawAttributeValue("objectGUID"))
			if err != nil {
				return fmt.Errorf("entry %q: %w", g.DN, err)
			}
			groups = append(groups, guid)
		}
		slices.SortFunc(groups, compareGUID)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the groups of AD object %s: %w", guid, err)
	}
	return groups, nil
}
