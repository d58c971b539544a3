package ldapwire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
)

// part is most of a message of size bytes, and then a timeout for ever.
func part(t *testing.T, size, have int) io.Reader {
	t.Helper()
	frame := AppendDelRequest(nil, 1, string(make([]byte, size)))
	if have >= len(frame) {
		t.Fatalf("%d bytes are all of a message of %d", have, len(frame))
	}
	return io.MultiReader(bytes.NewReader(frame[:have]), silentReader{})
}

type silentReader struct{}

func (silentReader) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// TestG8_Budget: together Readers hold what the budget allows, the one that
// would exceed it is refused, and each way of letting go makes room again.
func TestG8_Budget(t *testing.T) {
	const size, max = 100_000, 250_000 // for two such messages
	letGo := map[string]func(*Reader){
		"off the budget": func(rd *Reader) { rd.SetBudget(nil) },
		"rest taken":     func(rd *Reader) { rd.TakeRest() },
		"discarded":      func(rd *Reader) { rd.Discard(); rd.Release() },
		"malformed":      func(rd *Reader) { _ = rd.refuse(ErrMalformed) },
		"another budget": func(rd *Reader) { rd.SetBudget(NewBudget(1)) },
	}
	for name, free := range letGo {
		t.Run(name, func(t *testing.T) {
			b := NewBudget(max)
			gather := func() (*Reader, error) {
				rd := NewReader(part(t, size, size-1000), 0)
				rd.SetBudget(b)
				_, err := rd.Next()
				return rd, err
			}
			var held []*Reader
			for range 2 {
				rd, err := gather()
				wantErr(t, err, os.ErrDeadlineExceeded)
				held = append(held, rd)
			}
			rd, err := gather()
			wantErr(t, err, ErrOverBudget)
			if _, err := rd.Next(); err != ErrOverBudget {
				t.Errorf("then %v, want the same", err)
			}
			if rd.buf != nil || b.Used() > max || b.Used() < 2*size {
				t.Errorf("the refused one holds %d bytes, all %d; want none, and those of two", len(rd.buf), b.Used())
			}
			free(held[0])
			_, err = gather()
			wantErr(t, err, os.ErrDeadlineExceeded)
		})
	}
}

// TestG8_BudgetSparesSmallMessages: with nothing left, messages of up to 4 KiB
// pass as before, one by one and many at once; so does what needs no budget.
func TestG8_BudgetSparesSmallMessages(t *testing.T) {
	b := NewBudget(0)
	small := AppendBindRequest(nil, 1, "cn=x", []byte("secret-1"))
	overhead := len(AppendDelRequest(nil, 1, string(make([]byte, 1000)))) - 1000
	exact := AppendDelRequest(nil, 1, string(make([]byte, initialBuffer-overhead)))
	if len(exact) != initialBuffer {
		t.Fatalf("the largest has %d bytes, want %d", len(exact), initialBuffer)
	}
	all := bytes.Join([][]byte{bytes.Repeat(small, 5000), exact, small, exact}, nil)
	for _, chunk := range []int{1, 1000, len(all)} {
		rd := NewReader(&chunkReader{bytes.NewReader(all), chunk}, 0)
		rd.SetBudget(b)
		n := 0
		for ; ; n++ {
			if _, err := rd.Next(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if n != 5003 || b.Used() != 0 {
			t.Errorf("chunks of %d: %d messages, want 5003; %d bytes counted, want none", chunk, n, b.Used())
		}
	}
	// One that had grown is counted, and refused nothing that it has.
	rd := NewReader(part(t, 100_000, 99_000), 0)
	_, err := rd.Next()
	wantErr(t, err, os.ErrDeadlineExceeded)
	rd.SetBudget(b)
	if got := b.Used(); got != int64(len(rd.buf)) {
		t.Errorf("%d bytes are counted of %d", got, len(rd.buf))
	}
	rd.SetBudget(nil)
	if got := b.Used(); got != 0 {
		t.Errorf("%d bytes are counted of nothing", got)
	}
}

// TestG8_BudgetIsGivenBack: what many Readers take at once is counted exactly.
func TestG8_BudgetIsGivenBack(t *testing.T) {
	b := NewBudget(1 << 20)
	all, frames := stream()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				rd := NewReader(&chunkReader{bytes.NewReader(all), 777}, 0)
				rd.SetBudget(b)
				checkStream(t, rd, frames)
				rd.SetBudget(nil)
			}
		})
	}
	wg.Wait()
	if got := b.Used(); got != 0 {
		t.Errorf("%d bytes are counted when nothing is held", got)
	}
}
