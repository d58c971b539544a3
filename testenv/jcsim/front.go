package jcsim

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/hashicorp/go-hclog"
	"github.com/jimlambrt/gldap"
)

const (
	maxLDAPRequest  = 256 << 10 // bytes
	maxLDAPAnswer   = 16 << 20  // bytes
	maxLDAPClients  = 256
	patienceForLDAP = 10 * time.Second // for a handshake, and for one answer of gldap
)

// front stands before a gldap server; see the package comment.
type front struct {
	log      *slog.Logger
	tls      *tls.Config
	listener net.Listener
	inner    *gldap.Server
	addr     string // of inner, on loopback
	ran      chan error
	slots    chan struct{}
	closing  chan struct{}
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil once closed
}

func startFront(addr string, conf *tls.Config, log *slog.Logger, routes *gldap.Mux, gone func(conn int)) (*front, error) {
	f := &front{log: log, tls: conf, ran: make(chan error, 1), slots: make(chan struct{}, maxLDAPClients),
		closing: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	var err error
	if f.listener, err = net.Listen("tcp", addr); err != nil {
		return nil, err
	}
	if err := f.startInner(routes, gone); err != nil {
		return nil, errors.Join(err, f.listener.Close())
	}
	f.wg.Go(f.accept)
	return f, nil
}

// startInner runs gldap on a free port of its own choice. It tells nobody
// which; its log does.
func (f *front) startInner(routes *gldap.Mux, gone func(conn int)) (err error) {
	ear := &listeningEar{addr: make(chan string, 1), log: f.log}
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Info, Output: io.Discard})
	logger.RegisterSink(ear)
	if f.inner, err = gldap.NewServer(gldap.WithLogger(logger), gldap.WithOnClose(gone)); err != nil {
		return err
	}
	if err := f.inner.Router(routes); err != nil {
		return err
	}
	go func() { f.ran <- f.inner.Run("127.0.0.1:0") }() // close waits for it
	select {
	case f.addr = <-ear.addr:
		return nil
	case err := <-f.ran:
		return fmt.Errorf("run gldap: %w", errors.Join(err, errors.New("it ended at once")))
	case <-time.After(patienceForLDAP):
		return errors.Join(errors.New("run gldap: it did not say where it listens"), f.inner.Stop(), <-f.ran)
	}
}

// listeningEar takes gldap's address from its log.
type listeningEar struct {
	addr chan string
	log  *slog.Logger
}

// Accept is called for each line of gldap's log. Its arguments can hold parts
// of requests and are not passed on.
func (e *listeningEar) Accept(_ string, level hclog.Level, msg string, args ...any) {
	for i := 0; msg == "listening" && i+1 < len(args); i += 2 {
		if addr, ok := args[i+1].(net.Addr); ok && args[i] == "addr" {
			select {
			case e.addr <- addr.String():
			default:
			}
		}
	}
	if level >= hclog.Warn {
		e.log.Debug("jumpcloud simulator: gldap", "msg", msg)
	}
}

func (f *front) accept() {
	for {
		conn, err := f.listener.Accept()
		switch {
		case err == nil && f.keep(conn):
			select {
			case f.slots <- struct{}{}:
				f.wg.Go(func() {
					defer func() { <-f.slots }()
					f.serve(conn)
				})
			default:
				f.drop(conn)
			}
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors, say: others will leave
			select {
			case <-f.closing:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// keep remembers a connection to be cut by close; false: close was first.
func (f *front) keep(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil {
		_ = conn.Close()
		return false
	}
	f.conns[conn] = struct{}{}
	return true
}

func (f *front) drop(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, conn)
	_ = conn.Close()
}

// close cuts all connections and waits for everything to end.
func (f *front) close() error {
	close(f.closing)
	err := f.listener.Close()
	f.mu.Lock()
	for conn := range f.conns {
		_ = conn.Close()
	}
	f.conns = nil
	f.mu.Unlock()
	f.wg.Wait()
	stopped := make(chan error, 1)
	go func() { stopped <- errors.Join(f.inner.Stop(), <-f.ran) }()
	select {
	case stop := <-stopped:
		return errors.Join(err, stop)
	case <-time.After(patienceForLDAP):
		return errors.Join(err, fmt.Errorf("stop gldap: a stranger holds a connection to %s", f.addr))
	}
}

// serve relays one client's requests, one at a time.
func (f *front) serve(raw net.Conn) {
	defer f.drop(raw)
	client := tls.Server(raw, f.tls)
	_ = raw.SetDeadline(time.Now().Add(patienceForLDAP))
	if err := client.Handshake(); err != nil {
		f.log.Debug("jumpcloud simulator: ldap handshake", "err", err)
		return
	}
	_ = raw.SetDeadline(time.Time{})
	inner, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.log.Error("jumpcloud simulator: gldap is gone", "err", err)
		return
	}
	if !f.keep(inner) {
		return
	}
	defer f.drop(inner)
	requests := ldapwire.NewReaderLimits(client, ldapwire.Limits{MaxMessage: maxLDAPRequest})
	relay := &relay{client: client, inner: inner, answers: ldapwire.NewReaderLimits(inner, ldapwire.Limits{MaxMessage: maxLDAPAnswer})}
	for {
		m, err := requests.Next()
		if err == nil {
			err = relay.request(m)
		}
		switch {
		case err == nil:
		case errors.Is(err, ldapwire.ErrMalformed) || errors.Is(err, ldapwire.ErrTooLarge):
			_, _ = client.Write(ldapwire.AppendNoticeOfDisconnection(nil, ldapwire.ResultProtocolError, "the message cannot be read"))
			return
		default:
			return
		}
	}
}

type relay struct {
	client, inner net.Conn
	answers       *ldapwire.Reader
}

// request answers one request, itself or through gldap. io.EOF is the end.
func (r *relay) request(m ldapwire.Message) error {
	switch m.Op {
	case ldapwire.OpUnbindRequest:
		return io.EOF
	case ldapwire.OpAbandonRequest:
		return nil // one at a time: there is nothing to abandon
	}
	if m.Op.Response() == 0 {
		return fmt.Errorf("%s: %w", m.Op, ldapwire.ErrMalformed)
	}
	controls, ok, err := knownControls(m)
	switch {
	case err != nil:
		return err
	case !ok:
		return r.result(m, ldapwire.ResultUnavailableCriticalExtension, "a critical control is not supported")
	}
	if code, why := refusal(m); code != ldapwire.ResultSuccess {
		return r.result(m, code, why)
	}
	return r.forward(m, controls)
}

// knownControls are those that gldap can be given: others make it panic. ok is
// false if one of the others is critical.
func knownControls(m ldapwire.Message) (known []ldapwire.Control, ok bool, err error) {
	list, err := m.ControlList()
	if err != nil {
		return nil, false, err
	}
	for c, more := list.Next(); more; c, more = list.Next() {
		switch oid := string(c.OID); {
		case oid == ldapwire.OIDControlPagedResults && m.Op == ldapwire.OpSearchRequest:
			known = append(known, c)
		case c.Criticality && oid != ldapwire.OIDControlManageDsaIT:
			return nil, false, nil
		}
	}
	return known, true, nil
}

// refusal is the answer to requests that gldap is not given.
func refusal(m ldapwire.Message) (ldapwire.ResultCode, string) {
	switch m.Op {
	case ldapwire.OpSearchRequest:
		return ldapwire.ResultSuccess, ""
	case ldapwire.OpBindRequest:
		bind, err := ldapwire.ParseBindRequest(m.Body)
		switch {
		case err != nil || bind.Version != 3:
			return ldapwire.ResultProtocolError, "only LDAPv3 binds are supported"
		case bind.Auth != ldapwire.AuthSimple:
			return ldapwire.ResultAuthMethodNotSupported, "only simple binds are supported"
		}
		return ldapwire.ResultSuccess, ""
	case ldapwire.OpExtendedRequest:
		return ldapwire.ResultProtocolError, "the extended operation is not supported"
	}
	return ldapwire.ResultUnwillingToPerform, "the directory is read-only; use the API"
}

func (r *relay) result(m ldapwire.Message, code ldapwire.ResultCode, why string) error {
	_, err := r.client.Write(ldapwire.AppendResult(nil, m.ID, m.Op.Response(), code, "", why))
	return err
}

// forward gives a request to gldap and its answer to the client.
func (r *relay) forward(m ldapwire.Message, controls []ldapwire.Control) error {
	request := ldapwire.AppendWithControls(nil, ldapwire.Message{ID: m.ID, Op: m.Op, Body: m.Body}, controls...)
	defer clear(request)
	_ = r.inner.SetDeadline(time.Now().Add(patienceForLDAP))
	if _, err := r.inner.Write(request); err != nil {
		return err
	}
	for {
		answer, err := r.answers.Next()
		if err != nil {
			return fmt.Errorf("read from gldap: %w", io.ErrUnexpectedEOF)
		}
		if _, err := r.client.Write(answer.Raw); err != nil {
			return err
		}
		if answer.ID == m.ID && answer.Op.IsFinalResponse() {
			return nil
		}
	}
}
