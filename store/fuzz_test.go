package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// FuzzNext feeds the state machine records as they are read: it must refuse or
// follow each, and what it makes of one must not depend on how often it is
// asked.
func FuzzNext(f *testing.F) {
	seed := func(records ...Record) {
		text, err := json.Marshal(records)
		ok(f, err)
		f.Add(text)
	}
	imported, synced := change(1), cloudChange("u1")
	account := identity.Account{Domain: "corp.example", GUID: guid(1)}
	seed(Record{Type: RecordIntent, Intent: &imported}, Record{Type: RecordAccepted}, Record{Type: RecordAttempt, Evidence: "d"}, Record{Type: RecordApplied})
	seed(Record{Type: RecordIntent, Intent: &synced}, Record{Type: RecordAccepted}, Record{Type: RecordHeld, Class: "c"},
		Record{Type: RecordAccount, Account: &account}, Record{Type: RecordApproved}, Record{Type: RecordSuperseded, By: 9})
	seed(Record{Type: RecordIntent}, Record{Type: RecordAccount})
	f.Fuzz(func(t *testing.T, text []byte) {
		var records []Record
		if json.Unmarshal(text, &records) != nil {
			return
		}
		var e identity.Entry
		for _, r := range records {
			after, err := next(e, r)
			if again, errAgain := next(e, r); !reflect.DeepEqual(after, again) || (err == nil) != (errAgain == nil) {
				t.Fatalf("%+v after %+v: %+v, and again %+v", r, e, after, again)
			}
			switch {
			case err == nil:
				e = after
			case !errors.Is(err, ErrState) && !errors.Is(err, errSame):
				t.Fatalf("%+v after %+v: %v", r, e, err)
			}
		}
	})
}

// FuzzAuthenticated feeds what lies on disk or in a backup to its decoders:
// none may panic, or take for its own what was not made with the key.
func FuzzAuthenticated(f *testing.F) {
	key, err := secret.NewLogKey(secret.New(bytes.Repeat([]byte{7}, 32)))
	ok(f, err)
	c := chain{key: key, id: []byte("store")}
	record, _, err := c.seal(Record{Seq: 7, Type: RecordLost, From: 3}, c.start())
	ok(f, err)
	sealed, _, err := c.sealHead(head{Schema: schemaVersion, Last: 7})
	ok(f, err)
	slot, err := encodeMark(key, mark{Store: c.id, Counter: 1})
	ok(f, err)
	backup := bytes.NewBuffer(nil)
	out := &backupWriter{out: bufio.NewWriter(backup), sum: sha256.New()}
	out.item([]byte("key"), []byte("value"))
	ok(f, out.out.Flush())
	genuine := [][]byte{record, sealed, slot, backup.Bytes()}
	for _, seed := range genuine {
		f.Add(seed)
		f.Add(seed[:len(seed)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := c.open(identity.Seq(7), b); err == nil && !bytes.Equal(b, record) {
			t.Errorf("a record that was not sealed: %q", b)
		}
		if _, _, err := c.openHead(b); err == nil && !bytes.Equal(b, sealed) {
			t.Errorf("a head that was not sealed: %q", b)
		}
		if _, err := decodeMark(key, b); err == nil && !bytes.HasPrefix(b, bytes.TrimRight(slot, "\x00")) {
			t.Errorf("a mark that was not made: %q", b)
		}
		in := &backupReader{in: bufio.NewReader(bytes.NewReader(b)), sum: sha256.New()}
		for {
			k, _, err := in.item()
			if err != nil || k == nil {
				break
			}
		}
	})
}
