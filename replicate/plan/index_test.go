package plan

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestIndex holds it against lists.
func TestIndex(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	x, naive := newIndex[int](0), make(map[string][]int)
	names := []string{"a", "b", "c"}
	for range 5_000 {
		name, v := names[rnd.IntN(len(names))], rnd.IntN(6)
		if rnd.IntN(2) == 0 {
			if !slices.Contains(naive[name], v) { // as ids are
				x.add(name, v)
				naive[name] = append(naive[name], v)
			}
		} else {
			x.remove(name, v)
			naive[name] = slices.DeleteFunc(naive[name], func(other int) bool { return other == v })
		}
		for _, name := range names {
			not := rnd.IntN(7)
			got := slices.Sorted(slices.Values(x.others(nil, name, not)))
			want := slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(naive[name]), func(v int) bool { return v == not })))
			if !slices.Equal(got, want) {
				t.Fatalf("%s without %d: got %v, want %v", name, not, got, want)
			}
			if held := len(x.more[name]); held > 0 && held != len(naive[name])-1 || held == 0 && len(naive[name]) > 1 {
				t.Fatalf("%s: %d are held besides the one of %v", name, held, naive[name])
			}
		}
	}
}

func TestCloneFor(t *testing.T) {
	for _, m := range []map[string]int{nil, {}, {"a": 1}, {"a": 1, "b": 2}} {
		for entries := range 4 {
			clone := cloneFor(m, entries)
			if clone == nil || !maps.Equal(clone, m) {
				t.Errorf("%v for %d: got %v", m, entries, clone)
			}
			if clone["c"] = 3; m["c"] != 0 {
				t.Errorf("%v for %d: the clone is the map itself", m, entries)
			}
		}
	}
}
