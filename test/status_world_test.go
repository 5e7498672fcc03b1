package test

import (
	"io"
	"net"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/test/hostile"
)

// played plays a peer.
type played func(nc *net.TCPConn)

// listen serves connections with serve until the test ends, and returns the address.
func listen(t *testing.T, serve played) (addr string) {
	t.Helper()
	return testkit.Serve(t, func(nc net.Conn) { serve(nc.(*net.TCPConn)) })
}

// startWorld runs a SOCKS5 proxy that answers like Tor and connects only to peers, by "host:port". So peers can have
// any address.
func startWorld(t *testing.T, peers map[string]played) (upstream string) {
	t.Helper()
	upstream, _ = startUpstream(t, "127.0.0.1:0", true, func(dest string) played { return peers[dest] })
	return upstream
}

// v1Peer plays a peer that hangs up on v2 and answers a VERSION in v1.
func v1Peer(agent string) played {
	return func(nc *net.TCPConn) {
		if name, _, err := hostile.ReadV1(nc); err != nil || name != "version" {
			return
		}
		nc.Write(append(hostile.V1("version", hostile.Version(agent)), hostile.V1("verack", nil)...))
		io.Copy(io.Discard, nc)
	}
}

// v1OnlyPeer hangs up silently on anything but v1.
func v1OnlyPeer(nc *net.TCPConn) {
	nc.Read(make([]byte, 64))
	nc.CloseWrite()
	io.Copy(io.Discard, nc)
}

func echoPeer(nc *net.TCPConn) { io.Copy(nc, nc) }

// v1Client connects to dest and sends a v1 client's first messages. It reads and discards answers.
func v1Client(t *testing.T, proxyAddr, dest, agent string) *net.TCPConn {
	t.Helper()
	nc, err := hostile.Connect(proxyAddr, dest, patience)
	if err != nil {
		t.Fatalf("%s: %v", dest, err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Time{})
	nc.Write(append(hostile.V1("version", hostile.Version(agent)), hostile.V1("verack", nil)...))
	go io.Copy(io.Discard, nc)
	return nc
}
