package listen

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// A listener on all addresses is reached at each of the machine's addresses, a socket file by each of its names.
func TestAccepts(t *testing.T) {
	tcp := func(ip string, port int) *net.TCPAddr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	for _, test := range []struct {
		l, addr net.Addr
		want    bool
	}{
		{tcp("0.0.0.0", 1324), tcp("127.0.0.1", 1324), true},
		{tcp("::", 1324), tcp("127.0.0.1", 1324), true},
		{tcp("::", 1324), tcp("::1", 1324), true},
		{tcp("::", 1324), tcp("0.0.0.0", 1324), true},
		{tcp("127.0.0.1", 1324), tcp("127.0.0.1", 1324), true},
		{tcp("127.0.0.1", 1324), tcp("::ffff:127.0.0.1", 1324), true},
		{tcp("127.0.0.1", 1324), tcp("0.0.0.0", 1324), true},
		{tcp("0.0.0.0", 1324), tcp("::1", 1324), false},
		{tcp("0.0.0.0", 1324), tcp("127.0.0.1", 1325), false},
		{tcp("0.0.0.0", 1324), tcp("192.0.2.1", 1324), false},
		{tcp("127.0.0.1", 1324), tcp("127.0.0.2", 1324), false},
		{&net.UnixAddr{Name: "/s", Net: "unix"}, tcp("127.0.0.1", 1324), false},
	} {
		if got := Accepts(test.l, test.addr); got != test.want {
			t.Errorf("%v on a listener at %v: got %v, want %v", test.addr, test.l, got, test.want)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && !Accepts(tcp("::", 1324), &net.TCPAddr{IP: n.IP, Port: 1324}) {
			t.Errorf("%v is an address of this machine, but not of the listener", n.IP)
		}
	}
}

func TestAcceptsSocketFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on Windows")
	}
	dir := t.TempDir()
	socket, link := filepath.Join(dir, "s"), filepath.Join(dir, "link")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(socket, link); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{socket: true, link: true, filepath.Join(dir, "other"): false} {
		if got := Accepts(l.Addr(), &net.UnixAddr{Name: name, Net: "unix"}); got != want {
			t.Errorf("%s on a listener at %s: got %v, want %v", name, socket, got, want)
		}
	}
}
