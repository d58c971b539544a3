package ldapwire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"testing"
	"testing/iotest"
)

// stream is three messages: small, larger than the initial buffer, small.
func stream() (all []byte, frames [][]byte) {
	frames = [][]byte{
		AppendBindRequest(nil, 1, "cn=x", []byte("secret-1")),
		AppendModifyRequest(nil, 2, "cn=x", Mod{ModReplace, "jpegPhoto", [][]byte{bytes.Repeat([]byte("photo"), 10_000)}}),
		AppendUnbindRequest(nil, 3),
	}
	return bytes.Join(frames, nil), frames
}

func checkStream(t *testing.T, rd *Reader, frames [][]byte) {
	t.Helper()
	for i, want := range frames {
		m, err := rd.Next()
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if !bytes.Equal(m.Raw, want) || m.ID != int32(i+1) {
			t.Fatalf("message %d: got %v, want %d bytes", i, m, len(want))
		}
	}
	if m, err := rd.Next(); err != io.EOF {
		t.Fatalf("after the last message: got %v, %v, want io.EOF", m, err)
	}
}

func TestReader(t *testing.T) {
	all, frames := stream()
	sources := map[string]func(io.Reader) io.Reader{
		"all at once":          func(r io.Reader) io.Reader { return r },
		"one byte at a time":   iotest.OneByteReader,
		"halves":               iotest.HalfReader,
		"error with last data": iotest.DataErrReader,
		"timeouts":             func(r io.Reader) io.Reader { return &retryReader{rd: NewReader(&lazyReader{r: r}, 1<<20)} },
		"timeouts with data":   func(r io.Reader) io.Reader { return &retryReader{rd: NewReader(&hastyReader{r}, 1<<20)} },
	}
	for name, wrap := range sources {
		t.Run(name, func(t *testing.T) {
			checkStream(t, NewReader(wrap(bytes.NewReader(all)), DefaultMaxMessage), frames)
		})
	}
}

// lazyReader gives one byte, then times out, and so on.
type lazyReader struct {
	r    io.Reader
	wait bool
}

func (l *lazyReader) Read(p []byte) (int, error) {
	if l.wait = !l.wait; !l.wait {
		return 0, os.ErrDeadlineExceeded
	}
	return l.r.Read(p[:min(len(p), 1)])
}

// hastyReader gives two bytes and a timeout each time.
type hastyReader struct{ r io.Reader }

func (h *hastyReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p[:min(len(p), 2)])
	if err == nil {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// retryReader turns the messages of a Reader back into a stream, calling Next
// again after each timeout.
type retryReader struct {
	rd   *Reader
	rest []byte
}

func (r *retryReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		m, err := r.rd.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return 0, err
		}
		r.rest = m.Raw
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestReaderErrors checks where a stream may end.
func TestReaderErrors(t *testing.T) {
	unbind := AppendUnbindRequest(nil, 1)
	broken := errors.New("connection reset")
	tests := []struct {
		name string
		src  io.Reader
		want error
	}{
		{"end between messages", bytes.NewReader(unbind), io.EOF},
		{"end in a header", bytes.NewReader(append(bytes.Clone(unbind), 0x30)), io.ErrUnexpectedEOF},
		{"end in a body", bytes.NewReader(append(bytes.Clone(unbind), unbind[:4]...)), io.ErrUnexpectedEOF},
		{"reset", io.MultiReader(bytes.NewReader(unbind), iotest.ErrReader(broken)), broken},
		{"indefinite length", bytes.NewReader(append(bytes.Clone(unbind), 0x30, 0x80)), ErrMalformed},
		{"malformed body", bytes.NewReader(append(bytes.Clone(unbind), unhex(t, "30 05 02 01 ff 42 00")...)), ErrMalformed},
		{"too deep", bytes.NewReader(append(bytes.Clone(unbind), nested(DefaultMaxDepth)...)), ErrTooDeep},
		{"too large", bytes.NewReader(append(bytes.Clone(unbind), 0x30, 0x83, 1, 0, 0)), ErrTooLarge},
		{"nothing, again and again", io.MultiReader(bytes.NewReader(unbind), emptyReader{}), io.ErrNoProgress},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rd := NewReader(tt.src, 1000)
			if _, err := rd.Next(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // no error goes away
				m, err := rd.Next()
				wantErr(t, err, tt.want)
				if m.Raw != nil {
					t.Errorf("got %v with an error", m)
				}
			}
		})
	}
	if _, err := NewReader(lyingReader{}, 1000).Next(); err != errBadRead {
		t.Errorf("a count beyond the buffer: got %v, want %v", err, errBadRead)
	}
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

type lyingReader struct{}

func (lyingReader) Read(p []byte) (int, error) { return len(p) + 1, nil }

// TestG8_SetMax checks that a changed limit holds for a message received in
// part already, and that the size is refused before the body is read.
func TestG8_SetMax(t *testing.T) {
	all := bytes.Join([][]byte{AppendUnbindRequest(nil, 1), AppendDelRequest(nil, 2, "cn=a long name, far too long")}, nil)
	rd := NewReader(bytes.NewReader(all), 10)
	if _, err := rd.Next(); err != nil {
		t.Fatal(err)
	}
	if rd.Buffered() == 0 || !rd.Ready() {
		t.Fatal("the second message is not buffered")
	}
	rd.SetMax(100)
	if m, err := rd.Next(); err != nil || m.ID != 2 {
		t.Fatalf("got %v, %v, want message 2", m, err)
	}

	r, w := io.Pipe()
	defer r.Close()
	go w.Write([]byte{0x30, 0x84, 0, 0, 1, 0}) // and never more
	rd = NewReader(r, 100)
	_, err := rd.Next()
	wantErr(t, err, ErrTooLarge)
	rd.SetMax(1 << 20)
	_, err = rd.Next()
	wantErr(t, err, ErrTooLarge)
}

func TestReaderReady(t *testing.T) {
	frame := AppendUnbindRequest(nil, 1)
	src := &scriptReader{steps: [][]byte{append(bytes.Clone(frame), frame...), frame[:3], frame[3:]}}
	rd := NewReader(src, 100)
	if rd.Ready() {
		t.Error("Ready before anything was read")
	}
	next := func(wantReady bool) {
		t.Helper()
		if _, err := rd.Next(); err != nil {
			t.Fatal(err)
		}
		if rd.Ready() != wantReady {
			t.Errorf("Ready = %t, want %t; %d bytes buffered", !wantReady, wantReady, rd.Buffered())
		}
	}
	next(true)
	next(false)
	next(false)
}

// scriptReader gives one step per Read, then io.EOF.
type scriptReader struct{ steps [][]byte }

func (s *scriptReader) Read(p []byte) (int, error) {
	if len(s.steps) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.steps[0])
	if s.steps[0] = s.steps[0][n:]; len(s.steps[0]) == 0 {
		s.steps = s.steps[1:]
	}
	return n, nil
}

// TestG2_Discard checks that bytes sent along with StartTLS are dropped, while
// the request itself stays readable.
func TestG2_Discard(t *testing.T) {
	startTLS := AppendExtendedRequest(nil, 1, OIDStartTLS, nil, false)
	injected := AppendDelRequest(nil, 2, "cn=x")
	later := AppendUnbindRequest(nil, 3)
	src := &scriptReader{steps: [][]byte{append(bytes.Clone(startTLS), injected...), later}}
	rd := NewReader(src, 1000)
	m, err := rd.Next()
	if err != nil {
		t.Fatal(err)
	}
	if rd.Buffered() != len(injected) {
		t.Fatalf("Buffered = %d, want %d", rd.Buffered(), len(injected))
	}
	rd.Discard()
	if rd.Buffered() != 0 || !bytes.Equal(m.Raw, startTLS) {
		t.Errorf("after Discard: %d bytes buffered, request %x", rd.Buffered(), m.Raw)
	}
	if bytes.Contains(rd.buf[:cap(rd.buf)], []byte("cn=x")) {
		t.Error("discarded bytes are still in the buffer")
	}
	if m, err = rd.Next(); err != nil || m.ID != 3 {
		t.Errorf("got %v, %v, want message 3", m, err)
	}
}

// TestP4_ReaderClears reads passwords in every position a buffer can have, and
// looks for them in each buffer the reader has used, after the next Next.
func TestP4_ReaderClears(t *testing.T) {
	const canary = "canary-Passw0rd"
	var all []byte
	for id := range int32(200) {
		all = AppendBindRequest(all, id, "cn=x", []byte(canary))
		all = AppendModifyRequest(all, id, "cn=x", Mod{ModReplace, "userPassword",
			[][]byte{bytes.Repeat([]byte(canary), int(id*id%977))}})
	}
	for _, chunk := range []int{1, 7, 100, 3000, 1 << 20} {
		rd := NewReader(&chunkReader{bytes.NewReader(all), chunk}, DefaultMaxMessage)
		var used [][]byte
		for {
			m, err := rd.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(used) == 0 || &used[len(used)-1][0] != &rd.buf[0] {
				used = append(used, rd.buf)
			}
			checkClear(t, used, rd, m)
		}
		checkClear(t, used, rd, Message{})
		if len(used) < 2 {
			t.Errorf("chunks of %d: the buffer was never replaced; the test is too small", chunk)
		}
	}
}

// checkClear checks that nothing but the message just returned and what is not
// yet returned is in any buffer.
func checkClear(t *testing.T, used [][]byte, rd *Reader, m Message) {
	t.Helper()
	live := len(m.Raw) + rd.Buffered()
	nonzero := 0
	for _, buf := range used {
		nonzero += len(buf) - bytes.Count(buf, []byte{0})
	}
	if nonzero > live {
		t.Fatalf("%d bytes are left in %d buffers, of which %d are in use", nonzero, len(used), live)
	}
}

type chunkReader struct {
	r io.Reader
	n int
}

func (c *chunkReader) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.n)]) }

// TestG8_ReaderMemory checks that the buffer follows what arrives, not what is
// claimed, and shrinks again.
func TestG8_ReaderMemory(t *testing.T) {
	const claimed = DefaultMaxMessage - 10
	header := append([]byte{0x30, 0x84}, be32(claimed)...)
	partial := io.MultiReader(bytes.NewReader(header), bytes.NewReader(make([]byte, 100_000)))
	rd := NewReader(partial, DefaultMaxMessage)
	if got := allocated(func() {
		if _, err := rd.Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("got %v, want io.ErrUnexpectedEOF", err)
		}
	}); got > 1<<20 {
		t.Errorf("a message of %d bytes was claimed, 100,000 came, %d were allocated", claimed, got)
	}
	if len(rd.buf) > 300_000 {
		t.Errorf("the buffer has %d bytes after 100,000 came", len(rd.buf))
	}

	big := AppendDelRequest(nil, 1, string(make([]byte, 1_000_000)))
	small := AppendUnbindRequest(nil, 2)
	for name, steps := range map[string][][]byte{
		"drained":               {big, small},
		"with the next one":     {append(bytes.Clone(big), small[:3]...), small[3:]},
		"with a whole next one": {append(bytes.Clone(big), small...), small},
	} {
		rd = NewReader(&scriptReader{steps: steps}, DefaultMaxMessage)
		for {
			_, err := rd.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if len(rd.buf) > initialBuffer {
			t.Errorf("%s: the buffer still has %d bytes", name, len(rd.buf))
		}
	}
}

// allocated returns how many bytes f allocated.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestG10_ReaderAllocs checks that a busy stream of ordinary messages allocates
// nothing once its buffer has its size.
func TestG10_ReaderAllocs(t *testing.T) {
	var page []byte
	for id := range int32(100) {
		page = AppendSearchEntry(page, id, "cn=x,dc=example,dc=com", []AttributeValues{{"cn", [][]byte{[]byte("some value")}}})
	}
	rd := NewReader(&loopReader{page: page}, DefaultMaxMessage)
	for range 10_000 { // let the buffer grow
		if _, err := rd.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if got := testing.AllocsPerRun(10_000, func() {
		if _, err := rd.Next(); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("Next allocates %v times per message", got)
	}
}

// loopReader gives the same page again and again, as much as fits.
type loopReader struct {
	page []byte
	at   int
}

func (l *loopReader) Read(p []byte) (int, error) {
	n := copy(p, l.page[l.at:])
	l.at = (l.at + n) % len(l.page)
	return n, nil
}

// TestReaderRelease: a released buffer is gone, zeroed, and the stream goes on.
func TestReaderRelease(t *testing.T) {
	one, two := AppendUnbindRequest(nil, 1), AppendUnbindRequest(nil, 2)
	pr, pw := io.Pipe()
	defer pr.Close()
	go func() {
		_, _ = pw.Write(one)
		_, _ = pw.Write(two[:3])
		_, _ = pw.Write(two[3:])
		_ = pw.Close()
	}()
	rd := NewReader(pr, 0)
	m, err := rd.Next()
	if err != nil || m.ID != 1 {
		t.Fatalf("got %v, %v", m, err)
	}
	raw := m.Raw
	rd.Release()
	if rd.buf != nil || !bytes.Equal(raw, make([]byte, len(raw))) {
		t.Errorf("the buffer was kept, or not cleared: %x", raw)
	}
	if m, err = rd.Next(); err != nil || m.ID != 2 {
		t.Errorf("got %v, %v; want message 2", m, err)
	}
	if _, err := rd.Next(); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
}
