package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/gateway/netwait"
)

// upstream is one connection to a domain controller. It serves one session
// and one only.
type upstream struct {
	conn   *tls.Conn
	name   string // the controller's URL
	domain *Domain
	out    *frameWriter // used by the client loop only
	in     *ldapwire.Reader

	// retired is closed by the client loop when it throws the connection
	// away; what still arrives is nobody's.
	retired chan struct{}
	// gone is closed by the answer loop after it stored err: the DC closed the
	// connection, or broke the protocol.
	gone chan struct{}
	err  error
	// ended is closed when the answer loop has returned.
	ended chan struct{}
	// parked is set by the client loop, before it wakes the answer loop to make
	// it leave the connection as it is.
	parked atomic.Bool
	// silent is set by Server.watch, before it wakes the answer loop to make it
	// give the connection up; heard is set by each message of the DC.
	silent, heard atomic.Bool
	notice        []byte // of disconnection, from the DC; stored before gone is closed
	// tells: the connection says when a read waits, so that flushing is left to
	// it (see package netwait).
	tells bool
	// userPassword: it is the password in this domain; nil while nobody asked.
	// Owned by the client loop.
	userPassword *bool
	sasl         saslState
	since        time.Time // in the pool
}

// isGone reports whether the DC has ended the connection; a nil upstream has
// not.
func (u *upstream) isGone() bool {
	if u == nil {
		return false
	}
	select {
	case <-u.gone:
		return true
	default:
		return false
	}
}

func (u *upstream) isRetired() bool {
	select {
	case <-u.retired:
		return true
	default:
		return false
	}
}

// rest makes the answer loop give its buffer back: the session is quiet.
func (u *upstream) rest() {
	if u != nil && u.tells {
		_ = u.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// waitAtRest waits without a buffer after a deadline woke the answer loop,
// which rest and park set, and takes the deadline back. When it was park's, the
// error is that of the deadline.
func (u *upstream) waitAtRest() error {
	u.in.Release()
	for {
		if err := u.called(); err != nil {
			return err
		}
		_ = u.conn.SetReadDeadline(time.Time{})
		if err := u.called(); err != nil { // between the two, and its deadline is gone
			return err
		}
		socket, ok := u.conn.NetConn().(*netwait.Conn)
		if !ok {
			return nil
		}
		if err := socket.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// called says what the answer loop was woken for, nil: to rest.
func (u *upstream) called() error {
	switch {
	case u.parked.Load():
		return os.ErrDeadlineExceeded
	case u.silent.Load():
		return errSilent
	}
	return nil
}

// errNotice: the DC announced the end; its words are in upstream.notice.
var errNotice = errors.New("the domain controller sent a notice of disconnection")

var errNoDomain = errors.New("no domain is registered")

// upstreamReady makes sure that the session has a DC connection, on which it
// is who it is.
func (s *session) upstreamReady() error {
	if s.srv.cfg.Reconnect && s.up.isGone() {
		if err := s.upstreamGone(s.up.err); err != nil {
			return err
		}
	}
	if s.up != nil {
		return nil
	}
	return s.connectBound()
}

// connect gives the session a DC connection: one from the pool, or a new one.
func (s *session) connect() error {
	domain := s.home()
	if domain == nil {
		return errNoDomain
	}
	if up := s.srv.pool.take(domain); up != nil {
		s.useUpstream(up)
		return nil
	}
	conn, name, err := domain.DCs.Dial(s.ctx)
	if err != nil {
		return err
	}
	s.useUpstream(&upstream{
		conn: conn, name: name, domain: domain,
		out: newFrameWriter(conn, s.srv.cfg.WriteTimeout),
		in:  ldapwire.NewReader(conn, s.srv.cfg.MaxAnswer),
	})
	s.details("domain controller connection open", "dc", name)
	return nil
}

// useUpstream makes up the session's own.
func (s *session) useUpstream(up *upstream) {
	up.retired, up.gone, up.ended = make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.up = up
	s.upNow.Store(up)
	s.toDC.set(up.conn.NetConn(), up.out)
	if c, ok := up.conn.NetConn().(*netwait.Conn); ok {
		c.OnWait(s.flushToClient)
		up.tells = true
	}
	s.serving.Add(1)
	go s.answers(up)
}

// flushToClient sends what was gathered for the client: the DC has nothing
// more to say at once.
func (s *session) flushToClient() {
	if err := s.out.flush(); err != nil {
		s.clientGone(err)
	}
}

// dropUpstream throws the DC connection away, and with it the identity that
// it carries. With unbind set the DC is told (RFC 4511 section 4.3).
func (s *session) dropUpstream(unbind bool) {
	if s.up == nil {
		return
	}
	close(s.up.retired)
	if unbind && !s.up.isGone() {
		s.up.out.last(ldapwire.AppendUnbindRequest(nil, 1), time.Second)
	}
	s.toDC.forget()
	_ = s.up.conn.Close()
	s.up = nil
	s.upNow.Store(nil)
	s.flight.clear()
}

// answers forwards what the DC sends until the connection ends.
//
// At rest it leaves the waiting to another goroutine, as Server.live does.
func (s *session) answers(up *upstream) {
	err := s.relayAnswers(up)
	if errors.Is(err, errAtRest) {
		go func() {
			if err := up.waitAtRest(); err != nil {
				s.answersEnd(up, err)
				return
			}
			s.answers(up)
		}()
		return
	}
	s.answersEnd(up, err)
}

func (s *session) answersEnd(up *upstream, err error) {
	defer s.serving.Done()
	defer close(up.ended)
	if up.isRetired() || (up.parked.Load() && errors.Is(err, os.ErrDeadlineExceeded)) {
		return
	}
	s.flushToClient() // no read has waited since the last answer
	up.err = err
	close(up.gone)
	s.wake()
}

func (s *session) relayAnswers(up *upstream) error {
	for {
		if !up.tells && !up.in.Ready() {
			s.flushToClient()
		}
		msg, err := up.in.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.flushToClient() // a read that a deadline ends has not told of its wait
			return errAtRest
		}
		if err != nil {
			return err
		}
		if !up.heard.Load() {
			up.heard.Store(true)
		}
		if msg.Op.IsRequest() {
			return errors.New("the domain controller sent a request")
		}
		if up.isRetired() {
			return nil
		}
		if err := s.answer(up, msg); err != nil {
			return err
		}
	}
}

// answer forwards one message of the DC, or hands it to the exchange that
// waits for it.
func (s *session) answer(up *upstream, msg ldapwire.Message) error {
	if msg.ID == 0 { // unsolicited (RFC 4511 section 4.4)
		if isDisconnection(msg) {
			up.notice = slices.Clone(msg.Raw)
			return errNotice
		}
		s.forward(msg)
		return nil
	}
	final := msg.Op.IsFinalResponse()
	r, known := s.flight.find(msg.ID, final)
	if !known && !r.late {
		// Nobody asked. A client would not expect it either, unless the ID was
		// of the gateway's own request or is that of the client's next one.
		s.details("answer to no request dropped", "dc", up.name, "msg_id", msg.ID, "op", msg.Op.String())
		return nil
	}
	if known && final && r.bind != nil {
		s.answerBind(r.bind, msg)
		return nil
	}
	if known && r.answer != nil {
		if final {
			s.flight.landedOne() // before the client loop goes on, which may look
		}
		select {
		case r.answer <- slices.Clone(msg.Raw):
		case <-up.retired:
		}
		return nil
	}
	if known && final {
		defer s.flight.landedOne()
	}
	if known && final {
		if res, err := ldapwire.ParseResult(msg.Body); err == nil {
			s.srv.cfg.Metrics.observe(r.op, res.Code, time.Since(r.at))
		}
	}
	// An answer to an abandoned request may still arrive; it passes, as it
	// would without a gateway.
	if r.rewrite != nil {
		msg.Raw = r.rewrite(msg)
	}
	s.forward(msg)
	return nil
}

// forward sends a message to the client. A client that is gone does not end
// the answer loop: the DC's answer to a password change may still be to come.
func (s *session) forward(msg ldapwire.Message) {
	if err := s.out.write(msg.Raw, false); err != nil {
		s.clientGone(err)
	}
}

func (s *session) clientGone(err error) {
	s.details("client does not take answers", "err", err)
	_ = s.raw.Close()
}

func isDisconnection(msg ldapwire.Message) bool {
	if msg.Op != ldapwire.OpExtendedResponse {
		return false
	}
	res, err := ldapwire.ParseExtendedResponse(msg.Body)
	return err == nil && string(res.Name) == ldapwire.OIDNoticeOfDisconnection
}

// An exchange that was sent may have taken effect even when no answer comes.
var (
	errNotSent    = errors.New("not sent")
	errUnanswered = errors.New("sent, and not answered")
)

// exchange sends one request and waits for its final answer, which it
// returns; collect is given the messages before it. frame is built for the
// message ID. The error wraps errNotSent when the DC cannot have seen the
// whole request, else errUnanswered; the session must then drop its upstream.
func (s *session) exchange(ctx context.Context, id int32, answers <-chan []byte, frame []byte, collect func(ldapwire.Message)) (ldapwire.Message, error) {
	up := s.up
	if up.isGone() {
		s.flight.remove(id)
		return ldapwire.Message{}, errors.Join(errNotSent, up.err)
	}
	if err := up.out.write(frame, true); err != nil {
		// Part of it, or all, may have left: only the DC knows.
		s.flight.remove(id)
		return ldapwire.Message{}, errors.Join(errUnanswered, err)
	}
	for {
		raw, err := s.await(ctx, up, answers)
		if err != nil {
			return ldapwire.Message{}, errors.Join(errUnanswered, err)
		}
		msg, err := ldapwire.ParseMessage(raw)
		if err != nil {
			return ldapwire.Message{}, errors.Join(errUnanswered, err)
		}
		if msg.Op.IsFinalResponse() {
			return msg, nil
		}
		collect(msg)
	}
}

// await receives one message of an exchange. An answer that arrived before
// the connection was lost still counts.
func (s *session) await(ctx context.Context, up *upstream, answers <-chan []byte) ([]byte, error) {
	select {
	case raw := <-answers:
		return raw, nil
	default:
	}
	select {
	case raw := <-answers:
		return raw, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-up.gone:
		select {
		case raw := <-answers:
			return raw, nil
		default:
			return nil, up.err
		}
	}
}
