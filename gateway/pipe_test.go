package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/gateway/netwait"
)

// Sessions over pipes are for bubbles of synctest, in which a socket would hold
// time up.

// pipeDC is a scriptedDC without sockets.
type pipeDC struct {
	tb             testing.TB
	server, client *tls.Config
	serve          func(*peer)
	wg             sync.WaitGroup
}

func (dc *pipeDC) Dial(ctx context.Context) (*tls.Conn, string, error) {
	mine, theirs := net.Pipe()
	dc.wg.Go(func() {
		defer theirs.Close()
		dc.serve(newPeer(dc.tb, tls.Server(theirs, dc.server)))
	})
	conn := tls.Client(netwait.New(mine), dc.client)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = mine.Close()
		return nil, "", err
	}
	return conn, "pipe", nil
}

// runPiped is session.run for a client within TLS; it returns how the session
// ended.
func runPiped(srv *Server, conn net.Conn) error {
	sess := newSession(srv, 1, conn)
	defer sess.close()
	socket := netwait.New(conn)
	sess.speak(socket, socket)
	err := sess.serve()
	var d *disconnect
	if errors.As(err, &d) {
		_ = sess.out.write(ldapwire.AppendNoticeOfDisconnection(nil, d.code, d.why), true)
	}
	return err
}
