package gateway

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

func values(n, size int) (list [][]byte) {
	for i := range n {
		list = append(list, bytes.Repeat([]byte{'a' + byte(i%26)}, size))
	}
	return list
}

func descriptions(n int) (mods []ldapwire.Mod) {
	for range n {
		mods = append(mods, ldapwire.Mod{Op: ldapwire.ModReplace, Type: "description", Values: values(1, 1)})
	}
	return mods
}

// manyControls puts controls on a request.
func manyControls(t *testing.T, frame []byte, n int) []byte {
	t.Helper()
	msg, err := ldapwire.ParseMessage(frame)
	if err != nil {
		t.Fatal(err)
	}
	return ldapwire.AppendWithControls(nil, msg, slices.Repeat([]ldapwire.Control{{OID: []byte("1.2.3")}}, n)...)
}

// TestG8_Caps: what no client needs does not reach the DC, what tools send
// does, and the session goes on either way.
func TestG8_Caps(t *testing.T) {
	long := strings.Repeat("x", longestPassword+1)
	search := func(filter []byte, attributes ...string) []byte {
		return ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: aliceDN, Filter: filter, Attributes: attributes})
	}
	anyOf := func(n int) []byte {
		return ldapwire.AppendAndFilter(nil, slices.Repeat([][]byte{ldapwire.AppendEqualityFilter(nil, "cn", []byte("x"))}, n)...)
	}
	modify := func(mods ...ldapwire.Mod) []byte { return ldapwire.AppendModifyRequest(nil, 2, aliceDN, mods...) }
	password := modOf(ldapwire.ModReplace, "unicodePwd", string(quoted(t, "New.Pass1")))
	passwordModify := func(old string) []byte {
		var value []byte
		value = append(value, 0x81, 0x82, byte(len(old)>>8), byte(len(old)))
		value = append(append(value, old...), "\x82\x09New.Pass1"...)
		value = append([]byte{0x30, 0x82, byte(len(value) >> 8), byte(len(value))}, value...)
		return ldapwire.AppendExtendedRequest(nil, 2, ldapwire.OIDPasswordModify, value, true)
	}
	tests := []struct {
		name  string
		frame []byte
		op    ldapwire.Op
		code  ldapwire.ResultCode
	}{
		{"100 controls", manyControls(t, search(nil), maxControls), ldapwire.OpSearchResultDone, ldapwire.ResultSuccess},
		{"101 controls", manyControls(t, search(nil), maxControls+1), ldapwire.OpSearchResultDone, ldapwire.ResultAdminLimitExceeded},
		{"50,000 controls", manyControls(t, search(nil), 50_000), ldapwire.OpSearchResultDone, ldapwire.ResultAdminLimitExceeded},
		{"controls of an extended request", manyControls(t, ldapwire.AppendExtendedRequest(nil, 2, "1.2.3", nil, false), maxControls+1), ldapwire.OpExtendedResponse, ldapwire.ResultAdminLimitExceeded},
		{"a filter of 16,000 comparisons", search(anyOf(16_000)), ldapwire.OpSearchResultDone, ldapwire.ResultSuccess},
		{"a filter of 17,000 comparisons", search(anyOf(17_000)), ldapwire.OpSearchResultDone, ldapwire.ResultAdminLimitExceeded},
		{"5000 attributes", search(nil, slices.Repeat([]string{"cn"}, maxAttributes)...), ldapwire.OpSearchResultDone, ldapwire.ResultSuccess},
		{"5001 attributes", search(nil, slices.Repeat([]string{"cn"}, maxAttributes+1)...), ldapwire.OpSearchResultDone, ldapwire.ResultAdminLimitExceeded},
		{"a group of 5000", modify(ldapwire.Mod{Op: ldapwire.ModAdd, Type: "member", Values: values(5000, 80)}), ldapwire.OpModifyResponse, ldapwire.ResultSuccess},
		{"100,000 values", modify(ldapwire.Mod{Op: ldapwire.ModAdd, Type: "member", Values: values(100_000, 8)}), ldapwire.OpModifyResponse, ldapwire.ResultAdminLimitExceeded},
		{"10,000 modifications", modify(descriptions(maxModifications)...), ldapwire.OpModifyResponse, ldapwire.ResultSuccess},
		{"10,001 modifications", modify(descriptions(maxModifications + 1)...), ldapwire.OpModifyResponse, ldapwire.ResultAdminLimitExceeded},
		{"an add of 100,000 values", ldapwire.AppendAddRequest(nil, 2, aliceDN, []ldapwire.AttributeValues{{Type: "member", Values: values(100_000, 8)}}), ldapwire.OpAddResponse, ldapwire.ResultAdminLimitExceeded},
		{"a password among 10,000 modifications", modify(append(descriptions(9999), password)...), ldapwire.OpModifyResponse, ldapwire.ResultAdminLimitExceeded},
		{"a password among 100", modify(append(descriptions(99), password)...), ldapwire.OpModifyResponse, ldapwire.ResultSuccess},
		{"a password of a megabyte", modify(modOf(ldapwire.ModReplace, "unicodePwd", strings.Repeat("x", 1<<20))), ldapwire.OpModifyResponse, ldapwire.ResultConstraintViolation},
		{"the old password too long", modify(modOf(ldapwire.ModDelete, "unicodePwd", long), modOf(ldapwire.ModAdd, "unicodePwd", string(quoted(t, "New.Pass1")))), ldapwire.OpModifyResponse, ldapwire.ResultConstraintViolation},
		{"a long one and then a password", modify(modOf(ldapwire.ModReplace, "unicodePwd", long, string(quoted(t, "New.Pass1")))), ldapwire.OpModifyResponse, ldapwire.ResultConstraintViolation},
		{"a long one taken away alone", modify(modOf(ldapwire.ModDelete, "UNICODEPWD;x", long)), ldapwire.OpModifyResponse, ldapwire.ResultConstraintViolation},
		{"userPassword, the same", modify(modOf(ldapwire.ModDelete, "userPassword", long)), ldapwire.OpModifyResponse, ldapwire.ResultConstraintViolation},
		{"17 values of a password", modify(ldapwire.Mod{Op: ldapwire.ModReplace, Type: "unicodePwd", Values: slices.Repeat([][]byte{quoted(t, "New.Pass1")}, 17)}), ldapwire.OpModifyResponse, ldapwire.ResultConstraintViolation},
		{"password modify with a long old password", passwordModify(long), ldapwire.OpExtendedResponse, ldapwire.ResultConstraintViolation},
	}
	dc := &countingDC{}
	r, _ := newRig(t, dc.serve, func(c *Config) { c.MaxMessage = 4 << 20 })
	c := r.dial()
	c.bind(1)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := dc.others.Load()
			c.send(tt.frame)
			for msg, err := c.read(); ; msg, err = c.read() {
				if err != nil {
					t.Fatal(err)
				}
				if !msg.Op.IsFinalResponse() {
					continue
				}
				res, err := ldapwire.ParseResult(msg.Body)
				if err != nil || msg.Op != tt.op || msg.ID != 2 || res.Code != tt.code {
					t.Errorf("got %s, %s %q, want %s", msg, res.Code, res.Diagnostic, tt.code)
				}
				break
			}
			if n := dc.others.Load() - before; (n > 0) != (tt.code == ldapwire.ResultSuccess) {
				t.Errorf("%d requests reached the DC", n)
			}
		})
	}
	c.bind(3)
}

// TestG8_BindCaps: a bind that is too much is refused, and the identity before
// it is gone.
func TestG8_BindCaps(t *testing.T) {
	longest := strings.Repeat("x", longestBindPassword)
	for _, tt := range []struct {
		name  string
		frame []byte
		code  ldapwire.ResultCode
	}{
		{"the longest password", ldapwire.AppendBindRequest(nil, 2, "CN=alice", []byte(longest)), ldapwire.ResultSuccess},
		{"a longer one", ldapwire.AppendBindRequest(nil, 2, "CN=alice", []byte(longest+"x")), ldapwire.ResultInvalidCredentials},
		{"a megabyte", ldapwire.AppendBindRequest(nil, 2, "CN=alice", make([]byte, 1<<20)), ldapwire.ResultInvalidCredentials},
		{"a name of a megabyte", ldapwire.AppendBindRequest(nil, 2, "CN="+strings.Repeat("x", 1<<20), []byte("x")), ldapwire.ResultInvalidCredentials},
		{"controls", manyControls(t, ldapwire.AppendBindRequest(nil, 2, "CN=alice", []byte("x")), 101), ldapwire.ResultAdminLimitExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dc := &countingDC{}
			r, _ := newRig(t, dc.serve)
			c := r.dial()
			c.bind(1)
			c.send(tt.frame)
			c.wantResult(ldapwire.OpBindResponse, 2, tt.code)
			want := int32(1)
			if tt.code == ldapwire.ResultSuccess {
				want = 2
			} else {
				c.send(changePassword(t, 3, "old", "New.Pass1"))
				c.wantResult(ldapwire.OpModifyResponse, 3, ldapwire.ResultOperationsError)
			}
			if n := dc.binds.Load(); n != want {
				t.Errorf("%d binds reached the DC, want %d", n, want)
			}
		})
	}
}

// TestG8_UnaskedAnswers: what the DC says without having been asked does not
// reach the client, and cannot stand for the answer to what it asks next.
func TestG8_UnaskedAnswers(t *testing.T) {
	r, _ := newRig(t, func(p *peer) {
		for msg := range p.requests() {
			var more []byte
			for _, id := range []int32{msg.ID, msg.ID + 1, 77, ldapwire.MaxMessageID} {
				more = ldapwire.AppendSearchEntry(more, id, victimDN, nil)
				more = ldapwire.AppendResult(more, id, ldapwire.OpModifyResponse, ldapwire.ResultSuccess, "", "unasked")
				more = ldapwire.AppendIntermediateResponse(more, id, "1.2.3", nil, false)
			}
			p.send(plainAnswer(msg), more)
		}
	})
	c := r.dial()
	c.bind(1)
	c.send(ldapwire.AppendDelRequest(nil, 5, aliceDN))
	c.wantResult(ldapwire.OpDelResponse, 5, ldapwire.ResultSuccess)
	c.bind(9)
	c.send(ldapwire.AppendUnbindRequest(nil, 10))
	c.wantEnd()
}

func TestG8_ClientKey(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
		"::ffff:192.0.2.7": "::ffff:192.0.2.7", "pipe": "pipe",
	} {
		if got := clientKey(host); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
	// An address of IPv4 within IPv6 is one client, not one network of all.
	if a, b := clientKey("::ffff:192.0.2.7"), clientKey("::ffff:192.0.2.8"); a == b || netip.MustParseAddr(a) == netip.MustParseAddr(b) {
		t.Error("two IPv4 addresses are one")
	}
}

func TestFilterElements(t *testing.T) {
	eq := ldapwire.AppendEqualityFilter(nil, "cn", []byte("x"))
	for _, tt := range []struct {
		filter []byte
		want   int
	}{{eq, 3}, {ldapwire.AppendAndFilter(nil, eq, eq), 7}, {[]byte("\x87\x02cn"), 1}, {nil, 0}, {[]byte("\x87\x84\xff\xff\xff\xff"), 1}, {[]byte("\xa0\x80"), 0}} {
		t.Run(fmt.Sprintf("%x", tt.filter), func(t *testing.T) {
			if got := (ldapwire.SearchRequest{Filter: tt.filter}).FilterElements(); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}
