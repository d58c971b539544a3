package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// RecordType says what a record of the log tells about its change.
type RecordType string

const (
	RecordIntent     RecordType = "intent"     // a request is about to be sent to the side it was made for
	RecordAccepted   RecordType = "accepted"   // that side accepted it
	RecordRefused    RecordType = "refused"    // that side refused it
	RecordUnknown    RecordType = "unknown"    // it was sent, and no answer was seen
	RecordProbe      RecordType = "probe"      // a bind with the new password is about to tell whether it was accepted
	RecordAttempt    RecordType = "attempt"    // it is about to be written to the other side
	RecordApplied    RecordType = "applied"    // the other side has it
	RecordLanded     RecordType = "landed"     // the other side has it, though it was superseded or discarded while it was being written
	RecordDeferred   RecordType = "deferred"   // the attempt had no effect; there will be another
	RecordUnanswered RecordType = "unanswered" // the attempt was sent, and no answer was seen
	RecordPostponed  RecordType = "postponed"  // nothing was sent yet, and cannot be now
	RecordDead       RecordType = "dead"       // the other side refused it for good
	RecordRetried    RecordType = "retried"    // a person wants another attempt
	RecordDiscarded  RecordType = "discarded"  // it will not be applied
	RecordSuperseded RecordType = "superseded" // a newer accepted change made it pointless
	RecordHeld       RecordType = "held"       // a safety threshold holds it back
	RecordApproved   RecordType = "approved"   // a person lets it pass all the same
	RecordAccount    RecordType = "account"    // the AD account of a change of direction sync is known now

	// RecordLost stands for records that were damaged or missing, and tells
	// who accepted that. It is about no change.
	RecordLost RecordType = "lost"
	// RecordRestored tells that the store was restored from a backup.
	RecordRestored RecordType = "restored"
)

// Record is one record of the change log. Records are never changed; what a
// change is now is the sum of its records.
type Record struct {
	Seq    identity.Seq `json:"seq"`
	At     time.Time    `json:"at"`
	Type   RecordType   `json:"type"`
	Change identity.Seq `json:"change"` // the intent that this is about; of an intent its own Seq; 0: none

	Intent *identity.Change `json:"intent,omitempty"` // of an intent only
	// Account is the one that an intent without objectGUID turned out to be
	// about; of an acceptance, and of type account.
	Account  *identity.Account `json:"account,omitempty"`
	Reason   string            `json:"reason,omitempty"`   // a peer's or a person's words; never a secret
	Evidence string            `json:"evidence,omitempty"` // of an attempt only
	NextTry  time.Time         `json:"nextTry,omitzero"`
	By       identity.Seq      `json:"by,omitempty"`    // of a supersession: the newer change
	Class    string            `json:"class,omitempty"` // of a holding: what the guard counts
	// From is the first of the records that a lost record stands for, the
	// last is its own number; zero when it stands for none but itself.
	From identity.Seq `json:"from,omitempty"`
	// Sealed is the SHA-256 of the sealed password of an intent, so that
	// nobody can put another in its place: to seal one takes no secret key.
	Sealed []byte `json:"sealed,omitempty"`
}

// valueVersion is the first byte of every JSON value. A reader refuses a
// version it does not know rather than guess.
const valueVersion = 1

// Bounds of what is stored, in bytes. All of it comes from a peer.
const (
	maxReason   = 1024
	maxEvidence = 1024
	maxCloudID  = 255
	maxName     = 16 << 10 // DN, actor, sAMAccountName
	maxCursor   = 256 << 10
	maxDomain   = 256 << 10
)

func encode(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	value := make([]byte, 0, 1+len(text))
	return append(append(value, valueVersion), text...), nil
}

func decode(value []byte, v any) error {
	if len(value) == 0 {
		return fmt.Errorf("empty value: %w", ErrCorrupt)
	}
	if value[0] != valueVersion {
		return fmt.Errorf("value of format %d, want %d: %w", value[0], valueVersion, ErrCorrupt)
	}
	if err := json.Unmarshal(value[1:], v); err != nil {
		return fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return nil
}

// clip bounds a peer's words, on a character boundary.
func clip(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-3], "") + "..."
}
