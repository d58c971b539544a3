package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"
)

// A load balancer in front of the gateway says who the client is in a PROXY
// protocol header, version 2, before the first byte of TLS or LDAP (The PROXY
// protocol, section 2.2). Believing it from anybody would let every client
// choose its address, in the log and against the limits, so it is read from
// trusted addresses alone. These must send it: a connection that may or may
// not begin with a header is one whose sender can choose.
//
// The parser is the few lines below, and not a library, because it must read
// not one byte more than the header: what follows belongs to TLS.

// proxySignature begins every header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	proxyFixed   = 16   // signature, version and command, family, length
	proxyLongest = 4096 // addresses and additional vectors, in bytes; the field could say 65535
)

var (
	errProxyV1        = errors.New("PROXY protocol version 1 is not accepted: make the load balancer send version 2")
	errProxyAbsent    = errors.New("no PROXY protocol header, which every connection from a trusted address must begin with")
	errProxyMalformed = errors.New("malformed PROXY protocol header")
)

// readProxyHeader reads one header and nothing behind it. The address is that
// of the client; it is not valid when the header does not say (LOCAL, as in
// health checks of the load balancer itself, or no IP address), and the
// connection's own is the one that counts.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	var fixed [proxyFixed]byte
	// The first byte comes alone: when it tells that there is no header, sixteen
	// may never come.
	if _, err := io.ReadFull(r, fixed[:1]); err != nil {
		return netip.AddrPort{}, err
	}
	switch fixed[0] {
	case proxySignature[0]:
	case 'P':
		return netip.AddrPort{}, errProxyV1
	default:
		return netip.AddrPort{}, errProxyAbsent
	}
	if _, err := io.ReadFull(r, fixed[1:]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", errProxyMalformed, err)
	}
	if string(fixed[:len(proxySignature)]) != proxySignature {
		return netip.AddrPort{}, errProxyAbsent
	}
	length := int(binary.BigEndian.Uint16(fixed[14:]))
	if length > proxyLongest {
		return netip.AddrPort{}, fmt.Errorf("%w: %d bytes, and the limit is %d", errProxyMalformed, length, proxyLongest)
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", errProxyMalformed, err)
	}
	return parseProxy(fixed[12], fixed[13], rest)
}

// parseProxy decodes what follows the signature. Additional vectors (TLV) are
// passed over: nothing here depends on one.
func parseProxy(command, family byte, rest []byte) (netip.AddrPort, error) {
	const local, proxied = 0x20, 0x21
	switch command {
	case local:
		return netip.AddrPort{}, nil // the receiver must ignore the rest
	case proxied:
	default:
		return netip.AddrPort{}, fmt.Errorf("%w: version and command %#02x", errProxyMalformed, command)
	}
	size := 0 // of one address
	switch family {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	case 0x00, 0x12, 0x22, 0x31, 0x32: // unspecified, UDP, unix sockets
		return netip.AddrPort{}, nil
	default:
		return netip.AddrPort{}, fmt.Errorf("%w: family %#02x", errProxyMalformed, family)
	}
	if len(rest) < 2*size+4 {
		return netip.AddrPort{}, fmt.Errorf("%w: too short for its addresses", errProxyMalformed)
	}
	addr, _ := netip.AddrFromSlice(rest[:size])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(rest[2*size:])), nil
}

// contains says whether one of the networks holds the address.
func contains(networks []netip.Prefix, addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || len(networks) == 0 {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// proxied learns the client's address from the load balancer, and counts the
// session there.
func (s *session) proxied() error {
	_ = s.raw.SetReadDeadline(time.Now().Add(s.srv.cfg.HandshakeTimeout))
	if s.draining.Load() {
		return ErrServerClosed // and not wait for a header: the wake-up may just have been overwritten
	}
	client, err := readProxyHeader(s.raw)
	if err != nil {
		return err
	}
	_ = s.raw.SetReadDeadline(time.Time{})
	if s.draining.Load() {
		s.wake()
	}
	if !client.IsValid() {
		return nil
	}
	s.log = s.srv.cfg.Log.With("conn", s.id, "client", client.String(), "proxy", s.raw.RemoteAddr().String())
	if !s.srv.readdress(s, clientKey(client.Addr().String())) {
		s.srv.cfg.Metrics.refusedConnections.Inc()
		return errors.New("too many connections of this client")
	}
	return nil
}

// readdress moves a session from the load balancer's address, where it is not
// counted, to its client's; false when that one has too many.
func (s *Server) readdress(sess *session, address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[address] >= sess.limits.MaxPerAddress {
		return false
	}
	s.clients[address]++
	sess.address, sess.counted = address, true
	return true
}
