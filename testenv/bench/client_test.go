package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// peer reads want requests at a time and writes what answer makes of their
// message IDs, until the other side is gone.
func peer(conn net.Conn, want int, answer func(ids []int32) []byte) {
	defer conn.Close()
	in := ldapwire.NewReader(conn, maxAnswer)
	for {
		var ids []int32
		for range want {
			msg, err := in.Next()
			if err != nil {
				return
			}
			ids = append(ids, msg.ID)
		}
		if _, err := conn.Write(answer(ids)); err != nil {
			return
		}
	}
}

// connected gives a client whose server is a peer; the test ends both.
func connected(t *testing.T, want int, answer func(ids []int32) []byte) *client {
	t.Helper()
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		peer(far, want, answer)
	}()
	t.Cleanup(func() {
		_ = near.Close()
		<-ended
	})
	return newClient(near)
}

func entry(dst []byte, id int32) []byte {
	return ldapwire.AppendSearchEntry(dst, id, userDN(0), nil)
}

func found(dst []byte, id int32) []byte {
	return ldapwire.AppendSearchDone(dst, id, ldapwire.ResultSuccess, "", "")
}

func TestExchange(t *testing.T) {
	const depth, total = 8, 80
	seen := make(map[int32]bool)
	c := connected(t, depth, func(ids []int32) (out []byte) {
		for _, id := range ids {
			if seen[id] {
				t.Errorf("message ID %d was used twice", id)
			}
			seen[id] = true
			out = entry(out, id)
		}
		for i := range ids { // in another order than they came
			out = found(out, ids[len(ids)-1-i])
		}
		return out
	})
	req, err := findUser(0)
	if err != nil {
		t.Fatal(err)
	}
	done, entries := 0, 0
	err = c.exchange(req, depth, func(took time.Duration) bool {
		if took < 0 || took > time.Minute {
			t.Errorf("an answer took %v", took)
		}
		done++
		return done <= total-depth
	}, func() { entries++ })
	if err != nil || done != total || entries != total || len(seen) != total {
		t.Errorf("%v, %d done, %d entries, %d message IDs; want %d of each", err, done, entries, len(seen), total)
	}
}

func TestMessageIDsStartAgain(t *testing.T) {
	var got []int32
	c := connected(t, 1, func(ids []int32) []byte {
		got = append(got, ids...)
		return found(entry(nil, ids[0]), ids[0])
	})
	req, err := findUser(0)
	if err != nil {
		t.Fatal(err)
	}
	c.slots = []slot{{id: lastID - 1}}
	for range 3 {
		if err := c.do(req); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 3 || got[0] != lastID || got[1] != firstID || got[2] != firstID+1 {
		t.Errorf("message IDs %#x, want the last, the first and the second", got)
	}
}

func TestWrongAnswers(t *testing.T) {
	tests := []struct {
		name   string
		answer func(id int32) []byte
		want   string
	}{
		{"refused", func(id int32) []byte {
			return ldapwire.AppendSearchDone(nil, id, ldapwire.ResultBusy, "", "later")
		}, `busy (51) "later"`},
		{"no entry", func(id int32) []byte { return found(nil, id) }, "0 entries, want 1"},
		{"two entries", func(id int32) []byte { return found(entry(entry(nil, id), id), id) }, "2 entries, want 1"},
		{"not asked for", func(id int32) []byte { return found(nil, id+1) }, "which is not outstanding"},
		{"another operation", func(id int32) []byte {
			return ldapwire.AppendResult(nil, id, ldapwire.OpModifyResponse, ldapwire.ResultSuccess, "", "")
		}, "want " + ldapwire.OpSearchResultDone.String()},
		{"farewell", func(int32) []byte {
			return ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultUnavailable, "shutting down")
		}, "shutting down"},
		{"not LDAP", func(int32) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n") }, "receive: "},
	}
	req, err := findUser(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := connected(t, 1, func(ids []int32) []byte { return tt.answer(ids[0]) })
			if err := c.do(req); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestServerGone(t *testing.T) {
	near, far := net.Pipe()
	_ = far.Close()
	c := newClient(near)
	req, err := bindAs(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.do(req); err == nil {
		t.Error("no error from a server that is gone")
	}
}
