package proxy

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func TestIsPrivate(t *testing.T) {
	for ip, want := range map[string]bool{
		"127.0.0.1":          true,
		"10.1.2.3":           true,
		"172.16.0.1":         true,
		"192.168.1.1":        true,
		"169.254.169.254":    true, // clouds' metadata
		"100.64.0.1":         true,
		"198.18.0.1":         true,
		"0.0.0.0":            true,
		"0.1.2.3":            true,
		"224.0.0.1":          true,
		"255.255.255.255":    true,
		"::":                 true,
		"::1":                true,
		"fe80::1":            true,
		"fe80::1%eth0":       true,
		"fc00::1":            true,
		"fd12::1":            true,
		"fec0::1":            true,
		"ff02::1":            true,
		"::ffff:127.0.0.1":   true,
		"::ffff:192.168.0.1": true,
		"::10.0.0.1":         true,
		"64:ff9b::7f00:1":    true,
		"64:ff9b::a9fe:a9fe": true,
		"2002:7f00:1::":      true,
		"2002:c0a8:101::1":   true,
		"192.0.2.1":          false, // documentation: nobody's
		"8.8.8.8":            false,
		"172.32.0.1":         false,
		"100.128.0.1":        false,
		"2001:db8::1":        false,
		"64:ff9b::808:808":   false,
		"2002:808:808::1":    false,
		"::ffff:8.8.8.8":     false,
	} {
		if got := isPrivate(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v, want %v", ip, got, want)
		}
	}
}

// A client of a listener that is open to others gets nowhere near this machine,
// whether it asks by address or by name, and nothing is connected to. One of a
// loopback listener does.
func TestPrivateDestinations(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	port := inner.Addr().(*net.TCPAddr).Port
	for _, listen := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
		server := &Server{Log: slog.New(slog.DiscardHandler)}
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		go server.Serve(l)
		proxyAddr := net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
		want := byte(2)
		if IsLocal(l.Addr()) {
			want = 0
		}
		for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "localhost"} {
			if got := connectCode(t, proxyAddr, host, port); got != want {
				t.Errorf("listening on %s, CONNECT to %s: reply %d, want %d", listen, host, got, want)
			}
		}
		if want == 2 {
			inner.(*net.TCPListener).SetDeadline(time.Now())
			if c, err := inner.Accept(); err == nil {
				c.Close()
				t.Error("the destination was connected to")
			}
			inner.(*net.TCPListener).SetDeadline(time.Time{})
		}
		server.Close()
	}
}

// connectCode asks the proxy for a connection and returns the reply's code.
func connectCode(t *testing.T, proxyAddr, host string, port int) byte {
	t.Helper()
	nc, err := net.Dial("tcp", proxyAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	nc.Write(append(append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...), byte(port>>8), byte(port)))
	var reply [12]byte
	if _, err := io.ReadFull(nc, reply[:]); err != nil {
		t.Fatal(err)
	}
	return reply[3]
}
