package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/gateway/netwait"
)

// A session is one client connection and the DC connection that serves it.
//
// Two goroutines work on it. The client loop (run) reads requests, decides
// about each, and owns every change of state: binding, dialling the DC,
// dropping its connection. The answer loop (answers), one per DC connection,
// forwards what the DC says. Requests that must run alone, binds and password
// changes, are exchanges: the client loop sends one and waits, and the answer
// loop hands it the answer instead of forwarding it.
type session struct {
	srv     *Server
	log     *slog.Logger
	raw     net.Conn // the TCP connection, to end things with
	limits  *Limits  // as they were when it began
	id      uint64   // for the log
	address string   // the client's, without the port; of IPv6 the network
	behind  bool     // a load balancer names the client
	counted bool     // among those of address; guarded by Server.mu
	inClear bool     // no TLS yet; owned by the client loop

	ctx    context.Context // ends with kill: the session's own life, not a request's
	cancel context.CancelFunc

	client  net.Conn         // set together with socket, while no other goroutine uses it: at first, and by StartTLS
	socket  *netwait.Conn    // at the bottom of client
	out     *frameWriter     // to the client; used by both loops
	in      *ldapwire.Reader // from the client; owned by the client loop
	flight  flight           // requests not yet answered; used by both loops
	serving sync.WaitGroup   // answer loops

	upNow       atomic.Pointer[upstream] // up, for Server.watch
	draining    atomic.Bool
	toClient    closer // the connections, for kill
	toDC        closer
	logsDetails bool // debug level is on: its arguments are worth making

	// Owned by the client loop.
	told      told      // refusals in the log
	up        *upstream // nil: none yet, or thrown away
	kept      keptBind  // what makes another DC connection the session's
	domain    *Domain   // that the newest bind was for; nil: the default
	bound     bool
	crowded   bool      // no room came free within RoomTimeout
	everBound bool      // some bind succeeded: not a stranger any more
	name      string    // bind name as the client gave it; for people, never a key
	lesson    *lesson   // of the newest bind; nil: none
	rested    bool      // since the newest request
	idle      time.Time // when the session has been silent for too long
	deadline  time.Time // of the next read of the client; zero: none is set
	bindWait  *bindWait
	binding   bool     // bindWait is on its way
	guarded   string   // name of the newest bind that the guard was asked about
	guardedBy string   // and its domain
	guardedAs bindName // made of both
	ending    error    // what afterBind ends the session with
}

func newSession(srv *Server, id uint64, conn net.Conn) *session {
	ctx, cancel := context.WithCancel(context.Background())
	limits := srv.limits.Load()
	return &session{
		srv: srv, limits: limits, raw: conn, id: id, address: clientKey(hostOf(conn.RemoteAddr())), ctx: ctx, cancel: cancel,
		log:    srv.cfg.Log.With("conn", id, "client", conn.RemoteAddr().String()),
		flight: newFlight(), logsDetails: srv.cfg.Log.Enabled(ctx, slog.LevelDebug),
		behind: contains(limits.TrustedProxies, conn.RemoteAddr()),
	}
}

func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}

// errBye ends the client loop without anything more to say.
var errBye = errors.New("session ended")

// disconnect is an error that the client must be told about with a Notice of
// Disconnection (RFC 4511 section 4.4.1).
type disconnect struct {
	code ldapwire.ResultCode
	why  string
}

func (d *disconnect) Error() string { return d.why }

// open gets to know the client; false: it is none.
func (s *session) open() bool {
	if s.behind {
		if err := s.proxied(); err != nil {
			s.log.Info("connection refused", "err", err)
			return false
		}
	}
	if !s.inClear {
		return s.secure() == nil
	}
	socket := netwait.New(s.raw)
	s.speak(socket, socket)
	s.log.Debug("session open", "tls", "none yet")
	return true
}

// run serves the client until the session ends, or comes to rest: then it is
// to be called again after waitAtRest.
func (s *session) run() (atRest bool) {
	err := s.serve()
	var d *disconnect
	switch {
	case errors.Is(err, errAtRest):
		return true
	case errors.As(err, &d):
		s.log.Info("session disconnected", "code", d.code.String(), "err", d.why)
		_ = s.out.write(ldapwire.AppendNoticeOfDisconnection(nil, d.code, d.why), true)
	case errors.Is(err, errBye), errors.Is(err, io.EOF):
		s.log.Debug("session closed")
	default:
		s.log.Debug("session failed", "err", err)
	}
	return false
}

// secure completes TLS with the client and goes on within it.
func (s *session) secure() error {
	client, err := s.srv.handshake(s.raw)
	if err != nil {
		s.log.Debug("tls handshake", "err", err)
		return errBye
	}
	s.inClear = false
	s.speak(client, client.NetConn().(*netwait.Conn))
	s.log.Debug("session open", "tls", tls.VersionName(client.ConnectionState().Version))
	return nil
}

// speak makes client what the session reads and writes; socket is at the
// bottom of it.
func (s *session) speak(client net.Conn, socket *netwait.Conn) {
	s.client, s.socket, s.deadline = client, socket, time.Time{}
	s.out = newFrameWriter(client, s.srv.cfg.WriteTimeout)
	s.toClient.set(s.raw, s.out)
	socket.OnWait(s.flushToDC)
	if s.in != nil {
		s.in.SetBudget(nil)
	}
	s.in = ldapwire.NewReader(afterBind{s}, s.limits.maxUnbound)
	s.in.SetBudget(s.srv.strangers)
}

// trust gives the session the limits of the bound, or takes them back.
func (s *session) trust(bound bool) {
	if bound {
		s.in.SetMax(s.limits.MaxMessage)
		s.in.SetBudget(nil)
		return
	}
	s.in.SetMax(s.limits.maxUnbound)
	s.in.SetBudget(s.srv.strangers)
}

// serve handles requests until the session ends; the error says why.
func (s *session) serve() error {
	for {
		msg, err := s.next()
		if errors.Is(err, errLayered) {
			return s.spliceLayered()
		}
		if err != nil {
			return err
		}
		if err := s.handle(msg); err != nil {
			return err
		}
	}
}

// next reads one request. While the client is silent the session may be
// drained, lose its DC, give its buffers back, or run into the idle time.
func (s *session) next() (ldapwire.Message, error) {
	now := time.Now()
	if !s.rested {
		s.idle = now.Add(s.patience())
	}
	s.rested = false
	for {
		s.setReadDeadline(now)
		msg, err := s.read()
		if err == nil {
			return msg, nil
		}
		if s.ending != nil {
			return ldapwire.Message{}, s.ending
		}
		s.deadline = time.Time{} // it is used up
		now = time.Now()
		if s.binding {
			goOn, berr := s.wokenBinding(err, now)
			if berr != nil {
				return ldapwire.Message{}, berr
			}
			if goOn {
				continue
			}
		}
		if err := s.woken(err, now); err != nil {
			return ldapwire.Message{}, err
		}
	}
}

// patience is how long the client may be silent.
func (s *session) patience() time.Duration {
	if !s.everBound {
		return min(s.limits.IdleTimeout, s.srv.cfg.UnboundTimeout)
	}
	return s.limits.IdleTimeout
}

// flushToDC sends what was gathered for the DC: the client has nothing more
// to say at once. A failure stays in the writer, and the answer loop sees the
// end of the connection.
func (s *session) flushToDC() {
	if s.up != nil {
		_ = s.up.out.flush()
	}
}

// setReadDeadline makes a read of the client end when the session has been
// quiet, unless something already wants the client loop to wake up. The order
// matters: whoever wakes the loop first stores the reason, then sets a
// deadline in the past. A deadline that is still far away is not set again.
func (s *session) setReadDeadline(now time.Time) {
	quiet, end := s.srv.cfg.quiet, s.idle
	if s.binding && s.bindWait.until.Before(end) {
		end = s.bindWait.until
	}
	if s.lesson != nil {
		quiet, s.deadline = lessonPause, time.Time{}
	}
	if ahead := s.deadline.Sub(now); ahead < quiet/2 || s.deadline.After(end) {
		s.deadline = now.Add(quiet)
		if s.deadline.After(end) {
			s.deadline = end
		}
		_ = s.client.SetReadDeadline(s.deadline)
	}
	s.wakeIfWanted()
}

func (s *session) wakeIfWanted() {
	if s.draining.Load() || s.up.isGone() || s.binding && s.bindWait.wants() {
		s.wake()
	}
}

// rest makes the session wait without a buffer until the client says something
// or the idle time is over. TLS has nothing left: its last read ended for want of bytes.
func (s *session) rest() {
	s.flushToDC() // a read that a deadline ends has not told of its wait
	s.in.Release()
	s.up.rest()
	s.flight.rest()
	if !s.binding {
		s.bindWait = nil
	}
	_ = s.client.SetReadDeadline(s.idle)
	s.wakeIfWanted()
	s.rested = true
	s.srv.tidier.rested.Add(1)
}

// errAtRest: nothing is to be done before waitAtRest returns.
var errAtRest = errors.New("at rest")

func (s *session) waitAtRest() { _ = s.socket.Wait() } // the next read says what it was

// wake makes a blocked read of the client return.
func (s *session) wake() { _ = s.raw.SetReadDeadline(time.Unix(1, 0)) }

// woken decides what a failed read of the client means; nil: read on.
func (s *session) woken(err error, now time.Time) error {
	switch {
	case s.up.isGone():
		return s.upstreamGone(s.up.err)
	case s.draining.Load():
		s.waitDrained(s.srv.cfg.DrainTimeout) // a change notification never ends
		return &disconnect{ldapwire.ResultUnavailable, "dirgate is shutting down; connect again"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		if s.lesson != nil {
			return s.learnNow()
		}
		if now.Before(s.idle) {
			s.rest()
			return errAtRest
		}
		if s.flight.len() > 0 {
			s.idle = now.Add(s.limits.IdleTimeout) // waiting for the DC is not idleness
			return nil
		}
		return &disconnect{ldapwire.ResultUnavailable, "idle for too long"}
	case errors.Is(err, ldapwire.ErrTooLarge):
		return &disconnect{ldapwire.ResultProtocolError, "message larger than the limit"}
	case errors.Is(err, ldapwire.ErrOverBudget):
		return &disconnect{ldapwire.ResultBusy, "too many clients that have not bound are sending large messages; bind first, or connect again later"}
	case errors.Is(err, ldapwire.ErrMalformed):
		return &disconnect{ldapwire.ResultProtocolError, "not a well-formed LDAP message"}
	}
	return err
}

// drain asks the session to end after its outstanding requests.
func (s *session) drain() {
	s.draining.Store(true)
	s.wake()
}

// kill ends the session at once.
func (s *session) kill() {
	s.cancel()
	// Nothing may wait any more before anything is closed: each side's read
	// runs the other's flush, and Close waits for the read.
	s.toDC.halt()
	s.toClient.halt()
	s.toDC.close()
	s.toClient.close()
	_ = s.raw.Close()
}

func (s *session) close() {
	if s.client != nil {
		_ = s.client.Close() // sends close_notify, so that the notice is not taken for a truncation
		s.in.SetBudget(nil)
	}
	_ = s.raw.Close()
	s.learnAtEnd()
	s.leaveUpstream()
	s.cancel()
	s.serving.Wait()
	s.kept.wipe()
}

// details logs at debug level.
func (s *session) details(msg string, args ...any) {
	if s.logsDetails {
		s.log.Debug(msg, args...)
	}
}

// answerLocally answers a request without the DC. The log says so, with more
// about it: nobody finds the reason of such a refusal at a DC.
func (s *session) answerLocally(msg ldapwire.Message, code ldapwire.ResultCode, why string, more ...any) error {
	s.srv.cfg.Metrics.observe(msg.Op, code, 0)
	if refusal := s.told.worth(msg.Op, code, time.Now()); refusal || s.logsDetails {
		level := slog.LevelDebug
		if refusal {
			level = slog.LevelInfo
		}
		s.log.Log(s.ctx, level, "answered by the gateway",
			append([]any{"msg_id", msg.ID, "op", msg.Op.String(), "result", code.String(), "why", why}, more...)...)
	}
	var frame []byte
	if msg.Op == ldapwire.OpExtendedRequest {
		frame = ldapwire.AppendExtendedResponse(nil, msg.ID, code, "", why, "", nil, false)
	} else {
		frame = ldapwire.AppendResult(nil, msg.ID, msg.Op.Response(), code, "", why)
	}
	return s.out.write(frame, true)
}
