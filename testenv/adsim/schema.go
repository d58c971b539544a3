package adsim

import "strings"

// An attrType is what the directory knows about an attribute (MS-ADA1 to 3).
type attrType struct {
	name   string
	syntax syntax
	flags  attrFlag
}

type syntax int

const (
	unicodeString syntax = iota // compared without case
	dnString
	integer
	octets
	times // generalized time
)

type attrFlag int

const (
	singleValued attrFlag = 1 << iota
	constructed           // made when asked for by name
	systemOnly            // clients cannot write it
	hidden                // never returned
	personal              // users may write their own (Personal-Information, MS-ADTS 6.1.1.2.7.16)
)

const (
	single   = singleValued
	readOnly = singleValued | systemOnly
)

// attrTypes are the attributes that exist.
func attrTypes() []attrType {
	return []attrType{
		{"objectClass", unicodeString, 0}, {"objectCategory", dnString, single}, {"cn", unicodeString, single},
		{"name", unicodeString, readOnly}, {"distinguishedName", dnString, readOnly}, {"ou", unicodeString, 0}, {"dc", unicodeString, single},
		{"objectGUID", octets, readOnly}, {"objectSid", octets, readOnly}, {"instanceType", integer, readOnly},
		{"uSNCreated", integer, readOnly}, {"uSNChanged", integer, readOnly}, {"whenCreated", times, readOnly}, {"whenChanged", times, readOnly},
		{"isDeleted", unicodeString, readOnly}, {"isRecycled", unicodeString, readOnly}, {"lastKnownParent", dnString, readOnly},
		{"sAMAccountName", unicodeString, single}, {"sAMAccountType", integer, readOnly}, {"userPrincipalName", unicodeString, single},
		{"userAccountControl", integer, single}, {"primaryGroupID", integer, single}, {"adminCount", integer, single},
		{"pwdLastSet", integer, single}, {"accountExpires", integer, single}, {"lockoutTime", integer, single},
		{"badPwdCount", integer, readOnly}, {"badPasswordTime", integer, readOnly}, {"lastLogon", integer, readOnly},
		{"lastLogonTimestamp", integer, readOnly}, {"logonCount", integer, readOnly}, {"logonHours", octets, single}, {"userWorkstations", unicodeString, single},
		{"unicodePwd", octets, single | hidden}, {"userPassword", octets, 0},
		{"givenName", unicodeString, single}, {"sn", unicodeString, single}, {"initials", unicodeString, single}, {"displayName", unicodeString, single},
		{"mail", unicodeString, single}, {"description", unicodeString, 0}, {"info", unicodeString, single}, {"title", unicodeString, single},
		{"department", unicodeString, single}, {"company", unicodeString, single}, {"manager", dnString, single}, {"employeeID", unicodeString, single},
		{"employeeNumber", unicodeString, single}, {"employeeType", unicodeString, single}, {"physicalDeliveryOfficeName", unicodeString, single},
		{"telephoneNumber", unicodeString, single | personal}, {"mobile", unicodeString, single | personal}, {"homePhone", unicodeString, single | personal},
		{"otherTelephone", unicodeString, personal}, {"pager", unicodeString, single | personal}, {"facsimileTelephoneNumber", unicodeString, single | personal}, {"ipPhone", unicodeString, single | personal},
		{"street", unicodeString, single | personal}, {"streetAddress", unicodeString, single | personal}, {"postalCode", unicodeString, single | personal},
		{"postOfficeBox", unicodeString, personal}, {"l", unicodeString, single | personal}, {"st", unicodeString, single | personal},
		{"c", unicodeString, single | personal}, {"co", unicodeString, single | personal}, {"countryCode", integer, single | personal},
		{"homeDirectory", unicodeString, single}, {"homeDrive", unicodeString, single}, {"profilePath", unicodeString, single}, {"scriptPath", unicodeString, single},
		{"uid", unicodeString, 0}, {"uidNumber", integer, single}, {"gidNumber", integer, single}, {"unixHomeDirectory", unicodeString, single},
		{"loginShell", unicodeString, single}, {"gecos", unicodeString, single}, {"proxyAddresses", unicodeString, 0}, {"url", unicodeString, 0},
		{"wWWHomePage", unicodeString, single}, {"servicePrincipalName", unicodeString, 0}, {"thumbnailPhoto", octets, single}, {"jpegPhoto", octets, 0},
		{"extensionAttribute1", unicodeString, single}, {"extensionAttribute2", unicodeString, single},
		{"member", dnString, 0}, {"memberOf", dnString, systemOnly}, {"groupType", integer, single}, {"managedBy", dnString, single},
		{"directReports", dnString, systemOnly},
		{"minPwdLength", integer, single}, {"pwdHistoryLength", integer, single}, {"minPwdAge", integer, single}, {"maxPwdAge", integer, single},
		{"pwdProperties", integer, single}, {"lockoutThreshold", integer, single}, {"lockoutDuration", integer, single}, {"lockOutObservationWindow", integer, single},
		{"dSHeuristics", unicodeString, single}, {"invocationId", octets, readOnly}, {"nETBIOSName", unicodeString, readOnly}, {"dnsRoot", unicodeString, readOnly},
		{"nCName", dnString, readOnly}, {"dNSHostName", unicodeString, single},
		{"tokenGroups", octets, constructed | systemOnly}, {"canonicalName", unicodeString, constructed | systemOnly},
		{"primaryGroupToken", integer, constructed | readOnly}, {"msDS-PrincipalName", unicodeString, constructed | readOnly},
		{"msDS-User-Account-Control-Computed", integer, constructed | readOnly}, {"msDS-UserPasswordExpiryTimeComputed", integer, constructed | readOnly},
		{"allowedChildClassesEffective", unicodeString, constructed | systemOnly}, {"allowedAttributesEffective", unicodeString, constructed | systemOnly},
		{"nTSecurityDescriptor", octets, constructed | readOnly},
		{"createTimeStamp", times, constructed | readOnly}, {"modifyTimeStamp", times, constructed | readOnly},
	}
}

// A schema finds attributes and classes by name.
type schema struct {
	list    []attrType
	attrs   map[string]attrType
	classes map[string]class
}

// A class is an object class with those it is made of, topmost first.
type class struct {
	chain    []string
	category string // cn of its defaultObjectCategory
}

func newSchema() *schema {
	s := &schema{list: attrTypes(), attrs: make(map[string]attrType), classes: make(map[string]class)}
	for _, a := range s.list {
		s.attrs[strings.ToLower(a.name)] = a
	}
	for _, c := range []class{
		{[]string{"top", "person", "organizationalPerson", "user"}, "Person"},
		{[]string{"top", "person", "organizationalPerson", "user", "computer"}, "Computer"},
		{[]string{"top", "person", "organizationalPerson", "contact"}, "Person"},
		{[]string{"top", "person", "organizationalPerson", "user", "inetOrgPerson"}, "Person"},
		{[]string{"top", "person"}, "Person"},
		{[]string{"top", "group"}, "Group"},
		{[]string{"top", "organizationalUnit"}, "Organizational-Unit"},
		{[]string{"top", "container"}, "Container"},
		{[]string{"top", "domain", "domainDNS"}, "Domain-DNS"},
		{[]string{"top", "configuration"}, "Configuration"},
		{[]string{"top", "nTDSService"}, "NTDS-Service"},
		{[]string{"top", "applicationSettings", "nTDSDSA"}, "NTDS-DSA"},
		{[]string{"top", "server"}, "Server"},
		{[]string{"top", "crossRef"}, "Cross-Ref"},
		{[]string{"top", "foreignSecurityPrincipal"}, "Foreign-Security-Principal"},
	} {
		s.classes[strings.ToLower(c.chain[len(c.chain)-1])] = c
	}
	return s
}

// lookup finds an attribute by its description. Options, OIDs and the
// like are not descriptions that AD knows here.
func (s *schema) lookup(description string) (attrType, bool) {
	a, ok := s.attrs[strings.ToLower(description)]
	return a, ok
}

// normal makes two values that the syntax takes for equal the same.
func (a attrType) normal(value string) string {
	switch a.syntax {
	case unicodeString:
		return fold(value)
	case dnString:
		if n, ok := parseName(value); ok {
			return n.key
		}
		return fold(value)
	}
	return value
}
