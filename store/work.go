package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// work is what there is to do: the open changes by status and direction. It
// mirrors the keys below prefixOpen, which are read once, at Open: a scan of
// them would step over a tombstone for every change that was ever done.
// It takes 48 bytes for an open change, and nothing for others.
type work struct {
	mu    sync.RWMutex
	last  identity.Seq           // of the log; guarded by mu
	lists map[listKey][]openItem // by seq; guarded by mu
	// domains are the names in the items, each once; guarded by mu.
	domains map[string]string
}

type listKey struct {
	status    identity.Status
	direction identity.Direction
}

type openItem struct {
	seq    identity.Seq
	at     time.Time // of the intent
	domain string    // empty: the index does not tell, and nobody has asked yet
}

// move is a change of status.
type move struct {
	from, to  identity.Status
	direction identity.Direction
	item      openItem
}

func encodeOpen(e identity.Entry) []byte {
	return binary.BigEndian.AppendUint64([]byte{directionByte(e.Direction)}, uint64(e.At.UnixNano()))
}

// loadWork reads what is open.
func (s *Store) loadWork() error {
	s.work.mu.Lock()
	defer s.work.mu.Unlock()
	s.work.lists, s.work.last = make(map[listKey][]openItem), s.head.Last
	return s.db.View(func(txn *badger.Txn) error {
		return scan(txn, []byte(prefixOpen), nil, false, func(item *badger.Item) (bool, error) {
			return true, item.Value(func(value []byte) error {
				if len(item.Key()) != len(prefixOpen)+1+seqSize || len(value) != 9 {
					return fmt.Errorf("index of open changes: %w", ErrCorrupt)
				}
				key := listKey{statusOfOpen(item.Key()), directionOf(value[0])}
				at := time.Unix(0, int64(binary.BigEndian.Uint64(value[1:]))).UTC()
				s.work.lists[key] = append(s.work.lists[key], openItem{seq: seqOf(item.Key()), at: at})
				return nil
			})
		})
	})
}

func (i openItem) compare(seq identity.Seq) int {
	if i.seq < seq {
		return -1
	}
	if i.seq > seq {
		return 1
	}
	return 0
}

// apply takes over what a batch committed.
func (w *work) apply(last identity.Seq, moves []move) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = last
	for _, m := range moves {
		if isOpen(m.from) {
			key := listKey{m.from, m.direction}
			list := w.lists[key]
			if i, found := slices.BinarySearchFunc(list, m.item.seq, openItem.compare); found {
				w.lists[key] = slices.Delete(list, i, i+1)
			}
		}
		if isOpen(m.to) {
			key := listKey{m.to, m.direction}
			list := w.lists[key]
			if i, found := slices.BinarySearchFunc(list, m.item.seq, openItem.compare); !found {
				m.item.domain = w.intern(m.item.domain)
				w.lists[key] = slices.Insert(list, i, m.item)
			}
		}
	}
}

// intern gives a name in the form that all items share. Callers hold mu.
func (w *work) intern(domain string) string {
	known, ok := w.domains[domain]
	if !ok {
		if w.domains == nil {
			w.domains = make(map[string]string)
		}
		known = strings.Clone(domain)
		w.domains[known] = known
	}
	return known
}

// unnamed are the items whose domain is not known.
func (w *work) unnamed(key listKey) (seqs []identity.Seq) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, item := range w.lists[key] {
		if item.domain == "" {
			seqs = append(seqs, item.seq)
		}
	}
	return seqs
}

// name keeps what unnamed asked for.
func (w *work) name(key listKey, seq identity.Seq, domain string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.lists[key]
	if i, found := slices.BinarySearchFunc(list, seq, openItem.compare); found {
		list[i].domain = w.intern(domain)
	}
}

// count says how many items of a list a domain has, and when the first was made.
func (w *work) count(key listKey, domain string) (n int, oldest time.Time) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, item := range w.lists[key] {
		if !strings.EqualFold(item.domain, domain) {
			continue
		}
		if n++; n == 1 {
			oldest = item.at
		}
	}
	return n, oldest
}

// after returns up to limit sequence numbers greater than seq, in order.
func (w *work) after(key listKey, seq identity.Seq, limit int) []identity.Seq {
	w.mu.RLock()
	defer w.mu.RUnlock()
	list := w.lists[key]
	i, _ := slices.BinarySearchFunc(list, seq+1, openItem.compare)
	list = list[i:]
	seqs := make([]identity.Seq, 0, min(limit, len(list)))
	for _, item := range list[:min(limit, len(list))] {
		seqs = append(seqs, item.seq)
	}
	return seqs
}

// firstOpen is the number of the oldest open change; the greatest number when
// there is none.
func (w *work) firstOpen() identity.Seq {
	w.mu.RLock()
	defer w.mu.RUnlock()
	first := ^identity.Seq(0)
	for _, list := range w.lists {
		if len(list) > 0 {
			first = min(first, list[0].seq)
		}
	}
	return first
}

// Stats says how much there is to do.
type Stats struct {
	Pending, Unsettled, Dead, Held map[identity.Direction]int
	// OldestPending is when the oldest pending change was made; a direction
	// without any is missing.
	OldestPending map[identity.Direction]time.Time
	// LastSeq is the last record of the log.
	LastSeq identity.Seq
}

// Stats is answered from memory.
func (s *Store) Stats() (Stats, error) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return Stats{}, ErrClosed
	}
	return s.work.stats(), nil
}

func (w *work) stats() Stats {
	w.mu.RLock()
	defer w.mu.RUnlock()
	stats := Stats{
		Pending:       make(map[identity.Direction]int),
		Unsettled:     make(map[identity.Direction]int),
		Dead:          make(map[identity.Direction]int),
		Held:          make(map[identity.Direction]int),
		OldestPending: make(map[identity.Direction]time.Time),
		LastSeq:       w.last,
	}
	counts := map[identity.Status]map[identity.Direction]int{
		identity.StatusPending: stats.Pending, identity.StatusUnsettled: stats.Unsettled, identity.StatusDead: stats.Dead,
		identity.StatusHeld: stats.Held,
	}
	for key, list := range w.lists {
		if len(list) == 0 {
			continue
		}
		counts[key.status][key.direction] = len(list)
		if key.status == identity.StatusPending {
			stats.OldestPending[key.direction] = list[0].at
		}
	}
	return stats
}

// watchers are woken after every commit.
type watchers struct {
	mu    sync.Mutex
	chans map[chan struct{}]bool // guarded by mu
}

// Watch returns a channel that receives after a commit. It holds one wake-up,
// so several commits may be one; what happened is found by looking. Look once
// after calling Watch, before waiting. The caller must call cancel.
func (s *Store) Watch() (woken <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	w := &s.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chans == nil {
		w.chans = make(map[chan struct{}]bool)
	}
	w.chans[ch] = true
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.chans, ch)
	}
}

func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.chans {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
