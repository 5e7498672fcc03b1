package proxy

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"bip324proxy/internal/stream"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// A client on a unix socket has no address, yet its errors are told from the peer's.
func TestSideOfAUnixClient(t *testing.T) {
	unix := &net.UnixAddr{Name: "@", Net: "unix"}
	s := &session{dialer: new(fallback.Dialer), client: stream.NewSocket(unixClient{addr: unix})}
	s.shown.Transport, s.shown.Client = "v2", clientName(unix)
	for _, c := range []struct {
		addr net.Addr
		want v1v2.Side
	}{{unix, v1v2.ClientSide}, {&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8333}, v1v2.PeerSide}} {
		var end *v1v2.EndError
		err := s.cause(&net.OpError{Op: "write", Net: c.addr.Network(), Addr: c.addr, Err: syscall.EPIPE})
		if !errors.As(err, &end) || end.Side != c.want {
			t.Errorf("%v: got %v, want the side %s", c.addr, err, c.want)
		}
	}
	if s.shown.Client != "unix" {
		t.Errorf("the client is shown as %q, want unix", s.shown.Client)
	}
}

// unixClient is a connection of which only the address is used.
type unixClient struct {
	net.Conn
	addr net.Addr
}

func (c unixClient) RemoteAddr() net.Addr { return c.addr }
