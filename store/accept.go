package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// heldReason is why changes are dead letters after a loss.
const heldReason = "held: records were lost or taken back after this change, and a newer password may be among them; compare, then retry or discard it"

// AcceptLoss lets a damaged store go on without what is damaged or missing.
// It returns what that was.
//
// In the place of each run of bad records it writes one that stands for them,
// so the numbers stay gapless and none is given out twice; a last one says
// who accepted the loss. What is derived from the log is made anew where it is
// not what was written, and cursors are forgotten then, so that readers
// compare everything; what a person has paused stays paused. Pending changes become dead letters: a newer password
// may be among what is lost, and only a person can tell. A change whose
// password is gone is discarded.
//
// Registrations that are not what was written are replaced by their copy, or
// removed where there is none. Links that are not are removed, and accounts
// paired anew: a forged one gives one person's password to another's account.
//
// Cut short, it leaves the store as damaged as it was, and can be repeated.
func (s *Store) AcceptLoss(ctx context.Context, who string) (Report, error) {
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	s.closing.Lock() // nobody else uses the store meanwhile
	defer s.closing.Unlock()
	if s.closed {
		return Report{}, ErrClosed
	}
	r := s.damage.Load()
	if r == nil {
		return Report{}, fmt.Errorf("accept loss: the store is whole: %w", ErrState)
	}
	if r.has(FindingDatabase) {
		return *r, fmt.Errorf("accept loss: the database cannot be opened at all; %s: %w", r.WayBack(), ErrCorrupt)
	}
	if len(s.chain.id) == 0 {
		return *r, fmt.Errorf("accept loss: neither the high-water mark nor the database tells which store this is; restore a backup with `dirgate restore`: %w", ErrCorrupt)
	}
	if err := s.mend(r, who); err != nil {
		return *r, fmt.Errorf("accept loss: %w", err)
	}
	s.log.Warn("the loss of records was accepted", "by", who, "records", r.BadRecords, "first", r.Summary())
	return *r, nil
}

func (s *Store) mend(r *Report, who string) error {
	tip, last, err := s.fillGaps(r, who)
	if err != nil {
		return err
	}
	if err := s.rebuild(r, who); err != nil {
		return err
	}
	m, _ := s.readMark()
	h := head{
		Schema: schemaVersion, Store: s.chain.id, Counter: max(s.head.Counter, m.Counter) + 1,
		Last: last, Tip: tip, Base: s.head.Base, BaseTip: s.head.BaseTip, Hold: last,
	}
	if h.Base == 0 {
		h.BaseTip = s.chain.start()
	}
	if err := s.remark(m); err != nil {
		return err
	}
	s.work.last = last
	if err := s.adopt(h, Record{Type: RecordLost, Reason: clip("accepted by "+who+": "+r.Summary(), maxReason)}); err != nil {
		return err
	}
	s.damage.Store(nil)
	if s.kept != nil {
		err = s.kept.Close()
	}
	s.kept, s.unread = nil, false
	s.keep()
	return errors.Join(err, s.hold())
}

func (s *Store) readMark() (mark, error) {
	if s.markFile == nil {
		return mark{}, errNoMark
	}
	return s.markFile.read(s.chain.key)
}

// remark makes the mark's file again when it cannot be written as it is.
func (s *Store) remark(m mark) (err error) {
	if s.markPath == "" || m.Store != nil {
		return nil
	}
	if err := s.markFile.close(); err != nil {
		return err
	}
	if s.markFile, err = openMark(s.markPath, true); err != nil {
		return fmt.Errorf("make high-water mark: %w", err)
	}
	return nil
}

// adopt makes h, completed with the tallies of what is there, the head, and
// appends r in the same transaction.
func (s *Store) adopt(h head, r Record) error {
	err := s.db.View(func(txn *badger.Txn) (err error) {
		h.Tallies, err = s.tallies(txn, &Report{})
		return err
	})
	if err != nil {
		return err
	}
	s.head = h
	b := s.newBatch()
	defer b.txn.Discard()
	b.set([]byte(keySchema), []byte(fmt.Sprint(schemaVersion)))
	r.Seq, r.At = b.last+1, b.at
	b.append(r)
	if b.err != nil {
		return b.err
	}
	if err := b.commit(); err != nil {
		return err
	}
	return s.loadWork()
}

// fillGaps writes a record in the place of each run of bad ones, and returns
// the end of the log.
func (s *Store) fillGaps(r *Report, who string) (tip tag, last identity.Seq, err error) {
	writes := s.db.NewWriteBatch()
	defer writes.Cancel()
	tip, last = s.head.BaseTip, s.head.Base
	if last == 0 {
		tip = s.chain.start()
	}
	stand := func(through identity.Seq) error {
		record := Record{Seq: through, At: s.now().UTC().Round(0), Type: RecordLost, From: last + 1, Reason: "damaged or missing; the loss was accepted by " + who}
		value, own, err := s.chain.seal(record, tip)
		if err != nil {
			return err
		}
		tip, last = own, through
		return writes.Set(keySeq(prefixLog, through), value)
	}
	err = s.db.View(func(txn *badger.Txn) error {
		err := s.eachRecord(txn, func(record Record, f frame) error {
			if record.Seq <= last {
				return nil
			}
			// One that does not follow the record before is an earlier one of
			// that number, brought back.
			follows := record.fills(last+1) && (f.prev == tip || record.Type == RecordLost || s.follow(r, record.Seq))
			if !follows && record.Seq > last+1 {
				if err := stand(record.Seq - 1); err != nil {
					return err
				}
			} else if !follows {
				return stand(record.Seq)
			}
			tip, last = f.tag, record.Seq
			return nil
		})
		if err == nil && last < r.Last {
			err = stand(r.Last)
		}
		return err
	})
	if err != nil {
		return tip, last, err
	}
	return tip, last, writes.Flush()
}

// follow reports whether a record was not found to be out of its place.
func (s *Store) follow(r *Report, seq identity.Seq) bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == FindingAltered && f.From == seq })
}

// rebuild makes anew, from the log, what is derived from it and is not what
// was written.
func (s *Store) rebuild(r *Report, who string) error {
	derived := r.doubts(prefixState, prefixOpen, prefixAccount, prefixNewest, prefixSecret)
	writes := s.db.NewWriteBatch()
	defer writes.Cancel()
	err := s.db.View(func(txn *badger.Txn) error {
		err := errors.Join(wipeUnless(isPause, txn, writes, prefixCursor), s.mendPauses(r, txn, writes, who),
			wipe(txn, writes, prefixMirror), wipe(txn, writes, prefixVerdict))
		for _, links := range [][]string{{prefixLink, prefixLinkID}, {prefixGroupLink, prefixGroupLinkID}} {
			if r.doubts(links...) {
				err = errors.Join(err, wipe(txn, writes, links[0]), wipe(txn, writes, links[1]))
			}
		}
		if err != nil || !derived {
			return err
		}
		return s.rederive(txn, writes)
	})
	if err == nil && (s.kept != nil || s.unread) {
		err = s.reinstate(writes)
	}
	if err != nil {
		return err
	}
	return writes.Flush()
}

func wipe(txn *badger.Txn, writes *badger.WriteBatch, prefix string) error {
	return wipeUnless(func([]byte) bool { return false }, txn, writes, prefix)
}

// wipeUnless is wipe, but for the keys that stay.
func wipeUnless(stays func(key []byte) bool, txn *badger.Txn, writes *badger.WriteBatch, prefix string) error {
	return scan(txn, []byte(prefix), nil, false, func(item *badger.Item) (bool, error) {
		if stays(item.Key()) {
			return true, nil
		}
		return true, writes.Delete(item.KeyCopy(nil))
	})
}

// rederive replays the records that are left, and passes over what does not
// follow from them.
func (s *Store) rederive(txn *badger.Txn, writes *badger.WriteBatch) error {
	states := make(map[identity.Seq]identity.Entry)
	newest := make(map[string]identity.Seq)
	err := s.eachRecord(txn, func(r Record, _ frame) error {
		e, err := next(states[r.Change], r)
		if err != nil {
			return nil
		}
		states[r.Change] = e
		if r.Type == RecordAccepted {
			key := string(keyNewest(e.Change))
			newest[key] = max(newest[key], e.Seq)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, prefix := range []string{prefixState, prefixOpen, prefixAccount, prefixNewest} {
		if err := wipe(txn, writes, prefix); err != nil {
			return err
		}
	}
	set := func(key []byte, v any) error {
		value, err := encode(v)
		if err != nil {
			return err
		}
		return writes.Set(key, value)
	}
	for seq, e := range states {
		err := set(keySeq(prefixState, seq), e)
		for _, key := range accountKeys(e.Change) {
			err = errors.Join(err, writes.Set(key, nil))
		}
		if isOpen(e.Status) {
			err = errors.Join(err, writes.Set(keyOpen(e.Status, seq), encodeOpen(e)))
		}
		if err != nil {
			return err
		}
	}
	for key, seq := range newest {
		if err := set([]byte(key), seq); err != nil {
			return err
		}
	}
	return scan(txn, []byte(prefixSecret), nil, false, func(item *badger.Item) (bool, error) {
		if e, known := states[seqOf(item.Key())]; known && hasSecret(e.Status) {
			return true, nil
		}
		return true, writes.Delete(item.KeyCopy(nil))
	})
}

// holdStep is how many changes are held in one transaction.
const holdStep = 100

// hold makes dead letters of the pending changes that the head says must not
// be applied by themselves, and discards those whose password is gone. It runs
// before anybody else can use the store.
func (s *Store) hold() error {
	for s.head.Hold != 0 {
		b := s.newBatch()
		more, err := s.holdSome(b)
		if err == nil && !more {
			b.head.Hold = 0
		}
		if err == nil {
			err = errors.Join(b.err)
		}
		if err == nil {
			err = b.commit()
		}
		b.txn.Discard()
		if err != nil {
			return fmt.Errorf("hold changes: %w", err)
		}
		s.work.apply(b.last, b.moves)
	}
	return nil
}

func (s *Store) holdSome(b *batch) (more bool, err error) {
	n := 0
	for _, status := range []identity.Status{identity.StatusPending, identity.StatusUnsettled, identity.StatusDead} {
		for _, d := range []identity.Direction{identity.Import, identity.Sync} {
			for _, seq := range s.work.after(listKey{status, d}, 0, len(s.work.lists[listKey{status, d}])) {
				if seq > s.head.Hold {
					continue
				}
				done, err := b.holdOne(seq)
				if err != nil {
					return false, err
				}
				if done {
					n++
				}
				if n >= holdStep {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// holdOne reports whether there was anything to do.
func (b *batch) holdOne(seq identity.Seq) (bool, error) {
	e, err := getEntry(b.txn, seq)
	if err != nil {
		return false, err
	}
	if e.Kind.IsState() {
		return false, nil // nothing in it is old: both sides are read when it is applied
	}
	_, err = getBytes(b.txn, keySeq(prefixSecret, seq))
	switch {
	case errors.Is(err, ErrNotFound):
		_, err = b.record(e, Record{Type: RecordDiscarded, Reason: "its sealed password was lost with the damaged store"})
		return true, err
	case err != nil:
		return false, err
	case e.Status == identity.StatusPending:
		_, err = b.record(e, Record{Type: RecordDead, Reason: heldReason})
		return true, err
	}
	return false, nil
}
