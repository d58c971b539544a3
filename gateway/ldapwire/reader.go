package ldapwire

import (
	"errors"
	"io"
)

const (
	// initialBuffer is what a Reader starts with, in bytes: enough for a few
	// binds and searches.
	initialBuffer = 4 << 10
	// keptBuffer is the largest buffer kept between messages, in bytes: one TLS
	// record, so that a busy stream is read a record at a time.
	keptBuffer = 16 << 10
	// maxEmptyReads is how often the source may return nothing at all.
	maxEmptyReads = 100
)

var errBadRead = errors.New("the source of LDAP messages returned an impossible count")

// A Reader reads messages from a byte stream, one at a time.
//
// Its buffer starts small, grows only as bytes arrive, and is given back when
// it has grown and is no longer needed. Whatever was in a message is overwritten
// with zeroes when the next one is asked for, and wherever the buffer moves.
//
// A Reader is not safe for concurrent use.
type Reader struct {
	src     io.Reader
	limits  Limits
	budget  *Budget // nil: none
	counted int64   // of buf, by budget

	buf  []byte
	last int // buf[last:r] is the message returned last
	r, w int // buf[r:w] was read and is not yet returned; buf[:last] and buf[w:] are zeroes

	filled  bool  // the last read filled the buffer: more is waiting
	srcErr  error // of src, to be returned when complete messages are used up
	invalid error // what makes the stream unreadable; stays
}

// NewReader returns a Reader of messages of at most max bytes, and of
// DefaultMaxDepth.
func NewReader(r io.Reader, max int) *Reader {
	return NewReaderLimits(r, Limits{MaxMessage: max})
}

// NewReaderLimits returns a Reader with limits.
func NewReaderLimits(r io.Reader, limits Limits) *Reader {
	return &Reader{src: r, limits: limits.withDefaults()}
}

// SetMax changes the longest message, in bytes (0: DefaultMaxMessage). It holds
// for every message not yet returned, even if it has been received in part.
func (rd *Reader) SetMax(max int) {
	rd.limits.MaxMessage = max
	rd.limits = rd.limits.withDefaults()
}

// Buffered returns how many bytes were received and not yet returned.
func (rd *Reader) Buffered() int { return rd.w - rd.r }

// Ready reports whether Next would return without reading from the source.
func (rd *Reader) Ready() bool {
	if rd.srcErr != nil || rd.invalid != nil {
		return true
	}
	n, err := FrameSize(rd.buf[rd.r:rd.w], rd.limits.MaxMessage)
	return err != nil || n > 0 && n <= rd.Buffered()
}

// Release gives the buffer back while nothing is expected, if nothing is in it.
// The last message is not valid any more.
func (rd *Reader) Release() {
	if rd.Buffered() == 0 {
		clear(rd.buf[rd.last:rd.r])
		rd.drop()
		rd.filled = false
	}
}

// Discard drops what was received and not yet returned. After StartTLS was
// answered there should be nothing: see Buffered (RFC 4511 section 4.14.1).
func (rd *Reader) Discard() {
	clear(rd.buf[rd.r:rd.w])
	rd.w = rd.r
}

// Next returns the next message, which is valid until the next call. It blocks
// until the message is complete.
//
// At the end of the stream it returns io.EOF, or io.ErrUnexpectedEOF in the
// middle of a message. Other errors of the source are returned as they are;
// after a timeout Next can be called again, and no byte is lost. ErrTooLarge,
// ErrMalformed and ErrOverBudget are final: every later call returns the same.
func (rd *Reader) Next() (Message, error) {
	clear(rd.buf[rd.last:rd.r])
	rd.last = rd.r
	if rd.invalid != nil {
		return Message{}, rd.invalid
	}
	for {
		size, err := FrameSize(rd.buf[rd.r:rd.w], rd.limits.MaxMessage)
		if err != nil {
			return Message{}, rd.refuse(err)
		}
		if size > 0 && size <= rd.w-rd.r {
			return rd.take(size)
		}
		if err := rd.fill(size); err != nil {
			return Message{}, err
		}
	}
}

// take returns the message in the next size bytes.
func (rd *Reader) take(size int) (Message, error) {
	end := rd.r + size
	frame := rd.buf[rd.r:end:end]
	m, err := ParseMessage(frame)
	if err == nil {
		err = CheckDepth(frame, rd.limits.MaxDepth)
	}
	if err != nil {
		return Message{}, rd.refuse(err)
	}
	rd.r = end
	return m, nil
}

// refuse makes the stream unreadable from here on, and forgets its bytes.
func (rd *Reader) refuse(err error) error {
	rd.invalid = err
	rd.Discard()
	rd.drop()
	return err
}

// fill reads once. need is the size of the message being read, 0 if unknown.
func (rd *Reader) fill(need int) error {
	if err := rd.srcErr; err != nil {
		rd.srcErr = nil
		return rd.ended(err)
	}
	if !rd.makeRoom(need) {
		return rd.refuse(ErrOverBudget)
	}
	for range maxEmptyReads {
		n, err := rd.src.Read(rd.buf[rd.w:])
		if n < 0 || n > len(rd.buf)-rd.w {
			return errBadRead
		}
		rd.w += n
		rd.filled = rd.w == len(rd.buf)
		if n > 0 {
			rd.srcErr = err
			return nil
		}
		if err != nil {
			return rd.ended(err)
		}
	}
	return io.ErrNoProgress
}

// ended says what an end of the stream means where it came.
func (rd *Reader) ended(err error) error {
	if err == io.EOF && rd.Buffered() > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// makeRoom makes buf[w:] not empty, and the buffer no larger than the bytes that
// arrived justify; false: there is no room within the budget. The last message
// is gone (last == r).
func (rd *Reader) makeRoom(need int) bool {
	size := rd.wantedSize(need)
	if size != len(rd.buf) && !rd.afford(size) {
		if rd.Buffered() == len(rd.buf) {
			return false
		}
		size = len(rd.buf) // it will do
	}
	if size == len(rd.buf) && rd.r == 0 {
		return true
	}
	unread := rd.buf[rd.r:rd.w]
	to := rd.buf
	if size != len(rd.buf) {
		to = make([]byte, size)
	}
	n := copy(to, unread)
	if size != len(rd.buf) {
		clear(unread)
	} else {
		clear(rd.buf[max(n, rd.r):rd.w])
	}
	rd.buf, rd.last, rd.r, rd.w = to, 0, 0, n
	return true
}

func (rd *Reader) wantedSize(need int) int {
	have, unread := len(rd.buf), rd.Buffered()
	switch {
	case have == 0, have > keptBuffer && unread == 0:
		return initialBuffer
	case unread == have:
		// Full of one message: double, but not beyond its end. So a buffer above
		// keptBuffer holds nothing else, and is empty after it.
		return max(min(2*have, need), have+1)
	case have < keptBuffer && rd.filled:
		return keptBuffer
	}
	return have
}
