package plan

import "maps"

// cloneFor copies a map; a nil one becomes one that can be written to.
func cloneFor[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return make(map[K]V)
	}
	return maps.Clone(m)
}
