//go:build unix

package proxy_test

import (
	"net"
	"syscall"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// Connections to peers have no TCP keepalive, like those of Bitcoin Core: the probes would
// distinguish the proxy on the wire.
func TestNoKeepaliveToPeers(t *testing.T) {
	addr := testkit.Echo(t)
	_, port, _ := net.SplitHostPort(addr)
	dest, err := socks.ParseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	ofPolicy, err := new(proxy.Policy).DialerTo(dest, socks.Credentials{}, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, dialer := range map[string]fallback.Dialer{"Dialer": {}, "Policy": ofPolicy} {
		for _, addr := range []string{addr, "localhost:" + port} {
			nc, err := dialer.Connect(t.Context(), addr)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := nc.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) {
				if on, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); on != 0 || err != nil {
					t.Errorf("%s to %s: SO_KEEPALIVE is %d, %v", name, addr, on, err)
				}
			})
			nc.Close()
		}
	}
}
