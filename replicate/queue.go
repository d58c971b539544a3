package replicate

import (
	"container/heap"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// queue holds the numbers of pending changes in the order in which they are
// due: some 100 bytes for each, whatever becomes of it. It is not safe for
// concurrent use.
type queue struct {
	order dueOrder
	due   map[identity.Seq]time.Time // of those in order that count
}

type dueItem struct {
	at  time.Time
	seq identity.Seq
}

// put adds a change, or changes when it is due.
func (q *queue) put(seq identity.Seq, at time.Time) {
	if q.due == nil {
		q.due = make(map[identity.Seq]time.Time)
	}
	if known, ok := q.due[seq]; ok && known.Equal(at) {
		return
	}
	q.due[seq] = at
	heap.Push(&q.order, dueItem{at, seq})
}

// pop takes out the change that is due first, if any is at now.
func (q *queue) pop(now time.Time) (identity.Seq, bool) {
	if !q.skip() || q.order[0].at.After(now) {
		return 0, false
	}
	item := heap.Pop(&q.order).(dueItem)
	delete(q.due, item.seq)
	return item.seq, true
}

// next is when the first change is due; false when there is none.
func (q *queue) next() (time.Time, bool) {
	if !q.skip() {
		return time.Time{}, false
	}
	return q.order[0].at, true
}

// skip drops items that put has replaced, and reports whether one is left.
func (q *queue) skip() bool {
	for len(q.order) > 0 {
		first := q.order[0]
		if at, ok := q.due[first.seq]; ok && at.Equal(first.at) {
			return true
		}
		heap.Pop(&q.order)
	}
	return false
}

// dueOrder implements heap.Interface.
type dueOrder []dueItem

func (o dueOrder) Len() int { return len(o) }
func (o dueOrder) Less(i, j int) bool {
	if !o[i].at.Equal(o[j].at) {
		return o[i].at.Before(o[j].at)
	}
	return o[i].seq < o[j].seq
}
func (o dueOrder) Swap(i, j int) { o[i], o[j] = o[j], o[i] }
func (o *dueOrder) Push(x any)   { *o = append(*o, x.(dueItem)) }
func (o *dueOrder) Pop() any {
	last := len(*o) - 1
	item := (*o)[last]
	*o = (*o)[:last]
	return item
}
