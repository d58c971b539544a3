package plan

import (
	"maps"
	"slices"
	"strings"
)

// index finds what has a name, which is nearly always one thing: the others are
// kept apart, since a slice for every name costs as much as all the rest.
type index[V comparable] struct {
	one  map[string]V
	more map[string][]V // besides the one
}

func newIndex[V comparable](room int) index[V] {
	return index[V]{make(map[string]V, room), make(map[string][]V)}
}

func (x *index[V]) add(name string, v V) {
	if _, taken := x.one[name]; !taken {
		x.one[name] = v
		return
	}
	x.more[name] = append(x.more[name], v)
}

func (x *index[V]) remove(name string, v V) {
	rest := slices.DeleteFunc(x.more[name], func(other V) bool { return other == v })
	if first, ok := x.one[name]; ok && first == v {
		delete(x.one, name)
		if len(rest) > 0 {
			x.one[name], rest = rest[0], rest[1:]
		}
	}
	if x.more[name] = rest; len(rest) == 0 {
		delete(x.more, name)
	}
}

// others appends to a list what has a name and is not v.
func (x *index[V]) others(list []V, name string, v V) []V {
	if first, ok := x.one[name]; ok && first != v {
		list = append(list, first)
	}
	for _, other := range x.more[name] {
		if other != v {
			list = append(list, other)
		}
	}
	return list
}

// cloneFor copies a map that is about to have so many entries: one that grows
// by and by is copied several times over.
func cloneFor[K comparable, V any](m map[K]V, entries int) map[K]V {
	if m != nil && len(m) >= entries {
		return maps.Clone(m)
	}
	clone := make(map[K]V, entries)
	maps.Copy(clone, m)
	return clone
}

// sortByName sorts the keys of objects by name, so that a plan reads well and
// two plans of the same world are equal. Each name is looked up once, and not in
// every comparison.
func sortByName[K any](keys []K, name func(K) string, compare func(a, b K) int) {
	type named struct {
		name string
		key  K
	}
	all := make([]named, len(keys))
	for i, key := range keys {
		all[i] = named{name(key), key}
	}
	slices.SortFunc(all, func(a, b named) int {
		if by := strings.Compare(a.name, b.name); by != 0 {
			return by
		}
		return compare(a.key, b.key)
	})
	for i := range all {
		keys[i] = all[i].key
	}
}
