package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// What a peer sends instead of a v2 handshake says what it is, and what to do, also in a
// log without addresses.
func TestExplainHandshake(t *testing.T) {
	s := &session{server: new(Server), policy: new(Policy), shown: SessionInfo{Dest: "192.0.2.1:8333", Network: "mainnet"}}
	reset := &net.OpError{Op: "read", Net: "tcp", Source: new(net.TCPAddr), Addr: new(net.TCPAddr), Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, c := range []struct {
		first        string
		err          error
		reason, hint string
	}{
		{"HTTP/1.1 400 Bad", io.EOF, "not a Bitcoin node: it answered in HTTP", "the address and the port"},
		{"<html>\r\n<head><t", io.EOF, "it answered in HTTP", "the address and the port"},
		{"<!DOCTYPE HTML P", reset, "it answered in HTTP", "the address and the port"},
		{"\x15\x03\x01\x00\x02\x02\x46", reset, "it answered in TLS", "the address and the port"},
		{"SSH-2.0-OpenSSH_", transport.ErrNoTerminator, "it answered in SSH", "the address and the port"},
		{"\x0b\x11\x09\x07version\x00\x00\x00\x00\x00", transport.ErrV1OtherNetwork, "another network than mainnet: testnet3", "same network"},
		{"\xfa\xfb\xfc\xfdversion\x00\x00\x00\x00\x00", transport.ErrV1OtherNetwork, "another network than mainnet: fafbfcfd", "same network"},
		{"\x01\x02\x03", reset, "(67 bytes sent, 3 received): the connection was reset", "does not speak v2"},
		{"", io.EOF, "hung up during the v2 handshake without an answer", "no slot free"},
	} {
		e := &transport.HandshakeError{Sent: 67, Received: len(c.first), First: []byte(c.first), Err: c.err}
		for _, err := range []error{e, hidden(e)} {
			reason, hint := s.explain(err)
			if !strings.Contains(reason, c.reason) || !strings.Contains(hint, c.hint) {
				t.Errorf("%q, %v: %q -> %q; want %q -> %q", c.first, c.err, reason, hint, c.reason, c.hint)
			}
		}
	}
}

// A client on a unix socket has no address of its own, and is told from the peer all the
// same.
func TestSideOfAUnixClient(t *testing.T) {
	unix := &net.UnixAddr{Name: "@", Net: "unix"}
	s := &session{client: stream.NewSocket(unixClient{addr: unix})}
	s.shown.Transport, s.shown.Client = "v2", clientName(unix)
	for _, c := range []struct {
		addr net.Addr
		want v1v2.Side
	}{{unix, v1v2.Client}, {&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8333}, v1v2.Peer}} {
		var end *v1v2.EndError
		err := s.ended(&net.OpError{Op: "write", Net: c.addr.Network(), Addr: c.addr, Err: syscall.EPIPE})
		if !errors.As(err, &end) || end.Side != c.want {
			t.Errorf("%v: %v, want the side %s", c.addr, err, c.want)
		}
	}
	if s.shown.Client != "unix" {
		t.Errorf("it is called %q", s.shown.Client)
	}
}

// unixClient is a connection of which only the address matters.
type unixClient struct {
	net.Conn
	addr net.Addr
}

func (c unixClient) RemoteAddr() net.Addr { return c.addr }
