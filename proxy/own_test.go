package proxy

import (
	"net"
	"testing"
)

// A listener on all addresses is reached at each of the machine's addresses.
func TestOnAllAddresses(t *testing.T) {
	tcp := func(ip string, port int) *net.TCPAddr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	for _, test := range []struct {
		l, addr net.Addr
		want    bool
	}{
		{tcp("0.0.0.0", 1324), tcp("127.0.0.1", 1324), true},
		{tcp("::", 1324), tcp("127.0.0.1", 1324), true},
		{tcp("::", 1324), tcp("::1", 1324), true},
		{tcp("::", 1324), tcp("0.0.0.0", 1324), true},
		{tcp("0.0.0.0", 1324), tcp("127.0.0.1", 1325), false},
		{tcp("0.0.0.0", 1324), tcp("192.0.2.1", 1324), false},
		{tcp("127.0.0.1", 1324), tcp("127.0.0.2", 1324), false},
		{&net.UnixAddr{Name: "/s", Net: "unix"}, tcp("127.0.0.1", 1324), false},
	} {
		if got := onAllAddresses(test.l, test.addr); got != test.want {
			t.Errorf("%v on a listener at %v: got %v, want %v", test.addr, test.l, got, test.want)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && !onAllAddresses(tcp("::", 1324), &net.TCPAddr{IP: n.IP, Port: 1324}) {
			t.Errorf("%v is an address of this machine, but not of the listener", n.IP)
		}
	}
}
