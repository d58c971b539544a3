//go:build race

package reconcile

// histories is how many random histories a test makes: few with the race
// detector, which makes each many times slower; make soak has all.
const histories = 4
