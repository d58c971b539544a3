package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// TestSyncRefusals: what sync must not do, and what it is not let do.
func TestSyncRefusals(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, "jumpcloud", true)
	w.running()
	crew := w.boundGroup("Crew")
	var names, ids []string
	for n := range 6 {
		name := fmt.Sprint("crew", n)
		id, err := w.enrol(name, "Crew", crew)
		if err != nil {
			t.Fatal(err)
		}
		names, ids = append(names, name), append(ids, id)
	}
	boss := w.privileged(t)
	eventually(t, patience, "everybody has an account", func() bool { return w.allEnabled(names) })
	w.massDisable(t, names, ids)
	w.withoutRights(t, names[0], ids[0])
	w.stillPrivileged(t, boss)
}

func (w *syncWorld) allEnabled(names []string) bool {
	for _, name := range names {
		if !w.enabled(name) {
			return false
		}
	}
	return true
}

// privileged binds a JumpCloud user to a name that a privileged account has,
// which is returned as it is.
func (w *syncWorld) privileged(t *testing.T) *ldap.Entry {
	t.Helper()
	w.dc.AddUser(t, "boss", []byte(before), ldap.Attribute{Type: "adminCount", Vals: []string{"1"}})
	id, err := w.enrol("boss", "Crew", "")
	if err == nil {
		err = w.edit(id, "firstname", "Other")
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.inAD("boss")
}

func (w *syncWorld) stillPrivileged(t *testing.T, boss *ldap.Entry) {
	t.Helper()
	if now := w.inAD("boss"); now.GetAttributeValue("uSNChanged") != boss.GetAttributeValue("uSNChanged") {
		t.Errorf("a privileged account was written: %+v", now)
	}
	if out := w.must("user", "why", "boss"); !strings.Contains(out, "privileged (adminCount=1)") {
		t.Errorf("user why: %s", out)
	}
}

// massDisable suspends everybody in JumpCloud, which a guard holds until
// somebody has said so.
func (w *syncWorld) massDisable(t *testing.T, names, ids []string) {
	t.Helper()
	for _, id := range ids {
		if err := w.edit(id, "state", "SUSPENDED"); err != nil {
			t.Fatal(err)
		}
	}
	var held []struct {
		Seq     uint64
		CloudID string `json:"cloudID"`
	}
	eventually(t, patience, "everybody is held", func() bool {
		held = nil
		if err := json.Unmarshal([]byte(w.must("--output", "json", "guard", "list", "--direction", "sync")), &held); err != nil {
			t.Fatal(err)
		}
		return len(held) == len(ids)
	})
	w.must("replicate", "resync")
	if out := w.must("guard", "list"); !strings.Contains(out, "ad_disables") || !w.allEnabled(names) {
		t.Errorf("all enabled: %t; guard list: %s", w.allEnabled(names), out)
	}
	w.must("guard", "approve", "--all", "--yes")
	eventually(t, patience, "everybody is disabled when somebody has said so", func() bool {
		for _, name := range names {
			if !w.disabled(name) {
				return false
			}
		}
		return true
	})
	for _, id := range ids {
		if err := w.edit(id, "state", "ACTIVATED"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, patience, "everybody is enabled again", func() bool { return w.allEnabled(names) })
}

var sambaCommand = regexp.MustCompile("Samba: `samba-tool dsacl set --objectdn=\"([^\"]+)\" --sddl=\"([^\"]+)\"`")

// withoutRights takes the sync account's rights away. The dead letter names the
// right that is missing, and the command that it tells cures it.
func (w *syncWorld) withoutRights(t *testing.T, name, id string) {
	t.Helper()
	w.accessList(t, w.ungranted)
	if err := w.edit(id, "firstname", "Forbidden"); err != nil {
		t.Fatal(err)
	}
	var dead []identity.Entry
	eventually(t, patience, "what AD refuses is a dead letter", func() bool {
		dead = nil
		if err := json.Unmarshal([]byte(w.must("--output", "json", "changelog", "list", "--status", "dead")), &dead); err != nil {
			t.Fatal(err)
		}
		return len(dead) == 1
	})
	reason := dead[0].Reason
	command := sambaCommand.FindStringSubmatch(reason)
	if !strings.Contains(reason, "Write givenName of user objects") || command == nil {
		t.Fatalf("the dead letter does not tell what to do: %s", reason)
	}
	if why := w.must("user", "why", name); !strings.Contains(why, "Write givenName of user objects") {
		t.Errorf("user why: %s", why)
	}
	w.dc.Tool(t, "dsacl", "set", "--objectdn="+command[1], "--sddl="+command[2])
	w.must("changelog", "retry", fmt.Sprint(dead[0].Seq))
	eventually(t, patience, "the first name arrives once the right is there", func() bool { return w.attr(name, "givenName") == "Forbidden" })
}
