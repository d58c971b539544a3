package dc

import (
	"cmp"
	"slices"
	"time"
)

const (
	// firstRetry and maxRetry bound the pause before a controller that failed
	// is tried again; it doubles from the one to the other.
	firstRetry = 250 * time.Millisecond
	maxRetry   = 5 * time.Second
	// stableAfter is how long a controller must have been well for a failure
	// to count as its first.
	stableAfter = 30 * time.Second
	// avoidFor is how long a controller that was overtaken by another in Dial
	// is tried after those that were not.
	avoidFor = 5 * time.Second
)

// state is what is known of one controller. It has no clock and no lock.
type state struct {
	known bool // something was tried
	up    bool // the newest evidence is good; false if nothing is known
	since time.Time
	rtt   time.Duration // of the newest health read
	// readOnly is what the newest health read said.
	readOnly bool

	err      error     // the newest failure
	failedAt time.Time // when that was
	lastOK   time.Time // the newest success

	// Since the last stable time: failures counts those that were due, and the
	// next is due at retryAt.
	failures int
	retryAt  time.Time

	avoidUntil time.Time // after being overtaken
	trialUntil time.Time // one Dial tries it; others leave it alone until then
}

// failed notes a failure and reports whether the controller leaves rotation.
// Failures before the next trial is due do not put it off.
func (st *state) failed(now time.Time, err error) (changed bool) {
	changed = !st.known || st.up
	st.err, st.failedAt, st.trialUntil = err, now, time.Time{}
	if !changed && now.Before(st.retryAt) {
		return false
	}
	if st.up && now.Sub(st.since) >= stableAfter {
		st.failures = 0
	}
	st.failures++
	st.retryAt = now.Add(retryDelay(st.failures))
	if changed {
		st.known, st.up, st.since = true, false, now
	}
	return changed
}

// succeeded notes a success of something that began at started, and reports
// whether the controller enters rotation. What began before the newest failure
// proves nothing about the time after it.
func (st *state) succeeded(started, now time.Time) (changed bool) {
	if st.known && !st.up && started.Before(st.failedAt) {
		return false
	}
	changed = !st.up
	if changed {
		st.known, st.up, st.since = true, true, now
	}
	st.lastOK, st.trialUntil = now, time.Time{}
	return changed
}

// retryDelay is the pause after a number of failures.
func retryDelay(failures int) time.Duration {
	delay := firstRetry
	for range failures - 1 {
		if delay *= 2; delay >= maxRetry {
			return maxRetry
		}
	}
	return delay
}

// due reports whether a controller out of rotation may be tried in its place.
func (st *state) due(now time.Time) bool {
	return !now.Before(st.retryAt) && !now.Before(st.trialUntil)
}

// A class is how gladly a controller is tried.
type class int

const (
	preferred class = iota
	overtaken
	readOnly
	out
)

// class gives the class of a controller. Unknown ones are in rotation. With
// trials, those whose pause is over are, too: nobody else would try them.
func (st *state) class(now time.Time, trials bool) class {
	switch {
	case st.known && !st.up && !(trials && st.due(now)):
		return out
	case st.readOnly:
		return readOnly
	case now.Before(st.avoidUntil):
		return overtaken
	default:
		return preferred
	}
}

// sortByClass brings controllers, which are in the order of the configuration
// or DNS, into the order to try. Of those out of rotation the one that was well
// last comes first, writable before read-only.
func sortByClass(list []*controller, now time.Time, trials bool) {
	slices.SortStableFunc(list, func(a, b *controller) int {
		x, y := a.state.class(now, trials), b.state.class(now, trials)
		if x != y || x != out {
			return cmp.Compare(x, y)
		}
		if a.state.readOnly != b.state.readOnly {
			if a.state.readOnly {
				return 1
			}
			return -1
		}
		return b.state.lastOK.Compare(a.state.lastOK)
	})
}

// A place is where a controller stands in the configuration and DNS.
type place struct {
	group            int // URLs, site, domain
	priority, weight int // RFC 2782; of URLs, the position and 0
}

const (
	groupURLs = iota
	groupSite
	groupDomain
)

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.group, q.group), cmp.Compare(p.priority, q.priority))
}

// weighted returns the controllers by group and priority, and those that share
// both in an order drawn by weight, as RFC 2782 describes ("Weight"). intN
// returns a number in [0, n).
func weighted(list []*controller, intN func(n int) int) []*controller {
	rest := slices.Clone(list)
	// Weight 0 comes first, so that it has a small chance to be drawn.
	slices.SortStableFunc(rest, func(a, b *controller) int {
		return cmp.Or(a.place.compare(b.place), cmp.Compare(min(a.place.weight, 1), min(b.place.weight, 1)))
	})
	order := make([]*controller, 0, len(rest))
	for len(rest) > 0 {
		same := 1
		for same < len(rest) && rest[same].place.compare(rest[0].place) == 0 {
			same++
		}
		i := draw(rest[:same], intN)
		order = append(order, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	return order
}

// draw picks one of the controllers by weight.
func draw(list []*controller, intN func(n int) int) int {
	sum := 0
	for _, c := range list {
		sum += c.place.weight
	}
	at := intN(sum + 1)
	for i, c := range list {
		if at -= c.place.weight; at <= 0 {
			return i
		}
	}
	return len(list) - 1
}
