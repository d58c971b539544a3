package ad

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// A watcher is a connection on which the controller says that something has
// changed (MS-ADTS 3.1.1.3.4.1.9). What it was is not looked at.
type watcher struct {
	conn   *ldap.Conn
	host   string // dnsHostName of the controller
	cancel context.CancelFunc
	woken  chan struct{} // holds one
	ended  chan struct{} // closed when nothing more will come
}

// Wait returns when the directory may have changed since the cursor: soon
// after a change where the controller notifies, else after the interval. It
// returns too when something may have been deleted of which the controller
// does not tell this account. That it cannot notify is no error. One from ctx
// is.
func (r *Reader) Wait(ctx context.Context, since Cursor) error {
	timer := time.NewTimer(r.interval)
	defer timer.Stop()
	behind, err := r.watchFrom(ctx, since)
	for lost := false; ; lost = true {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && behind:
			return nil
		}
		// Without a watch it will be tried again at the next call.
		ended, waited := r.watched(ctx, timer.C)
		if !ended {
			return waited
		}
		r.unwatch()
		if !lost {
			behind, err = r.watchFrom(ctx, since)
		}
	}
}

// watched waits as long as the watch goes on, or without one.
func (r *Reader) watched(ctx context.Context, alarm <-chan time.Time) (ended bool, err error) {
	var w watcher
	if r.watch != nil {
		w = *r.watch
	}
	for {
		look := time.NewTimer(lookEvery)
		if !r.looked.blind {
			look.Stop()
		}
		select {
		case <-w.woken:
		case <-alarm:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-w.ended:
			ended = true
		case <-look.C:
			if !r.mayBeMissing(ctx) {
				continue
			}
			err = context.Cause(ctx)
		}
		look.Stop()
		return ended, err
	}
}

var errOtherPeer = errors.New("another domain controller answers")

// watchFrom begins to watch, unless that goes on already. behind says that
// something was changed between the cursor and the beginning.
func (r *Reader) watchFrom(ctx context.Context, since Cursor) (behind bool, err error) {
	pos, err := parseCursor(since)
	if err != nil {
		return true, nil // a full compare has nothing to wait for
	}
	if r.watch != nil && r.watch.host != pos.Host {
		r.unwatch() // the other controller learns of changes at another time
	}
	if r.watch != nil {
		select {
		case <-r.watch.ended:
			r.unwatch()
		default:
			return false, nil
		}
	}
	var usn uint64
	for range samePeerTries {
		if usn, err = r.startWatch(ctx, pos.Host); err == nil {
			return usn != pos.USN, nil
		}
		if !errors.Is(err, errOtherPeer) {
			break // above all not a refused bind again, which counts towards a lockout
		}
	}
	return false, err
}

// startWatch registers, and says what highestCommittedUSN is after that.
func (r *Reader) startWatch(ctx context.Context, host string) (usn uint64, err error) {
	raw, _, err := r.client.cfg.DCs.Dial(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	sent := &sentConn{Conn: raw, sent: make(chan struct{}, 1)}
	conn := ldap.NewConn(sent, true)
	conn.Start()
	w := &watcher{conn: conn, host: host, woken: make(chan struct{}, 1), ended: make(chan struct{})}
	// go-ldap's time limit is of the connection, and would end the watch.
	limit := time.AfterFunc(r.client.cfg.Timeout, func() { _ = conn.Close() })
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer limit.Stop()
	defer stop()
	if err := bindService(ctx, conn, r.client.cfg); err != nil {
		_ = conn.Close()
		return 0, err
	}
	base, usn, err := r.watchable(conn, host)
	if err != nil {
		_ = conn.Close()
		return 0, err
	}
	req := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"objectGUID"},
		[]ldap.Control{ldap.NewControlString(ldap.ControlTypeMicrosoftNotification, true, ""), ldap.NewControlMicrosoftShowDeleted()})
	watched, cancel := context.WithCancel(context.Background()) // until unwatch
	w.cancel = cancel
	sent.clear()
	events := conn.SearchAsync(watched, req, 1)
	go w.drain(events)
	r.watch = w
	// Requests of one connection are begun in order: what this USN does not
	// have yet will be notified.
	select {
	case <-sent.sent:
		_, usn, err = r.watchable(conn, host)
	case <-w.ended:
		err = fmt.Errorf("watch %q: %w", base, events.Err())
	}
	if err != nil {
		r.unwatch()
	}
	return usn, err
}

// watchable reads the root DSE.
func (r *Reader) watchable(conn *ldap.Conn, host string) (base string, usn uint64, err error) {
	req := ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)",
		[]string{"dnsHostName", "highestCommittedUSN", "defaultNamingContext"}, nil)
	res, err := conn.Search(req)
	if err != nil {
		return "", 0, fmt.Errorf("read the root DSE: %w: %w", ErrUnavailable, err)
	}
	if len(res.Entries) != 1 {
		return "", 0, fmt.Errorf("read the root DSE: %w", ErrIncomplete)
	}
	root := res.Entries[0]
	if got := root.GetAttributeValue("dnsHostName"); got != host {
		return "", 0, fmt.Errorf("watch %s: %w: %s", host, errOtherPeer, got)
	}
	usn, err = strconv.ParseUint(root.GetAttributeValue("highestCommittedUSN"), 10, 64)
	return root.GetAttributeValue("defaultNamingContext"), usn, err
}

// drain turns notifications into one that is pending.
func (w *watcher) drain(events ldap.Response) {
	defer close(w.ended)
	for events.Next() {
		select {
		case w.woken <- struct{}{}:
		default:
		}
	}
}

func (r *Reader) unwatch() {
	if r.watch == nil {
		return
	}
	r.watch.cancel()
	_ = r.watch.conn.Close()
	<-r.watch.ended
	r.watch = nil
}

// sentConn tells when something was sent, which go-ldap does in the
// background.
type sentConn struct {
	*tls.Conn
	sent chan struct{}
}

func (c *sentConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	select {
	case c.sent <- struct{}{}:
	default:
	}
	return n, err
}

func (c *sentConn) clear() {
	select {
	case <-c.sent:
	default:
	}
}
