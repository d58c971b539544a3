package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirgate/dirgate/certs"
)

// TestG8_DelegateConnections: strangers who open connections and ask nothing take
// neither the daemon's files nor the place of who does ask; who is being
// answered is not ended for them.
func TestG8_DelegateConnections(t *testing.T) {
	cfg := newInstallation(t)
	cfg.Delegate.Listen = "127.0.0.1:0"
	d, _ := newTestDaemon(t, cfg)
	crowd := d.delegate.listener.(*crowd)
	crowd.most = 8
	served := make(chan error, 1)
	go func() { served <- d.delegate.serve() }()
	address := crowd.Addr().String()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	trust, err := certs.ClientFile(filepath.Join(filepath.Dir(cfg.Path), "ca.crt"), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	plain := trust.Clone()
	plain.NextProtos = []string{"http/1.1"}
	busy := tls.Client(dial(), plain)
	if _, err := io.WriteString(busy, "POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := busy.Read(make([]byte, 100)); err != nil { // 100 Continue: the request is being read
		t.Fatal(err)
	}
	var strangers []net.Conn
	for range 50 {
		strangers = append(strangers, dial())
	}
	for _, c := range strangers[:46] {
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Fatalf("a connection on which nothing is asked stays: %v", err)
		}
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	res, err := client.Get("https://" + address + "/v1/openapi.json")
	if err != nil {
		t.Fatalf("who asks is not served: %v", err)
	}
	_ = res.Body.Close()
	if _, err := io.WriteString(busy, "x"); err != nil {
		t.Fatal(err)
	}
	if n, err := busy.Read(make([]byte, 100)); err != nil || n == 0 {
		t.Errorf("who was being answered was ended: %v", err)
	}
	d.delegate.close(t.Context())
	if err := <-served; err != nil {
		t.Error(err)
	}
	crowd.mu.Lock()
	defer crowd.mu.Unlock()
	if crowd.open != 0 || len(crowd.from) != 0 || crowd.idle.Len() != 0 {
		t.Errorf("%d connections are counted after the end, of %d networks, %d idle", crowd.open, len(crowd.from), crowd.idle.Len())
	}
}

func isTimeout(err error) bool {
	n, ok := err.(net.Error)
	return ok && n.Timeout()
}

// TestCrowd_BusyStay: when all of an address are busy, the new one is sent away.
func TestCrowd_BusyStay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(l, 4)
	t.Cleanup(func() { _ = c.Close() })
	at := func(address string) *visitor {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = theirs.Close() })
		return &visitor{Conn: ours, crowd: c, from: networkOf(&net.TCPAddr{IP: net.ParseIP(address), Port: 1})}
	}
	var all []*visitor
	for _, address := range []string{"192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"} {
		v := at(address)
		if !c.admit(v) {
			t.Fatalf("%s: no room for the first", address)
		}
		c.state(v, http.StateActive)
		all = append(all, v)
	}
	for _, address := range []string{"192.0.2.1", "2001:db8::3", "198.51.100.1"} {
		if c.admit(at(address)) {
			t.Errorf("%s: let in beside those that are busy", address)
		}
	}
	c.state(all[2], http.StateIdle)
	if c.admit(at("192.0.2.1")) {
		t.Error("one of another address was ended for an address that has its share")
	}
	if !c.admit(at("2001:db8::4")) || c.admit(at("2001:db8::5")) && c.open > 4 {
		t.Error("the idle one of its network was not ended for a new one")
	}
	for files, want := range map[uint64]int{64: 8, 1024: 128, 20_000: 256, 0: 2} {
		if got := delegateConnectionsFor(files); got != want {
			t.Errorf("%d files: %d connections, want %d", files, got, want)
		}
	}
}
