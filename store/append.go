package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// maxGroup is how many requests share a transaction, and so a sync, at most.
const maxGroup = 128

// request is one caller's writes.
type request struct {
	// do stages the writes in a batch. When it returns an error it has staged
	// nothing. It may be called again for another batch when the first was
	// too large, so it keeps nothing but its result.
	do   func(*batch) error
	done chan error // receives the result, after the sync
	// taken is set by whoever is first: the appender that will do it, or the
	// caller that gives up.
	taken atomic.Bool
}

// submit has the appender do something and waits until it is on disk. When
// ctx ends first, nothing was written; once the appender has begun, ctx no
// longer matters, for a commit cannot be recalled.
func (s *Store) submit(ctx context.Context, do func(*batch) error) error {
	r := &request{do: do, done: make(chan error, 1)}
	if err := s.enqueue(ctx, r); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		if r.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-r.done
	}
}

func (s *Store) enqueue(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.damaged(); err != nil {
		return err
	}
	select {
	case s.queue <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// appendLoop is the one writer of the database. While it syncs, requests
// gather, and the next transaction takes them all.
func (s *Store) appendLoop() {
	defer close(s.appended)
	for first := range s.queue {
		s.write(s.gather(first))
	}
}

func (s *Store) gather(first *request) []*request {
	var group []*request
	for r := first; r != nil; {
		if r.taken.CompareAndSwap(false, true) {
			group = append(group, r)
		}
		if len(group) == maxGroup {
			break
		}
		select {
		case r = <-s.queue: // nil when the queue is closed and empty
		default:
			r = nil
		}
	}
	return group
}

// write commits a group in one transaction and reports to each request.
func (s *Store) write(group []*request) {
	if len(group) == 0 {
		return
	}
	select {
	case <-s.failed:
		report(group, s.failure)
		return
	default:
	}
	b := s.newBatch()
	defer b.txn.Discard()
	results := make([]error, len(group))
	for i, r := range group {
		results[i] = r.do(b)
		if b.err != nil {
			s.tooLarge(group, b.err)
			return
		}
	}
	if b.writes > 0 {
		if err := b.commit(); err != nil {
			s.fail(err)
			report(group, s.failure)
			return
		}
		s.work.apply(b.last, b.moves)
		s.watchers.wake()
	}
	for i, r := range group {
		r.done <- results[i]
	}
}

// tooLarge divides a group that does not fit into one transaction. Nothing of
// it was written.
func (s *Store) tooLarge(group []*request, err error) {
	if len(group) == 1 || !errors.Is(err, badger.ErrTxnTooBig) {
		report(group, err)
		return
	}
	half := len(group) / 2
	s.write(group[:half])
	s.write(group[half:])
}

func report(group []*request, err error) {
	for _, r := range group {
		r.done <- err
	}
}

// batch is a transaction that is being filled.
type batch struct {
	store  *Store
	txn    *badger.Txn
	head   head         // as it will be after the transaction
	last   identity.Seq // the last one given out
	at     time.Time    // of all records of the batch
	moves  []move
	writes int
	kept   bool // registrations or credentials are written
	// err is set when the batch as a whole cannot be written.
	err error
}

func (s *Store) newBatch() *batch {
	return &batch{store: s, txn: s.db.NewTransaction(true), head: s.head, last: s.head.Last, at: s.now().UTC().Round(0)}
}

// commit writes the head and commits; then it moves the high-water mark. All
// is on disk when it returns.
//
// The mark follows the database and never goes before it: were both synced
// side by side, nobody could tell a transaction that a crash prevented from
// one that was lost later.
func (b *batch) commit() error {
	s := b.store
	b.head.Counter++
	b.head.Last = b.last
	value, own, err := s.chain.sealHead(b.head)
	if err != nil {
		return err
	}
	if err := b.txn.Set([]byte(keyHead), value); err != nil {
		return err
	}
	if err := s.commit(b.txn); err != nil {
		return err
	}
	s.head = b.head
	m := mark{Store: b.head.Store, Counter: b.head.Counter, Last: b.head.Last, Tip: b.head.Tip, Head: own}
	if err := s.markFile.write(s.chain.key, m); err != nil {
		return err
	}
	s.mark.Store(&m)
	if b.kept {
		s.keep()
	}
	return nil
}

func (b *batch) set(key, value []byte) {
	b.writes++
	b.retally(key, value)
	if err := b.txn.Set(key, value); err != nil && b.err == nil {
		b.err = err
	}
}

// retally keeps count and sum of a key's kind.
func (b *batch) retally(key, value []byte) {
	b.forget(key)
	if kind := kindOf(key); kind >= 0 {
		b.head.Tallies[kind].add(b.store.chain.item(key, value))
	}
}

// forget takes what is stored under key out of its count and sum.
func (b *batch) forget(key []byte) {
	b.kept = b.kept || isKept(key)
	kind := kindOf(key)
	if kind < 0 {
		return
	}
	old, err := getBytes(b.txn, key)
	switch {
	case err == nil:
		b.head.Tallies[kind].take(b.store.chain.item(key, old))
	case !errors.Is(err, ErrNotFound) && b.err == nil:
		b.err = err
	}
}

func (b *batch) setValue(key []byte, v any) {
	value, err := encode(v)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.set(key, value)
}

func (b *batch) delete(key []byte) {
	b.writes++
	b.forget(key)
	if err := b.txn.Delete(key); err != nil && b.err == nil {
		b.err = err
	}
}

// record appends r to the log and brings the state of its change up to date.
// It returns errSame, or an error that wraps ErrState, and has staged nothing,
// when the state machine refuses.
func (b *batch) record(e identity.Entry, r Record) (identity.Entry, error) {
	r.Seq, r.At = b.last+1, b.at
	r.Reason = clip(r.Reason, maxReason)
	if r.Type == RecordIntent {
		r.Change, r.Intent.Seq, r.Intent.At = r.Seq, r.Seq, r.At
	} else {
		r.Change = e.Seq
	}
	after, err := next(e, r)
	if err != nil {
		return e, err
	}
	b.append(r)
	b.setValue(keySeq(prefixState, after.Seq), after)
	b.move(e.Status, after)
	return after, nil
}

// append adds r, whose number is the next, to the chain.
func (b *batch) append(r Record) {
	value, own, err := b.store.chain.seal(r, b.head.Tip)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.last, b.head.Tip = r.Seq, own
	b.set(keySeq(prefixLog, r.Seq), value)
}

// move keeps the index of open changes, and ends the life of a secret that
// has no more use.
func (b *batch) move(from identity.Status, e identity.Entry) {
	if from == e.Status {
		return
	}
	if isOpen(from) {
		b.delete(keyOpen(from, e.Seq))
	}
	if isOpen(e.Status) {
		b.set(keyOpen(e.Status, e.Seq), encodeOpen(e))
	}
	if hasSecret(from) && !hasSecret(e.Status) && !e.Kind.IsState() {
		b.delete(keySeq(prefixSecret, e.Seq))
	}
	b.moves = append(b.moves, move{from: from, to: e.Status, direction: e.Direction, item: openItem{seq: e.Seq, at: e.At, domain: e.Account.Domain}})
}

// must is for a second record of a request whose first is staged already: the
// state machine cannot refuse it, and if it does, nothing is written.
func (b *batch) must(e identity.Entry, err error) identity.Entry {
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("change %d: %w", e.Seq, err)
	}
	return e
}
