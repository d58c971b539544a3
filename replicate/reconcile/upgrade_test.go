package reconcile

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/testenv/adsim"
)

// TestI2_OlderMirror: what an older version has left in the mirror, without what
// is read of an object since, is read anew before anything is planned from it.
func TestI2_OlderMirror(t *testing.T) {
	w := newWorld(t)
	w.set(w.group(adsim.ScopeGroup), "adminCount", "1")
	w.pass()
	known, err := w.store.Mirror(w.domain.Name)
	w.ok(err)
	group := func(name string, groups map[identity.GUID]identity.Group) identity.Group {
		for _, g := range groups {
			if g.Name == name {
				return g
			}
		}
		t.Fatalf("the mirror has no group %q", name)
		return identity.Group{}
	}
	g := group(adsim.ScopeGroup, known.Groups)
	if !g.Privileged {
		t.Fatal("adminCount is not seen")
	}
	g.Privileged = false
	cursor, err := w.store.Cursor("import/" + w.domain.Name)
	w.ok(err)
	older := bytes.Replace(cursor, []byte(`{"v":2,`), []byte(`{"v":1,`), 1)
	if bytes.Equal(cursor, older) {
		t.Fatalf("the cursor is %s", cursor)
	}
	w.ok(w.store.AppendImport(t.Context(), w.domain.Name, store.ImportBatch{CursorName: "import/" + w.domain.Name, Cursor: older, Groups: []identity.Group{g}}))

	w.im = w.make()
	w.pass()
	known, err = w.store.Mirror(w.domain.Name)
	w.ok(err)
	if !group(adsim.ScopeGroup, known.Groups).Privileged {
		t.Error("the group's adminCount was not read anew")
	}
}

// TestI2_SameGroup: whatever of AD's a group holds, a change of it is kept.
func TestI2_SameGroup(t *testing.T) {
	cloudsOwn := []string{"Side", "GUID", "ID", "MemberIDs", "Dynamic"}
	for f := range reflect.TypeFor[identity.Group]().Fields() {
		if slices.Contains(cloudsOwn, f.Name) {
			continue
		}
		var a, b identity.Group
		switch v := reflect.ValueOf(&b).Elem().FieldByIndex(f.Index); v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			t.Fatalf("%s is of another kind: extend this test", f.Name)
		}
		if sameGroup(a, b) || !sameGroup(b, b) {
			t.Errorf("a change of %s is not seen", f.Name)
		}
	}
}
