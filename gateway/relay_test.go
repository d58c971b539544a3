package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// raw builds a message with an operation and controls of any shape.
func raw(id byte, op ldapwire.Op, body []byte, controls ...byte) []byte {
	inner := append([]byte{0x02, 0x01, id, byte(op), byte(len(body))}, body...)
	inner = append(inner, controls...)
	return append([]byte{0x30, 0x84, 0, 0, 0, byte(len(inner))}, inner...) // length as Windows writes it
}

// TestG1_ByteForByte: what the gateway need not understand reaches the DC as
// it was sent, and what the DC says reaches the client as it was said,
// whatever it is.
func TestG1_ByteForByte(t *testing.T) {
	control := []byte{0xa0, 0x0a, 0x30, 0x08, 0x04, 0x03, '1', '.', '2', 0x01, 0x01, 0xff}
	name := []byte{0x04, 0x02, 'd', 'n'}
	search := append(bytes.Clone(name), 0x0a, 1, 0, 0x0a, 1, 0, 2, 1, 0, 2, 1, 0, 1, 1, 0, 0x87, 2, 'c', 'n', 0x30, 0)
	compare := append(bytes.Clone(name), 0x30, 6, 4, 1, 'a', 4, 1, 'b')
	modifyDN := append(bytes.Clone(name), 4, 4, 'c', 'n', '=', 'x', 1, 1, 0xff)
	result := []byte{0x0a, 1, 0, 4, 0, 4, 0}
	referral := []byte{0x0a, 1, 10, 4, 0, 4, 0, 0xa3, 10, 4, 8, 'l', 'd', 'a', 'p', ':', '/', '/', 'x'}

	tests := []struct {
		name    string
		request []byte
		answers [][]byte
	}{
		{"search with a control, entry, reference and intermediate", raw(7, ldapwire.OpSearchRequest, search, control...), [][]byte{
			raw(7, ldapwire.OpSearchResultEntry, append(bytes.Clone(name), 0x30, 0)),
			raw(7, ldapwire.OpSearchResultReference, []byte{4, 8, 'l', 'd', 'a', 'p', ':', '/', '/', 'y'}),
			raw(7, ldapwire.OpIntermediateResponse, []byte{0x80, 3, '1', '.', '3'}),
			raw(7, ldapwire.OpSearchResultDone, result, control...),
		}},
		{"compare", raw(8, ldapwire.OpCompareRequest, compare), [][]byte{raw(8, ldapwire.OpCompareResponse, []byte{0x0a, 1, 6, 4, 0, 4, 0})}},
		{"modify DN, referred", raw(9, ldapwire.OpModifyDNRequest, modifyDN), [][]byte{raw(9, ldapwire.OpModifyDNResponse, referral)}},
		{"delete", raw(10, ldapwire.OpDelRequest, []byte("dn")), [][]byte{raw(10, ldapwire.OpDelResponse, result)}},
		{"modify of something else", ldapwire.AppendModifyRequest(nil, 12, "dn", ldapwire.Mod{Op: ldapwire.ModReplace, Type: "description", Values: [][]byte{[]byte("a"), []byte("b")}}),
			[][]byte{raw(12, ldapwire.OpModifyResponse, result)}},
		{"unknown extended operation", raw(13, ldapwire.OpExtendedRequest, []byte{0x80, 3, '1', '.', '4', 0x81, 2, 0, 1}),
			[][]byte{raw(13, ldapwire.OpExtendedResponse, append(bytes.Clone(result), 0x8b, 2, 0xff, 0))}},
		{"unsolicited notification", raw(14, ldapwire.OpCompareRequest, compare), [][]byte{
			raw(0, ldapwire.OpExtendedResponse, append(bytes.Clone(result), 0x8a, 3, '1', '.', '5')),
			raw(14, ldapwire.OpCompareResponse, []byte{0x0a, 1, 5, 4, 0, 4, 0}),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan []byte, 1)
			r, _ := newRig(t, func(p *peer) {
				msg, err := p.read()
				if err != nil {
					return
				}
				got <- msg.Raw
				p.send(tt.answers...)
				_, _ = p.read()
			})
			c := r.dial()
			c.send(tt.request)
			if sent := receive(t, got, "the request"); !bytes.Equal(sent, tt.request) {
				t.Errorf("the DC got %x, want %x", sent, tt.request)
			}
			for _, want := range tt.answers {
				msg, err := c.read()
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(msg.Raw, want) {
					t.Errorf("the client got %x, want %x", msg.Raw, want)
				}
			}
		})
	}
}

// TestG1_Pipelined: many requests in one segment are all answered, in the
// order of the DC's answers.
func TestG1_Pipelined(t *testing.T) {
	r, _ := newRig(t, answerAll)
	c := r.dial()
	c.bind(1)
	const n = 1000
	var all []byte
	for id := int32(2); id < n; id++ {
		all = ldapwire.AppendCompareRequest(all, id, aliceDN, "cn", []byte("alice"))
	}
	go c.send(all)
	for id := int32(2); id < n; id++ {
		c.wantResult(ldapwire.OpCompareResponse, id, ldapwire.ResultSuccess)
	}
}

// TestG1_LargeAnswer: an answer far beyond any buffer passes unchanged.
func TestG1_LargeAnswer(t *testing.T) {
	value := bytes.Repeat([]byte("x"), 8<<20)
	entry := ldapwire.AppendSearchEntry(nil, 3, aliceDN, []ldapwire.AttributeValues{{Type: "thumbnailPhoto", Values: [][]byte{value}}})
	r, _ := newRig(t, func(p *peer) {
		if _, err := p.read(); err == nil {
			p.send(entry)
			_, _ = p.read()
		}
	})
	c := r.dial()
	c.send(ldapwire.AppendSearchRequest(nil, 3, ldapwire.SearchParams{}))
	if msg, err := c.read(); err != nil || !bytes.Equal(msg.Raw, entry) {
		t.Fatalf("got %v, %v; want the entry of %d bytes", msg, err, len(entry))
	}
}

func TestG1_RefusedByTheGateway(t *testing.T) {
	tests := []struct {
		name    string
		request []byte
		op      ldapwire.Op
		code    ldapwire.ResultCode
	}{
		{"StartTLS inside TLS", ldapwire.AppendExtendedRequest(nil, 5, ldapwire.OIDStartTLS, nil, false), ldapwire.OpExtendedResponse, ldapwire.ResultOperationsError},
		{"fast bind", ldapwire.AppendExtendedRequest(nil, 5, ldapwire.OIDFastBind, nil, false), ldapwire.OpExtendedResponse, ldapwire.ResultProtocolError},
		{"SASL", ldapwire.AppendSASLBindRequest(nil, 5, "", "GSSAPI", []byte("token")), ldapwire.OpBindResponse, ldapwire.ResultAuthMethodNotSupported},
		{"a stranger's userPassword", ldapwire.AppendModifyRequest(nil, 5, aliceDN, ldapwire.Mod{Op: ldapwire.ModReplace, Type: "UserPassword;x-a", Values: [][]byte{[]byte("p")}}),
			ldapwire.OpModifyResponse, ldapwire.ResultOperationsError},
		{"a stranger's password modify", ldapwire.AppendExtendedRequest(nil, 5, ldapwire.OIDPasswordModify, nil, false), ldapwire.OpExtendedResponse, ldapwire.ResultOperationsError},
		{"a stranger's new account", ldapwire.AppendAddRequest(nil, 5, aliceDN, []ldapwire.AttributeValues{{Type: "userPassword", Values: [][]byte{[]byte("p")}}}),
			ldapwire.OpAddResponse, ldapwire.ResultOperationsError},
		{"malformed add", raw(5, ldapwire.OpAddRequest, []byte{4, 1, 'x'}), ldapwire.OpAddResponse, ldapwire.ResultProtocolError},
		{"malformed modify", raw(5, ldapwire.OpModifyRequest, []byte{4, 1, 'x'}), ldapwire.OpModifyResponse, ldapwire.ResultProtocolError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, dc := newRig(t, answerAll)
			c := r.dial()
			c.send(tt.request)
			c.wantResult(tt.op, 5, tt.code)
			if n := dc.accepted(); n != 0 {
				t.Errorf("the DC had %d connections, want none", n)
			}
			c.bind(6) // the session goes on
		})
	}
}

func TestG8_ProtocolErrorsEndTheSession(t *testing.T) {
	tests := []struct {
		name  string
		bytes []byte
	}{
		{"not LDAP", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"a response", ldapwire.AppendResult(nil, 1, ldapwire.OpBindResponse, 0, "", "")},
		{"larger than the limit before a bind", []byte{0x30, 0x83, 0x10, 0, 0}},
		{"indefinite length", []byte{0x30, 0x80, 2, 1, 1, 0x42, 0, 0, 0}},
		{"nested too deeply", raw(1, ldapwire.OpSearchRequest, bytes.Repeat([]byte{0xa0, 0x7e}, 60))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := newRig(t, answerAll)
			c := r.dial()
			c.send(tt.bytes)
			c.wantNotice(ldapwire.ResultProtocolError)
		})
	}
	t.Run("message ID in use", func(t *testing.T) {
		r, _ := newRig(t, func(p *peer) {
			for {
				if _, err := p.read(); err != nil {
					return
				}
			}
		})
		c := r.dial()
		search := ldapwire.AppendSearchRequest(nil, 4, ldapwire.SearchParams{})
		c.send(search, search)
		c.wantNotice(ldapwire.ResultProtocolError)
	})
}

func TestG9_NoDomainController(t *testing.T) {
	ca := certstest.New(t)
	dc := newScriptedDC(t, ca, answerAll)
	_ = dc.l.Close()
	for name, domain := range map[string]*Domain{"unreachable": {Name: "corp.example.test", DCs: dc, Capture: true}, "no domain": nil} {
		t.Run(name, func(t *testing.T) {
			r := newRigFor(t, ca, domain)
			c := r.dial()
			c.send(ldapwire.AppendBindRequest(nil, 1, "CN=alice", []byte("x")))
			c.wantResult(ldapwire.OpBindResponse, 1, ldapwire.ResultUnavailable)
			c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{}))
			c.wantResult(ldapwire.OpSearchResultDone, 2, ldapwire.ResultUnavailable)
		})
	}
}

// TestG9_LostConnection: a client whose DC connection dies is told.
func TestG9_LostConnection(t *testing.T) {
	t.Run("while idle", func(t *testing.T) {
		lose := make(chan struct{})
		r, _ := newRig(t, func(p *peer) {
			if msg, err := p.read(); err == nil {
				p.send(plainAnswer(msg))
				<-lose
			}
		})
		c := r.dial()
		c.bind(1)
		close(lose)
		c.wantNotice(ldapwire.ResultUnavailable)
	})
	t.Run("with a request outstanding", func(t *testing.T) {
		r, _ := newRig(t, func(p *peer) { _, _ = p.read() })
		c := r.dial()
		c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{}))
		c.wantNotice(ldapwire.ResultUnavailable)
	})
	t.Run("after its own notice", func(t *testing.T) {
		r, _ := newRig(t, func(p *peer) {
			_, _ = p.read()
			p.send(ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultBusy, "going down"))
			_, _ = p.read()
		})
		c := r.dial()
		c.send(ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{}))
		msg := c.want(ldapwire.OpExtendedResponse)
		if res, _ := ldapwire.ParseResult(msg.Body); res.Code != ldapwire.ResultBusy {
			t.Errorf("got %s, want the DC's own notice", res.Code)
		}
		c.wantEnd() // and no second one
	})
}

func TestG8_IdleTimeout(t *testing.T) {
	r, _ := newRig(t, answerAll, func(c *Config) { c.IdleTimeout = 50 * time.Millisecond })
	c := r.dial()
	c.bind(1)
	c.wantNotice(ldapwire.ResultUnavailable)
}

func TestG8_MaxConnections(t *testing.T) {
	r, _ := newRig(t, answerAll, func(c *Config) { c.MaxConnections = 1 })
	first := r.dial()
	first.bind(1)
	if _, err := tls.Dial("tcp", r.addr, r.ca.Client("127.0.0.1")); err == nil {
		t.Error("a second connection was served, want it closed")
	}
	first.bind(2)
}

// TestG8_MaxOutstanding: a client that sends without reading is slowed down,
// not served without limit.
func TestG8_MaxOutstanding(t *testing.T) {
	const limit = 4
	seen, release := make(chan int32, 100), make(chan struct{})
	r, _ := newRig(t, func(p *peer) {
		var waiting [][]byte
		for range limit {
			msg, err := p.read()
			if err != nil {
				return
			}
			seen <- msg.ID
			waiting = append(waiting, plainAnswer(msg))
		}
		<-release
		p.send(waiting...)
		answerAll(p)
	}, func(c *Config) { c.MaxOutstanding = limit })
	c := r.dial()
	var all []byte
	for id := int32(1); id <= 3*limit; id++ {
		all = ldapwire.AppendCompareRequest(all, id, aliceDN, "cn", []byte("x"))
	}
	c.send(all)
	for range limit {
		receive(t, seen, "a request")
	}
	close(release)
	for id := int32(1); id <= 3*limit; id++ {
		c.wantResult(ldapwire.OpCompareResponse, id, ldapwire.ResultSuccess)
	}
}

func TestShutdown(t *testing.T) {
	t.Run("idle sessions get a notice", func(t *testing.T) {
		r, _ := newRig(t, answerAll)
		c := r.dial()
		c.bind(1)
		if err := r.server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.wantNotice(ldapwire.ResultUnavailable)
	})
	t.Run("outstanding requests are answered first", func(t *testing.T) {
		got, release := make(chan struct{}), make(chan struct{})
		r, _ := newRig(t, func(p *peer) {
			msg, err := p.read()
			if err != nil {
				return
			}
			close(got)
			<-release
			p.send(plainAnswer(msg))
			_, _ = p.read()
		})
		c := r.dial()
		c.send(ldapwire.AppendCompareRequest(nil, 2, aliceDN, "cn", []byte("x")))
		receive(t, got, "the request")
		down := make(chan error, 1)
		go func() { down <- r.server.Shutdown(context.Background()) }()
		receive(t, r.server.done, "the beginning of Shutdown")
		close(release)
		c.wantResult(ldapwire.OpCompareResponse, 2, ldapwire.ResultSuccess)
		c.wantNotice(ldapwire.ResultUnavailable)
		if err := receive(t, down, "the end of Shutdown"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a deadline ends it", func(t *testing.T) {
		got := make(chan struct{}, 1)
		r, _ := newRig(t, func(p *peer) {
			for {
				if _, err := p.read(); err != nil {
					return
				}
				got <- struct{}{}
			}
		})
		c := r.dial()
		c.send(ldapwire.AppendCompareRequest(nil, 2, aliceDN, "cn", []byte("x")))
		receive(t, got, "the request")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := r.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}
