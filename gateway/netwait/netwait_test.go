package netwait

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a TCP connection, wrapped at our end.
func pair(t testing.TB) (ours *Conn, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); _ = theirs.Close() })
	return New(conn), theirs
}

// TestOnWait: the callback runs once for each wait, and not while there is
// something to read.
func TestOnWait(t *testing.T) {
	ours, theirs := pair(t)
	waits := make(chan int, 10)
	n := 0
	ours.OnWait(func() { n++; waits <- n })
	if _, err := theirs.Write([]byte("abcd")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	got := make(chan string)
	go func() {
		defer close(got)
		for {
			n, err := ours.Read(b)
			if err != nil {
				return
			}
			got <- string(b[:n])
		}
	}()
	first := <-got
	if first == "ab" { // all four had arrived
		if second := <-got; second != "cd" || len(waits) > 1 {
			t.Errorf("got %q after %d waits", second, len(waits))
		}
	}
	<-waits
	if _, err := theirs.Write([]byte("e")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "e" {
		t.Errorf("got %q, want e", s)
	}
	<-waits
	_ = theirs.Close()
	<-got
}

// TestNoLostWakeup: data that arrives while the callback runs is read without
// another event.
func TestNoLostWakeup(t *testing.T) {
	ours, theirs := pair(t)
	ours.OnWait(func() {
		_, _ = theirs.Write([]byte("x"))
	})
	_ = ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 8)
	for range 1000 {
		if n, err := ours.Read(b); err != nil || n != 1 {
			t.Fatalf("got %d, %v", n, err)
		}
	}
}

func TestDeadlineAndEnd(t *testing.T) {
	ours, theirs := pair(t)
	ours.OnWait(func() {})
	_ = ours.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := ours.Read(make([]byte, 1))
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("got %v, want a timeout", err)
	}
	_ = ours.SetReadDeadline(time.Time{})
	if !ours.Alive() {
		t.Error("an idle connection is not alive")
	}
	_ = theirs.Close()
	if _, err := ours.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
	if ours.Alive() {
		t.Error("a closed connection is alive")
	}
}

// TestTLS: a deadline in the middle of a wait loses nothing of a TLS stream.
func TestTLS(t *testing.T) {
	ca := certstest.New(t)
	ours, theirs := pair(t)
	ours.OnWait(func() {})
	server, client := tls.Server(ours, ca.Server("127.0.0.1")), tls.Client(theirs, ca.Client("127.0.0.1"))
	payload := bytes.Repeat([]byte("0123456789"), 10_000)
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(payload)
		sent <- err
	}()
	if err := server.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all []byte
	b := make([]byte, 4096)
	for len(all) < len(payload) {
		_ = server.SetReadDeadline(time.Now().Add(50 * time.Microsecond))
		n, err := server.Read(b)
		all = append(all, b[:n]...)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if err := <-sent; err != nil || !bytes.Equal(all, payload) {
		t.Errorf("got %d bytes, %v; want %d", len(all), err, len(payload))
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	ours, theirs := pair(t)
	ours.OnWait(func() {})
	b, one := make([]byte, 8), []byte("x")
	if n := testing.AllocsPerRun(100, func() {
		_, _ = theirs.Write(one)
		_, _ = ours.Read(b)
	}); n != 0 {
		t.Errorf("%v allocations per read, want none", n)
	}
}

func TestWait(t *testing.T) {
	ours, theirs := pair(t)
	_ = ours.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if err := ours.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
	_ = ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := ours.Wait(); err != nil {
		t.Errorf("got %v, want something to read", err)
	}
	if n, err := ours.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("got %d, %v; waiting must not take anything", n, err)
	}
	_ = theirs.Close()
	if err := ours.Wait(); err != nil {
		t.Errorf("got %v, want the end to be readable", err)
	}
}

// TestG8_HungUp: the end is seen behind what nobody has read, and nothing else
// is taken for it.
func TestG8_HungUp(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn){
		"closed":             func(c *net.TCPConn) { _ = c.Close() },
		"half closed":        func(c *net.TCPConn) { _ = c.CloseWrite() },
		"reset":              func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		"closed by us":       nil,
		"closed behind more": func(c *net.TCPConn) { _, _ = c.Write(make([]byte, 100_000)); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := pair(t)
			if _, err := theirs.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := ours.Wait(); err != nil {
				t.Fatal(err)
			}
			if ours.HungUp() {
				t.Error("a connection with something to read hung up")
			}
			if end == nil {
				_ = ours.Close()
			} else {
				end(theirs.(*net.TCPConn))
			}
			// The kernel has the end of a loopback connection soon, not at once.
			for until := time.Now().Add(10 * time.Second); !ours.HungUp(); runtime.Gosched() {
				if time.Now().After(until) {
					t.Fatal("the end was not seen")
				}
			}
		})
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if New(a).HungUp() {
		t.Error("a pipe, which cannot tell, hung up")
	}
}
