package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestSyncStory: an administrator works in JumpCloud, and in AD at the same
// time; each change has its effect on the other side. How long that takes is
// reported.
func TestSyncStory(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, "two-way", true)
	w.letPass("ad_disables", "ad_memberships")
	w.running()
	w.lives(t, 6, "from a change in JumpCloud to AD, with Directory Insights")
	w.bothSides(t)
	w.heldAndResumed(t)
	w.settled(t)
}

// TestSyncStoryListing: the same without Directory Insights, where JumpCloud
// is the only authority.
func TestSyncStoryListing(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, "jumpcloud", false)
	w.letPass("ad_disables", "ad_memberships")
	w.running()
	w.lives(t, 3, "from a change in JumpCloud to AD, without Directory Insights")
	w.settled(t)
}

// settled: both sides agree, nothing is open, and a last comparison writes
// nothing.
func (w *syncWorld) settled(t *testing.T) {
	t.Helper()
	w.must("replicate", "resync")
	w.cloud.ForgetHistory()
	usn := w.lastUSN()
	out := w.must("replicate", "resync")
	if !strings.Contains(out, "open: 0 pending, 0 held, 0 dead letters") {
		t.Errorf("resync: %s\n%s", out, w.must("changelog", "list", "--status", "dead"))
	}
	if writes := w.cloud.Writes(); len(writes) > 0 {
		t.Errorf("with nothing changed JumpCloud was written to: %v", writes)
	}
	if now := w.lastUSN(); now != usn {
		t.Errorf("with nothing changed AD was written to: %s, then %s", usn, now)
	}
	if plan := w.must("replicate", "plan"); regexp.MustCompile(`(?m)^(import|sync) +\S+ +(ad-)?(create|update|suspend|activate|disable|enable|add|remove|delete)`).MatchString(plan) {
		t.Errorf("still planned:\n%s", plan)
	}
}

// lastUSN is the newest uSNChanged of the people and groups.
func (w *syncWorld) lastUSN() (newest string) {
	for _, e := range w.allInAD("(|(objectClass=user)(objectClass=group))") {
		if usn := e.GetAttributeValue("uSNChanged"); len(usn) > len(newest) || len(usn) == len(newest) && usn > newest {
			newest = usn
		}
	}
	return newest
}

// bothSides: the same user is edited on both sides within a second. AD's first
// name wins, JumpCloud's last name is nobody else's, and `user why` says so.
func (w *syncWorld) bothSides(t *testing.T) {
	t.Helper()
	eventually(t, patience, "alice is linked", func() bool { return w.guidOf("alice") != "" })
	begun := time.Now()
	if err := w.cloud.EditUser(w.id, map[string]any{"firstname": "FromCloud", "lastname": "Merged"}); err != nil {
		t.Fatal(err)
	}
	w.dc.Replace(t, w.dn, "givenName", "FromAD")
	if gap := time.Since(begun); gap > time.Second {
		t.Logf("the two edits are %s apart", gap)
	}
	equal := func() bool {
		u := w.cloud.person("alice")
		return u.FirstName == w.attr("alice", "givenName") && u.LastName == w.attr("alice", "sn") && u.LastName == "Merged"
	}
	eventually(t, patience, "both sides have the same of alice", equal)
	why := w.must("user", "why", "alice")
	if u := w.cloud.person("alice"); u.FirstName != "FromAD" || !strings.Contains(why, `won: firstname: AD's "FromAD" over JumpCloud's "FromCloud"`) {
		t.Errorf("the first name is %q, and user why says\n%s", u.FirstName, why)
	}
	w.must("replicate", "resync")
	if !equal() {
		t.Errorf("they do not stay the same: %+v", w.cloud.person("alice"))
	}
}

// guidOf is how `user list` writes the objectGUID of a name.
func (w *syncWorld) guidOf(name string) string {
	for guid, id := range w.links() {
		if w.nameOf(id) == name {
			return guid
		}
	}
	return ""
}

// heldAndResumed: while sync is paused the import goes on, and what is changed
// at JumpCloud waits, in order.
func (w *syncWorld) heldAndResumed(t *testing.T) {
	t.Helper()
	w.must("replicate", "pause", "--direction", "sync")
	usn := w.attr("alice", "uSNChanged")
	var ids []string
	for _, name := range []string{"late1", "late2", "late3"} {
		id, err := w.enrol(name, "Waiting", "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := w.edit(w.id, "lastname", "Older"); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the changes are recorded", func() bool { return strings.Count(w.must("changelog", "list", "--status", "pending"), "\n") >= 5 })
	if err := w.edit(w.id, "lastname", "Newer"); err != nil {
		t.Fatal(err)
	}
	if err := w.edit(ids[0], "lastname", "Renamed"); err != nil {
		t.Fatal(err)
	}
	w.addUser("hiredmeanwhile", []byte(before))
	after(t, "the import goes on", func() bool { return w.cloud.person("hiredmeanwhile").ID != "" })
	if w.inAD("late1") != nil || w.attr("alice", "uSNChanged") != usn {
		t.Error("sync wrote while it was paused")
	}
	w.must("replicate", "resume", "--direction", "sync")
	eventually(t, patience, "what was paused arrives", func() bool {
		return w.enabled("late1") && w.enabled("late2") && w.enabled("late3") && w.attr("alice", "sn") == "Newer" && w.attr("late1", "sn") == "Renamed"
	})
}
