package ldapwire

import (
	"errors"
	"sync/atomic"
)

// ErrOverBudget is returned for a message that the [Budget] has no room for.
// Part of it was not read, so the stream cannot be resumed: the peer is owed a
// notice of disconnection (RFC 4511 section 4.4.1).
var ErrOverBudget = errors.New("too much memory is in use for LDAP messages received in part")

// A Budget bounds what many Readers together hold of messages that are not
// complete. Each may have a small buffer (4 KiB) without asking; what grows
// beyond it is counted, as a whole, until it is given back. So peers that send
// most of a message and then nothing cannot use up memory, whatever their
// number, and small messages always pass.
//
// It is safe for concurrent use.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget returns a budget of max bytes.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

// Used returns how many bytes are counted now. It can exceed the budget, when a
// Reader that had grown before was put on it.
func (b *Budget) Used() int64 { return b.used.Load() }

// add counts n bytes, whether there is room or not.
func (b *Budget) add(n int64) {
	if n != 0 { // the counter is shared by all processors
		b.used.Add(n)
	}
}

// take counts n bytes; false: there is no room, and nothing was counted.
func (b *Budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.max {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// SetBudget makes the Reader ask b before its buffer grows, and gives back what
// another budget has counted; nil: it need not ask. A Reader on a budget must be
// taken off it when it is no longer used.
func (rd *Reader) SetBudget(b *Budget) {
	if rd.budget != nil {
		rd.budget.add(-rd.counted)
	}
	rd.budget, rd.counted = b, 0
	if b != nil {
		rd.counted = countable(len(rd.buf))
		b.add(rd.counted)
	}
}

// countable is what a buffer of size bytes counts for.
func countable(size int) int64 {
	if size <= initialBuffer {
		return 0
	}
	return int64(size)
}

// afford counts a buffer of size bytes in place of the present one; false: the
// budget has no room for it. What shrinks always passes.
func (rd *Reader) afford(size int) bool {
	if rd.budget == nil {
		return true
	}
	more := countable(size) - rd.counted
	if more <= 0 {
		rd.budget.add(more)
	} else if !rd.budget.take(more) {
		return false
	}
	rd.counted += more
	return true
}

// drop lets go of the buffer.
func (rd *Reader) drop() {
	rd.buf, rd.last, rd.r, rd.w = nil, 0, 0, 0
	rd.afford(0)
}
