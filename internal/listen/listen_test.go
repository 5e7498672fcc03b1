package listen_test

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"bip324proxy/internal/listen"
)

func TestListen(t *testing.T) {
	for _, c := range []struct {
		spec, network string
		local         bool
	}{
		{"127.0.0.1:0", "tcp", true},
		{"127.0.0.2:0", "tcp", true},
		{"localhost:0", "tcp", true},
		{"[::1]:0", "tcp", true},
		{"0.0.0.0:0", "tcp", false},
		{"[::]:0", "tcp", false},
	} {
		l, err := listen.Open(c.spec)
		if err != nil && (c.spec == "[::1]:0" || c.spec == "127.0.0.2:0") {
			t.Logf("%s: not run: %v", c.spec, err) // not on every machine
			continue
		}
		if err != nil {
			t.Errorf("%s: got %v", c.spec, err)
			continue
		}
		if l.Addr().Network() != c.network || listen.IsLocal(l.Addr()) != c.local {
			t.Errorf("%s: listens on %s %v, local %v", c.spec, l.Addr().Network(), l.Addr(), listen.IsLocal(l.Addr()))
		}
		l.Close()
	}
}

// An invalid specification gives a *SpecError that says what to write.
func TestListenWrongSpec(t *testing.T) {
	for _, spec := range []string{"", "1324", ":1324", ":0", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:-1", "127.0.0.1:65536",
		"::1:1324", "[::1]", "unix:", "tcp:127.0.0.1:1324", "no-such-host.invalid:0"} {
		l, err := listen.Open(spec)
		if err == nil {
			l.Close()
		}
		var wrong *listen.SpecError
		if !errors.As(err, &wrong) || wrong.Spec != spec || !strings.Contains(err.Error(), "write HOST:PORT") {
			t.Errorf("%q: got %v", spec, err)
		}
	}
}

func TestIsLocal(t *testing.T) {
	for addr, want := range map[net.Addr]bool{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}:          true,
		&net.TCPAddr{IP: net.IPv4(127, 255, 255, 254)}:    true,
		&net.TCPAddr{IP: net.IPv6loopback}:                true,
		&net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1")}: true,
		&net.TCPAddr{}:                                         false,
		&net.TCPAddr{IP: net.IPv4zero}:                         false,
		&net.TCPAddr{IP: net.IPv6unspecified}:                  false,
		&net.TCPAddr{IP: net.IPv4(192, 168, 0, 1)}:             false,
		&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}: false,
		&net.UnixAddr{Name: "/run/socket", Net: "unix"}:        true,
		&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}:               false,
	} {
		if got := listen.IsLocal(addr); got != want {
			t.Errorf("%v: got %v", addr, got)
		}
	}
}

// 0.0.0.0 does not include the IPv6 addresses.
func TestListenIPv4Only(t *testing.T) {
	l, err := listen.Open("0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	for host, want := range map[string]bool{"127.0.0.1": true, "::1": false} {
		nc, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err == nil {
			nc.Close()
		}
		if got := err == nil; got != want {
			t.Errorf("%s: connected %v, want %v (%v)", host, got, want, err)
		}
	}
}
