package transparent

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A connection that was not redirected was meant to go where it arrived.
func TestNotRedirected(t *testing.T) {
	skipUnsupported(t)
	addresses := []string{"127.0.0.1:0", "[::]:0"}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil { // not on every machine
		l.Close()
		addresses = append(addresses, "[::1]:0")
	}
	for _, on := range addresses {
		l := listen(t, "tcp", on)
		ways, err := Prepare(l)
		if again, errAgain := Prepare(l); ways == "" || again != ways || err != nil || errAgain != nil {
			t.Errorf("%s: got %q, %v, then %q, %v", on, ways, err, again, errAgain)
		}
		to := l.Addr().(*net.TCPAddr)
		if to.IP.IsUnspecified() {
			to.IP = net.IPv4(127, 0, 0, 1) // IPv4 on a socket for both
		}
		accepted, _ := connect(t, l, to.String())
		dest, err := Destination(accepted)
		if want := to.AddrPort(); err != nil || dest != netip.AddrPortFrom(want.Addr().Unmap(), want.Port()) {
			t.Errorf("%s: got %v, %v; want %v", on, dest, err, want)
		}
		accepted.Close()
		if dest, err := Destination(accepted); err == nil {
			t.Errorf("%s: once closed: got %v", on, dest)
		}
	}
}

// Only TCP connections are redirected.
func TestDestinationOfUnixSocket(t *testing.T) {
	l := listen(t, "unix", filepath.Join(t.TempDir(), "socket"))
	accepted, _ := connect(t, l, l.Addr().String())
	if dest, err := Destination(accepted); err == nil {
		t.Errorf("got %v", dest)
	}
}

// A connection is recognised by its own address until it is closed.
func TestDials(t *testing.T) {
	skipUnsupported(t)
	l := listen(t, "tcp", "127.0.0.1:0")
	to := l.Addr().(*net.TCPAddr).AddrPort()
	var dials Dials
	dialer := net.Dialer{Control: func(_, address string, socket syscall.RawConn) error {
		dials.Add(netip.MustParseAddrPort(address), socket)
		return nil
	}}
	dial := func() (client, accepted net.Conn, from netip.AddrPort) {
		client, err := dialer.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if accepted, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { accepted.Close() })
		return client, accepted, accepted.RemoteAddr().(*net.TCPAddr).AddrPort()
	}
	_, _, from := dial()
	if dials.Has(from, to) {
		t.Error("a connection was remembered before Start")
	}
	dials.Start()
	dials.Start() // of a second listener
	client, _, from := dial()
	other := netip.AddrPortFrom(to.Addr(), to.Port()^1)
	mapped := netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
	if !dials.Has(from, to) || !dials.Has(from, mapped) || dials.Has(from, other) || dials.Has(to, to) {
		t.Errorf("%v: got %v, %v; another destination: %v; another source: %v", from,
			dials.Has(from, to), dials.Has(from, mapped), dials.Has(from, other), dials.Has(to, to))
	}
	if len(dials.begun) > 0 || dials.size != 1 {
		t.Errorf("the addresses of %v are still unknown; %d sockets", dials.begun, dials.size)
	}
	client.Close()
	if dials.Has(from, to) {
		t.Error("a closed connection was found")
	}

	// Another socket has the address of a closed one.
	closed := dials.sockets[connection{from, to}]
	_, _, from = dial()
	dials.sockets[connection{from, to}] = closed
	dials.size++
	if !dials.Has(from, to) || dials.size != 2 {
		t.Errorf("the address of a closed connection: got %v; %d sockets", dials.Has(from, to), dials.size)
	}
	(*Dials)(nil).Add(to, nil)
}

// Closed sockets are not kept.
func TestDialsSwept(t *testing.T) {
	skipUnsupported(t)
	l := listen(t, "tcp", "127.0.0.1:0")
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var dials Dials
	dials.Start()
	to := netip.MustParseAddrPort("192.0.2.1:8333")
	for range 2 * minSweep {
		dials.Add(to, raw)
	}
	if dials.size != 2*minSweep {
		t.Fatalf("has %d open sockets", dials.size)
	}
	l.Close()
	other := listen(t, "tcp", "127.0.0.1:0")
	if raw, err = other.(*net.TCPListener).SyscallConn(); err != nil {
		t.Fatal(err)
	}
	for range dials.sweepAt - dials.size + 1 {
		dials.Add(netip.AddrPortFrom(to.Addr(), 1), raw)
	}
	if _, kept := dials.begun[to]; kept || dials.size > minSweep {
		t.Errorf("has %d sockets, those of %v: %v", dials.size, to, kept)
	}
}

func TestUnsupported(t *testing.T) {
	if err := Supported(); err != nil && (!errors.Is(err, ErrUnsupported) || !errors.Is(err, errors.ErrUnsupported)) {
		t.Errorf("got %v", err)
	}
}

func skipUnsupported(t *testing.T) {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func connect(t *testing.T, l net.Listener, address string) (accepted, client net.Conn) {
	t.Helper()
	client, err := net.Dial(l.Addr().Network(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return accepted, client
}
