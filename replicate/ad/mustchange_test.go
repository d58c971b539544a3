package ad

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// TestMustChange: a pwdLastSet that may not be read is no temporary password.
func TestMustChange(t *testing.T) {
	for value, want := range map[string]bool{"0": true, "": false, "134000000000000000": false} {
		attrs := map[string][]string{"objectGUID": {"0123456789abcdef"}}
		if value != "" {
			attrs["pwdLastSet"] = []string{value}
		}
		u, err := userFrom(ldap.NewEntry("CN=alice", attrs))
		if err != nil || u.MustChange != want {
			t.Errorf("pwdLastSet %q: got %v, %v, want %v", value, u.MustChange, err, want)
		}
	}
}
