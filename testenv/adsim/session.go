package adsim

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// maxBound is the largest message of a bound client: AD's MaxReceiveBuffer.
const maxBound = 10 << 20

// A session is one client's connection. Requests are served one after the
// other, so at any time either the session or the handler in gldap that it
// waits for is at work.
type session struct {
	srv    *Server
	conn   net.Conn
	reader *ldapwire.Reader
	inner  *innerConn // made when it is first needed

	watches watches
	writing sync.Mutex // notifications come beside answers

	mu      sync.Mutex // guards what follows, for gldap's handlers
	id      Identity
	cursors Cursors
}

func newSession(s *Server, conn net.Conn) *session {
	return &session{srv: s, conn: conn, reader: ldapwire.NewReader(conn, ldapwire.DefaultMaxMessageUnbound)}
}

func (s *session) run() {
	defer func() {
		if s.inner != nil {
			s.inner.close()
		}
		_ = s.conn.Close()
		s.endWatches()
	}()
	for {
		_ = s.conn.SetReadDeadline(time.Now().Add(idleTimeout))
		m, err := s.reader.Next()
		if err != nil {
			s.hangUp(err)
			return
		}
		if m.Op == ldapwire.OpUnbindRequest || !s.request(m) {
			return
		}
		s.reader.SetMax(maxMessage(s.identity()))
	}
}

func maxMessage(id Identity) int {
	if id.Anonymous() {
		return ldapwire.DefaultMaxMessageUnbound
	}
	return maxBound
}

// hangUp tells the client why, if there is something to tell.
func (s *session) hangUp(err error) {
	switch {
	case errors.Is(err, ldapwire.ErrMalformed), errors.Is(err, ldapwire.ErrTooLarge):
		s.write(ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultProtocolError, "00000057: LdapErr: DSID-0C0C008F, comment: Error decoding ldap message, data 0, v4563\x00"))
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.write(ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultAdminLimitExceeded, "00002024: the connection was idle\x00"))
	}
}

// request serves one request. It reports whether the connection goes on.
func (s *session) request(m ldapwire.Message) bool {
	fault := s.srv.faults.take(m.Op)
	switch {
	case fault == nil:
	case fault.Kind == Hang:
		select {
		case <-fault.over:
		case <-s.srv.closed:
			return false
		}
	case fault.Kind == DropBefore:
		return false
	case fault.Kind == Answer:
		return s.write(ldapwire.AppendResult(nil, m.ID, m.Op.Response(), fault.Code, "", fault.Text))
	}
	answer, ok := s.answer(m)
	if !ok {
		s.hangUp(ldapwire.ErrMalformed)
		return false
	}
	if fault != nil && fault.Kind == DropAfter {
		s.write(answer[:min(fault.Bytes, len(answer))])
		return false
	}
	return s.write(answer)
}

func (s *session) write(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := s.conn.Write(b)
	return err == nil
}

// answer is everything a request is answered with: by gldap where it can, else
// by the front itself. ok is false if the request cannot be understood.
func (s *session) answer(m ldapwire.Message) (answer []byte, ok bool) {
	if !m.Op.IsRequest() {
		return nil, false
	}
	ctl, refusal := parseControls(m)
	if refusal != nil {
		if m.Op.Response() == 0 {
			return nil, true // criticality is ignored there (RFC 4511 section 4.1.11)
		}
		return appendRefusal(nil, m, refusal), true
	}
	if s.forGLDAP(m, ctl) {
		if answer, ok := s.forward(m); ok {
			return answer, true
		}
		// gldap hung up. A search can be repeated; of a write it is not
		// known whether it took place.
		if m.Op != ldapwire.OpSearchRequest {
			return ldapwire.AppendResult(nil, m.ID, m.Op.Response(), ldapwire.ResultOther, "", "the request could not be served"), true
		}
	}
	return s.native(m, ctl)
}

// forGLDAP reports whether gldap understands a request as it was meant. It
// needs one value in each change of a Modify, and has no search references.
func (s *session) forGLDAP(m ldapwire.Message, c controls) bool {
	if c.other {
		return false
	}
	switch m.Op {
	case ldapwire.OpBindRequest:
		b, err := ldapwire.ParseBindRequest(m.Body)
		return err == nil && b.Version == 3 && b.Auth == ldapwire.AuthSimple && !c.paged
	case ldapwire.OpSearchRequest:
		r, err := ldapwire.ParseSearchRequest(m.Body)
		return err == nil && !s.srv.refers(string(r.BaseDN), r.Scope)
	case ldapwire.OpModifyRequest:
		return singleValues(m.Body) && !c.paged
	case ldapwire.OpAddRequest:
		r, err := ldapwire.ParseAddRequest(m.Body)
		for err == nil {
			a, ok := r.Next()
			if !ok {
				return !c.paged
			}
			if a.Values.Len() == 0 {
				return false
			}
		}
		return false
	case ldapwire.OpDelRequest:
		return !c.paged
	}
	return false
}

func singleValues(body []byte) bool {
	r, err := ldapwire.ParseModifyRequest(body)
	if err != nil {
		return false
	}
	for {
		mod, ok := r.Next()
		if !ok {
			return true
		}
		if mod.Values.Len() != 1 || mod.Op > ldapwire.ModReplace {
			return false
		}
	}
}

// forward sends a request through gldap and collects the answer.
func (s *session) forward(m ldapwire.Message) ([]byte, bool) {
	if s.inner == nil {
		c, err := s.srv.inner.dial(s)
		if err != nil {
			s.srv.log.Warn("cannot reach gldap", "err", err)
			return nil, false
		}
		s.inner = c
	}
	answer, err := s.inner.roundTrip(m)
	if err != nil {
		s.srv.log.Debug("gldap gave up a request", "op", m.Op.String(), "err", err)
		s.inner.close()
		s.inner = nil
		return nil, false
	}
	return answer, true
}

func (s *session) identity() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// bind changes who the session is. As in AD, a failure changes nothing.
func (s *session) bind(name string, password []byte) error {
	id, err := s.srv.Bind(name, password)
	if err == nil {
		s.mu.Lock()
		s.id = id
		s.mu.Unlock()
	}
	return err
}

// search looks up a page, or all.
func (s *session) search(q Search, c controls) (entries []Entry, references []string, cookie string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.paged {
		return s.srv.Page(s.id, q, &s.cursors, c.page, c.cookie)
	}
	entries, references, err = s.srv.Search(s.id, q)
	return entries, references, "", err
}
