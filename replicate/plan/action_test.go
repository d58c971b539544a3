package plan

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
)

// TestProfileFields: each field is where its name says: identity.Profile has
// JumpCloud's names.
func TestProfileFields(t *testing.T) {
	for _, f := range profileFields {
		var u identity.User
		if !Set(&u, f.name, "set") || value(&u, f.name) != "set" {
			t.Errorf("%s: cannot be set and read", f.name)
		}
		written, err := json.Marshal(u.Profile)
		if err != nil {
			t.Fatal(err)
		}
		name := f.name[strings.LastIndex(f.name, ".")+1:]
		if !strings.Contains(string(written), `"`+name+`":"set"`) {
			t.Errorf("%s: sets %s", f.name, written)
		}
	}
}
