package adsim

import (
	"strconv"
	"strings"
)

// construct makes an attribute that is not stored (MS-ADTS 3.1.1.4.5).
func (d *Directory) construct(e *entry, name string, s Search) []string {
	account := e.is("user")
	switch name {
	case "tokenGroups":
		if s.Scope == 0 && account {
			return d.tokenGroups(e)
		}
	case "canonicalName":
		return []string{d.canonical(e)}
	case "primaryGroupToken":
		if e.is("group") {
			return []string{strconv.FormatInt(e.rid(), 10)}
		}
	case "msDS-PrincipalName":
		if sam := e.first("sAMAccountName"); sam != "" {
			return []string{d.netbios + `\` + sam}
		}
	case "msDS-User-Account-Control-Computed":
		if account {
			return []string{strconv.FormatInt(d.computedUAC(e), 10)}
		}
	case "msDS-UserPasswordExpiryTimeComputed":
		if account {
			return []string{strconv.FormatInt(d.policy().expiry(e), 10)}
		}
	case "allowedChildClassesEffective":
		if actor := d.byGUID(s.by.guid); actor != nil {
			return d.allowedClasses(actor, e)
		}
	case "allowedAttributesEffective":
		if actor := d.byGUID(s.by.guid); actor != nil {
			return d.allowedAttributes(actor, e)
		}
	case "nTSecurityDescriptor":
		// Without the control the audit list is asked for, too, and that is
		// not for everybody (MS-ADTS 3.1.1.3.4.1.11).
		if actor := d.byGUID(s.by.guid); actor != nil && (s.WithoutSACL || d.memberOf(actor, "Domain Admins")) {
			return []string{d.securityDescriptor(e)}
		}
	case "createTimeStamp":
		return e.get("whenCreated")
	case "modifyTimeStamp":
		return e.get("whenChanged")
	}
	return nil
}

// tokenGroups are the SIDs of all groups of an account; its own is not among
// them, other than in the root DSE's.
func (d *Directory) tokenGroups(e *entry) []string {
	var sids []string
	for _, g := range d.groupsOf(e) {
		sids = append(sids, g.first("objectSid"))
	}
	return sids
}

func (d *Directory) computedUAC(e *entry) int64 {
	now, policy := d.now(), d.policy()
	var bits int64
	if policy.locked(e, now) {
		bits |= uacLockout
	}
	if policy.expiry(e) <= filetime(now) {
		bits |= uacExpired
	}
	return bits
}

// canonical is corp.example.test/People/Alice.
func (d *Directory) canonical(e *entry) string {
	path := ""
	for key := e.key; key != d.baseKey && key != ""; key = parentKey(key) {
		at, ok := d.byKey[key]
		if !ok {
			break
		}
		path = "/" + strings.ReplaceAll(at.first("name"), "/", `\/`) + path
	}
	if path == "" {
		path = "/"
	}
	return d.domain + path
}

// Controls that are understood.
func supportedControls() []string {
	return []string{oidPaged, oidShowDeleted, oidPermissiveModify, oidDomainScope, oidSDFlags, oidExtendedDN, oidNotification, oidDirSync}
}

const oidWhoAmI = "1.3.6.1.4.1.4203.1.11.3"

// rootDSE is what everybody may read (MS-ADTS 3.1.1.3.2). tokenGroups tells the
// client who it is.
func (d *Directory) rootDSE(id Identity, s Search) Entry {
	config := "CN=Configuration," + d.base
	usn := strconv.FormatInt(d.usn, 10)
	attrs := []Attribute{
		{"currentTime", []string{generalizedTime(d.now())}},
		{"subschemaSubentry", []string{"CN=Aggregate,CN=Schema," + config}},
		{"dsServiceName", []string{"CN=NTDS Settings," + d.serverDN()}},
		{"namingContexts", []string{d.base, config, "CN=Schema," + config}},
		{"defaultNamingContext", []string{d.base}},
		{"schemaNamingContext", []string{"CN=Schema," + config}},
		{"configurationNamingContext", []string{config}},
		{"rootDomainNamingContext", []string{d.base}},
		{"supportedControl", supportedControls()},
		{"supportedLDAPVersion", []string{"3", "2"}},
		{"supportedLDAPPolicies", []string{"MaxPageSize", "MaxValRange"}},
		{"highestCommittedUSN", []string{usn}},
		{"dnsHostName", []string{d.host}},
		{"ldapServiceName", []string{d.domain + ":dc1$@" + strings.ToUpper(d.domain)}},
		{"serverName", []string{d.serverDN()}},
		{"supportedCapabilities", []string{"1.2.840.113556.1.4.800", "1.2.840.113556.1.4.1670", "1.2.840.113556.1.4.1791", "1.2.840.113556.1.4.1935", "1.2.840.113556.1.4.2080"}},
		{"isSynchronized", []string{"TRUE"}},
		{"isGlobalCatalogReady", []string{"TRUE"}},
		{"domainFunctionality", []string{"7"}},
		{"forestFunctionality", []string{"7"}},
		{"domainControllerFunctionality", []string{"7"}},
		{"supportedExtension", []string{oidWhoAmI}},
	}
	out := Entry{}
	all := len(s.Attributes) == 0
	for _, asked := range s.Attributes {
		all = all || asked == "*"
	}
	for _, a := range attrs {
		if ok, _, _ := rangeOf(s.Attributes, a.Name); ok || all {
			out.Attributes = append(out.Attributes, a)
		}
	}
	if ok, _, _ := rangeOf(s.Attributes, "tokenGroups"); ok {
		out.Attributes = append(out.Attributes, Attribute{"tokenGroups", d.token(id)})
	}
	if s.TypesOnly {
		for i := range out.Attributes {
			out.Attributes[i].Values = nil
		}
	}
	return out
}

// token are the SIDs a connection acts with, its own first. S-1-5-7 is nobody.
func (d *Directory) token(id Identity) []string {
	e := d.byGUID(id.guid)
	if e == nil {
		return []string{string([]byte{1, 1, 0, 0, 0, 0, 0, 5, 7, 0, 0, 0})}
	}
	return append([]string{e.first("objectSid")}, d.tokenGroups(e)...)
}
