package ad

import (
	"reflect"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestI2_CursorVersion: who reads more of an object than before raises
// positionVersion, or what an older version left in the mirror would lack it
// until the next full compare.
func TestI2_CursorVersion(t *testing.T) {
	const version = 2
	const want = "sAMAccountName userPrincipalName mail givenName sn userAccountControl adminCount pwdLastSet accountExpires primaryGroupID manager " +
		"displayName description title department company physicalDeliveryOfficeName employeeType telephoneNumber mobile homePhone facsimileTelephoneNumber " +
		"streetAddress l st postalCode co c postOfficeBox groupType member objectGUID objectClass objectSid uSNChanged msDS-UserPasswordExpiryTimeComputed; " +
		"Side GUID ID DN Username UPN Mail First Last Disabled Privileged Computer InScope InRoot DC PwdLastSet MustChange PasswordDate State Profile Manager AccountExpires PasswordExpires ExternalDN Restricted DelegatedTo Activated Sudo; " +
		"Side GUID ID DN Name Description Security Privileged InRoot Members MemberIDs Dynamic"
	got := strings.Join(whole(), " ") + "; " + fields[identity.User]() + "; " + fields[identity.Group]()
	if positionVersion != version || got != want {
		t.Errorf("what is read has changed: raise positionVersion (%d), and the version and the list of this test:\n%s", positionVersion, got)
	}
}

// fields are the names of what T holds.
func fields[T any]() string {
	var names []string
	for f := range reflect.TypeFor[T]().Fields() {
		names = append(names, f.Name)
	}
	return strings.Join(names, " ")
}
