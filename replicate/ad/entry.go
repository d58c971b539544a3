package ad

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// mirrored are the attributes that a Reader reads of users and groups, and
// that changes are looked for in.
func mirrored() []string {
	return []string{"sAMAccountName", "userPrincipalName", "mail", "givenName", "sn",
		"userAccountControl", "adminCount", "pwdLastSet", "accountExpires", "primaryGroupID", "manager",
		"displayName", "description", "title", "department", "company", "physicalDeliveryOfficeName", "employeeType",
		"telephoneNumber", "mobile", "homePhone", "facsimileTelephoneNumber",
		"streetAddress", "l", "st", "postalCode", "co", "c", "postOfficeBox", "groupType", "member"}
}

// whole are the attributes that an object is read with.
func whole() []string {
	return append(mirrored(), "objectGUID", "objectClass", "objectSid", "uSNChanged", "msDS-UserPasswordExpiryTimeComputed")
}

type class int

const (
	classOther class = iota // may contain users and groups
	classUser
	classGroup
	classPolicy // a password policy for some users
)

func classOf(e *ldap.Entry) class {
	for _, value := range e.GetAttributeValues("objectClass") {
		switch strings.ToLower(value) {
		case "user":
			return classUser
		case "group":
			return classGroup
		case "msds-passwordsettings":
			return classPolicy
		}
	}
	return classOther
}

// entryGUID is the objectGUID of an entry read with withGUIDs, and its DN.
func entryGUID(e *ldap.Entry) (identity.GUID, string, error) { return splitDN(e.DN) }

// readableUser makes a user of an entry read with withGUIDs.
func (p *peer) readableUser(e *ldap.Entry, at place) (identity.User, error) {
	_, dn, err := entryGUID(e)
	if err != nil {
		return identity.User{}, err
	}
	u, err := userFrom(&ldap.Entry{DN: dn, Attributes: e.Attributes})
	if err != nil {
		return identity.User{}, err
	}
	u.DC, u.InRoot = p.dc, below(dn, at.root)
	if u.InRoot && (u.Username == "" || e.GetAttributeValue("userAccountControl") == "") {
		return u, unreadable(dn, "sAMAccountName or userAccountControl", "Read all user information")
	}
	if manager := e.GetAttributeValue("manager"); manager != "" {
		if u.Manager.GUID, _, err = splitDN(manager); err != nil {
			return u, fmt.Errorf("manager of %q: %w", dn, err)
		}
	}
	u.AccountExpires = pointInTime(e.GetAttributeValue("accountExpires"))
	u.PasswordExpires = pointInTime(e.GetAttributeValue("msDS-UserPasswordExpiryTimeComputed"))
	u.Profile = profileOf(e)
	return u, nil
}

// unreadable: every such object has the attribute, so the account may not see
// it, and its absence would be taken for a state.
func unreadable(dn, attribute, right string) error {
	return fmt.Errorf("%w: the service account may not read %s of %q; delegate %q on the root container and the containers of the groups in scope",
		ErrIncomplete, attribute, dn, right)
}

func profileOf(e *ldap.Entry) identity.Profile {
	get := e.GetAttributeValue
	country := get("co")
	if country == "" {
		country = get("c")
	}
	return identity.Profile{
		DisplayName: get("displayName"), Description: get("description"), JobTitle: get("title"), Department: get("department"),
		Company: get("company"), Location: get("physicalDeliveryOfficeName"), EmployeeType: get("employeeType"),
		WorkPhone: get("telephoneNumber"), MobilePhone: get("mobile"), HomePhone: get("homePhone"), WorkFax: get("facsimileTelephoneNumber"),
		Address: identity.Address{Street: get("streetAddress"), Locality: get("l"), Region: get("st"),
			PostalCode: get("postalCode"), Country: country, POBox: get("postOfficeBox")},
	}
}

// lastFileTime is in the year 9999, after which dates have no usual form.
const lastFileTime = 2650467743999999999

// pointInTime reads a FILETIME of which 0 and the far future are never
// (MS-ADA1 2.2 on accountExpires).
func pointInTime(value string) time.Time {
	units, err := strconv.ParseInt(value, 10, 64)
	if err != nil || units <= 0 || units > lastFileTime {
		return time.Time{}
	}
	return identity.FileTime(units)
}

// securityGroup is the bit of groupType (MS-ADTS 2.2.12).
const securityGroup = 0x80000000

// readableGroup makes a group of an entry read with withGUIDs, without its
// members.
func (p *peer) readableGroup(e *ldap.Entry, at place) (identity.Group, error) {
	guid, dn, err := entryGUID(e)
	if err != nil {
		return identity.Group{}, err
	}
	groupType, err := strconv.ParseInt(e.GetAttributeValue("groupType"), 10, 64)
	if err != nil || e.GetAttributeValue("sAMAccountName") == "" {
		return identity.Group{}, unreadable(dn, "sAMAccountName or groupType", "Read all properties")
	}
	return identity.Group{
		Side: identity.AD, GUID: guid, DN: dn, Name: e.GetAttributeValue("sAMAccountName"),
		Description: e.GetAttributeValue("description"), Security: groupType&securityGroup != 0, InRoot: below(dn, at.root),
		Privileged: e.GetAttributeValue("adminCount") == "1" || wellKnown(e),
	}, nil
}

// ridOf is the number of a group within its domain (MS-DTYP 2.4.2), which
// primaryGroupID of its members names; zero for the built-in groups, that
// are nobody's primary group.
func ridOf(e *ldap.Entry) uint32 {
	sid := e.GetRawAttributeValue("objectSid")
	const domainSID = 8 + 5*4 // S-1-5-21 with three numbers of the domain and one of the group
	if len(sid) != domainSID || binary.LittleEndian.Uint32(sid[8:]) != 21 {
		return 0
	}
	return binary.LittleEndian.Uint32(sid[len(sid)-4:])
}

// wellKnown reports whether an account or a group is one of those that AD comes
// with: their numbers are below 1000, those of others are not (MS-DTYP 2.4.2.4,
// MS-SAMR 3.1.1.9.2.1). Several give rights without having adminCount, such as
// Group Policy Creator Owners and Remote Management Users.
func wellKnown(e *ldap.Entry) bool {
	sid := e.GetRawAttributeValue("objectSid")
	return len(sid) >= 12 && binary.LittleEndian.Uint32(sid[len(sid)-4:]) < 1000
}

// primaryOf reads primaryGroupID.
func primaryOf(e *ldap.Entry) uint32 {
	rid, err := strconv.ParseUint(e.GetAttributeValue("primaryGroupID"), 10, 64)
	if err != nil || rid > math.MaxUint32 {
		return 0
	}
	return uint32(rid)
}

func compareGUID(a, b identity.GUID) int { return bytes.Compare(a[:], b[:]) }

// union merges two sorted lists.
func union(a, b []identity.GUID) []identity.GUID {
	if len(b) == 0 {
		return a
	}
	both := append(slices.Clone(a), b...)
	slices.SortFunc(both, compareGUID)
	return slices.Compact(both)
}
