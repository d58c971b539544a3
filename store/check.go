package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// FindingKind says in what way something is not as it was written.
type FindingKind string

const (
	FindingMissing  FindingKind = "missing"  // records are not there
	FindingAltered  FindingKind = "altered"  // a record is not what was written, or not in its place
	FindingForeign  FindingKind = "foreign"  // records that this store did not write
	FindingStale    FindingKind = "stale"    // the database is older than the mark says
	FindingMark     FindingKind = "mark"     // the high-water mark cannot be read
	FindingHead     FindingKind = "head"     // the database's account of itself cannot be read
	FindingValues   FindingKind = "values"   // what is kept beside the log is not what was written
	FindingDatabase FindingKind = "database" // the database cannot be opened
	FindingState    FindingKind = "state"    // the state of a change does not follow from its records
)

// Finding is one thing that is not as it was written.
type Finding struct {
	Kind FindingKind `json:"kind"`
	// From and Through are the first and last record concerned; 0: none.
	From    identity.Seq `json:"from,omitempty"`
	Through identity.Seq `json:"through,omitempty"`
	At      time.Time    `json:"at,omitzero"` // of the record, as far as it can be read
	Type    RecordType   `json:"type,omitempty"`
	Detail  string       `json:"detail,omitempty"`
}

func (f Finding) String() string {
	text := string(f.Kind)
	switch {
	case f.From != 0 && f.From != f.Through:
		text = fmt.Sprintf("records %d to %d (%d) %s", f.From, f.Through, f.Through-f.From+1, f.Kind)
	case f.From != 0:
		text = fmt.Sprintf("record %d %s", f.From, f.Kind)
		if f.Type != "" {
			text += fmt.Sprintf(" (it reads: %s, %s)", f.Type, f.At.Format(time.RFC3339))
		}
	}
	if f.Detail != "" {
		text += ": " + f.Detail
	}
	return text
}

// Report is what a check of the store found.
type Report struct {
	First   identity.Seq `json:"first"`   // the first record that retention left; 0: none
	Last    identity.Seq `json:"last"`    // the last that was acknowledged
	Records int64        `json:"records"` // that are there and as they were written
	Lost    int64        `json:"lost"`    // whose loss was accepted earlier
	Values  int64        `json:"values"`  // keys beside the log
	// Findings, in the order of the log; at most maxFindings.
	Findings []Finding `json:"findings"`
	// More findings were not kept.
	More int `json:"more,omitempty"`
	// BadRecords counts all records that are missing or altered.
	BadRecords int64 `json:"badRecords"`

	// System tells that the database could not be opened for a reason that is
	// none of its own, such as a full disk.
	System bool `json:"system,omitempty"`

	// wrong tells, by kind, whether its values are not what was written.
	wrong [len(kinds)]bool
}

const maxFindings = 100

// OK reports whether everything is as it was written.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// Summary names the first finding and how many records are bad.
func (r *Report) Summary() string {
	if r.OK() {
		return "whole"
	}
	text := r.Findings[0].String()
	if r.BadRecords > 0 {
		text += fmt.Sprintf("; %d of %d records are missing or altered", r.BadRecords, r.Last)
	}
	return text
}

func (r *Report) add(f Finding) {
	if f.From != 0 {
		r.BadRecords += int64(f.Through - f.From + 1)
	}
	if n := len(r.Findings) - 1; n >= 0 && f.Kind == FindingMissing && r.Findings[n].Kind == FindingMissing && r.Findings[n].Through+1 == f.From {
		r.Findings[n].Through = f.Through
		return
	}
	if len(r.Findings) >= maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, f)
}

// Verify checks every record and every value, in one snapshot, against the
// database's account of itself and the high-water mark, and every state
// against the records that led to it. It may run while the store is used.
//
// While the store is open, what was written last is read from memory; a
// damaged write-ahead log shows when the store is opened again.
func (s *Store) Verify() (Report, error) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return Report{}, ErrClosed
	}
	if r := s.damage.Load(); r != nil {
		return *r, nil
	}
	m := *s.mark.Load()
	var markErr error
	if s.markFile != nil {
		onDisk, err := s.markFile.read(s.chain.key)
		if err == nil && onDisk.Counter < m.Counter {
			err = fmt.Errorf("%w: it is older than what was written to it", errMarkDamaged)
		}
		markErr = err
	}
	return s.examine(m, markErr, true)
}

// examine checks everything. It sets s.head, and s.chain.id when the mark
// could not tell it, while the store is being opened. With deep it replays
// the log too.
func (s *Store) examine(m mark, markErr error, deep bool) (r Report, err error) {
	opening := s.mark.Load() == nil
	err = s.db.View(func(txn *badger.Txn) error {
		r = Report{Last: m.Last}
		if markErr != nil {
			r.add(Finding{Kind: FindingMark, Detail: markErr.Error()})
			s.idFromHead(txn, opening)
		}
		h, own, headErr := s.getHead(txn)
		if headErr != nil {
			r.add(Finding{Kind: FindingHead, Detail: headErr.Error()})
			h = head{Last: m.Last, Tip: m.Tip, BaseTip: s.chain.start()}
		} else if opening {
			s.head = h
		}
		w := walk{report: &r, chain: s.chain, head: h}
		if err := w.run(txn); err != nil {
			return err
		}
		w.end(m)
		if headErr != nil {
			return nil
		}
		if schema, err := s.schema(); err != nil || schema != h.Schema {
			r.add(Finding{Kind: FindingHead, Detail: fmt.Sprintf("schema version %d, and %d was written", schema, h.Schema)})
		}
		s.compareMark(&r, h, own, m, markErr)
		if err := s.compareValues(txn, &r, h); err != nil {
			return err
		}
		if deep && r.OK() {
			return s.replay(txn, &r)
		}
		return nil
	})
	return r, err
}

// idFromHead learns the store's id from a head that is not trusted yet: its
// tag is checked with it.
func (s *Store) idFromHead(txn *badger.Txn, opening bool) {
	value, err := getBytes(txn, []byte(keyHead))
	var h head
	if !opening || len(s.chain.id) > 0 || err != nil || len(value) < 1+len(tag{}) {
		return
	}
	if json.Unmarshal(value[1+len(tag{}):], &h) == nil {
		s.chain.id = h.Store
	}
}

// walk goes through the log.
type walk struct {
	report *Report
	chain  chain
	head   head

	expect identity.Seq // the number that comes next
	prev   tag          // of the record before expect
	linked bool         // prev is known
}

func (w *walk) run(txn *badger.Txn) error {
	w.expect, w.prev, w.linked = w.head.Base+1, w.head.BaseTip, true
	return scan(txn, []byte(prefixLog), nil, false, func(item *badger.Item) (bool, error) {
		if len(item.Key()) != len(prefixLog)+seqSize {
			w.report.add(Finding{Kind: FindingForeign, Detail: fmt.Sprintf("key %q", item.Key())})
			return true, nil
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			value = nil // what cannot be read is not what was written
		}
		w.record(seqOf(item.Key()), value)
		return true, nil
	})
}

func (w *walk) record(seq identity.Seq, value []byte) {
	r, f, err := w.chain.open(seq, value)
	if seq <= w.head.Base || seq > w.head.Last {
		w.report.add(Finding{Kind: FindingForeign, Detail: fmt.Sprintf("record %d, and the log goes from %d to %d", seq, w.head.Base+1, w.head.Last)})
		return
	}
	if err != nil {
		w.gap(seq)
		w.report.add(Finding{Kind: FindingAltered, From: seq, Through: seq, At: r.At, Type: r.Type, Detail: err.Error()})
		w.expect, w.linked = seq+1, false
		return
	}
	if !r.fills(w.expect) {
		w.gap(seq)
	}
	switch {
	case w.linked && r.Type != RecordLost && f.prev != w.prev:
		w.report.add(Finding{Kind: FindingAltered, From: seq, Through: seq, At: r.At, Type: r.Type, Detail: "it does not follow the record before it"})
	case r.Type == RecordLost && r.From != 0:
		w.report.Lost += int64(r.Seq - r.From + 1)
	default:
		w.report.Records++
	}
	w.expect, w.prev, w.linked = seq+1, f.tag, r.Type != RecordLost
}

// fills reports whether r is the record of that number, or stands for it.
func (r Record) fills(want identity.Seq) bool {
	return r.Seq == want || (r.Type == RecordLost && r.From != 0 && r.From <= want && want <= r.Seq)
}

// gap notes that the records before seq are missing, if they are.
func (w *walk) gap(seq identity.Seq) {
	if w.expect < seq {
		w.report.add(Finding{Kind: FindingMissing, From: w.expect, Through: seq - 1})
		w.linked = false
	}
}

func (w *walk) end(m mark) {
	last := max(w.head.Last, m.Last)
	w.report.Last = last
	if last > w.head.Base {
		w.report.First = w.head.Base + 1
	}
	intact := w.linked && w.expect == w.head.Last+1
	w.gap(last + 1)
	if intact && w.prev != w.head.Tip {
		w.report.add(Finding{Kind: FindingAltered, From: w.head.Last, Through: w.head.Last, Detail: "it is not the last record that was written"})
	}
}

// compareMark looks for a database that is older than the mark, or another.
func (s *Store) compareMark(r *Report, h head, own tag, m mark, markErr error) {
	switch {
	case markErr != nil:
	case !bytes.Equal(h.Store, m.Store):
		r.add(Finding{Kind: FindingHead, Detail: "the high-water mark is that of another store"})
	case h.Counter < m.Counter:
		r.add(Finding{Kind: FindingStale, Detail: fmt.Sprintf("the database ends at transaction %d, and %d was acknowledged: it lost its end, or is an older copy", h.Counter, m.Counter)})
	case h.Counter == m.Counter && own != m.Head:
		r.add(Finding{Kind: FindingHead, Detail: "it is not the one that was acknowledged"})
	}
}

// compareValues counts and sums everything beside the log.
func (s *Store) compareValues(txn *badger.Txn, r *Report, h head) error {
	found, err := s.tallies(txn, r)
	if err != nil {
		return err
	}
	for i, t := range found {
		r.Values += t.N
		if t == h.Tallies[i] {
			continue
		}
		r.wrong[i] = true
		detail := fmt.Sprintf("%s: %d, and %d were written", nouns[i], t.N, h.Tallies[i].N)
		if t.N == h.Tallies[i].N {
			detail = fmt.Sprintf("%s: one or more of %d are not what was written", nouns[i], t.N)
		}
		r.add(Finding{Kind: FindingValues, Detail: detail})
	}
	return nil
}

func (s *Store) tallies(txn *badger.Txn, r *Report) (found [len(kinds)]tally, err error) {
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		key := item.KeyCopy(nil)
		kind := kindOf(key)
		if kind < 0 {
			if !bytes.HasPrefix(key, []byte(prefixLog)) && string(key) != keyHead && string(key) != keySchema {
				r.add(Finding{Kind: FindingForeign, Detail: fmt.Sprintf("key %q", key)})
			}
			continue
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			value = nil
		}
		found[kind].add(s.chain.item(key, value))
	}
	return found, nil
}

// replay compares the states of changes with what their records lead to.
// Those before a loss that was accepted cannot be told from their records.
func (s *Store) replay(txn *badger.Txn, r *Report) error {
	states := make(map[identity.Seq]identity.Entry)
	err := s.eachRecord(txn, func(record Record, _ frame) error {
		if record.Type == RecordLost {
			clear(states)
		}
		before, known := states[record.Change]
		if !known && record.Type != RecordIntent {
			return nil // it began before the first record that can be told from
		}
		after, err := next(before, record)
		if err != nil {
			r.add(Finding{Kind: FindingState, From: record.Seq, Through: record.Seq, At: record.At, Type: record.Type, Detail: err.Error()})
			return nil
		}
		states[record.Change] = after
		return nil
	})
	if err != nil {
		return err
	}
	for seq, want := range states {
		got, err := getEntry(txn, seq)
		if errors.Is(err, ErrNotFound) && want.Status.Final() {
			continue // retention removed it
		}
		wantText, wantErr := json.Marshal(want)
		gotText, gotErr := json.Marshal(got)
		if err = errors.Join(err, wantErr, gotErr); err != nil || !bytes.Equal(wantText, gotText) {
			r.add(Finding{Kind: FindingState, Detail: fmt.Sprintf("change %d is %s, and its records make it %s", seq, got.Status, want.Status)})
		}
	}
	return nil
}

// eachRecord reads the records that are what was written, in order.
func (s *Store) eachRecord(txn *badger.Txn, fn func(Record, frame) error) error {
	return scan(txn, []byte(prefixLog), nil, false, func(item *badger.Item) (bool, error) {
		value, err := item.ValueCopy(nil)
		if err != nil {
			return true, nil
		}
		if r, f, err := s.chain.open(seqOf(item.Key()), value); err == nil {
			return true, fn(r, f)
		}
		return true, nil
	})
}
