package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// relayCommand, with copying, splice, small or bare, makes this program a relay.
const relayCommand = "relay"

// The ways in which a relay passes bytes on.
const (
	copying = "copy"   // through one buffer for each direction, in which a proxy could encrypt them
	splice  = "splice" // in the kernel, where it can
	small   = "small"  // like copy, with buffers for many sessions that send little
	bare    = "bare"   // translated by the bare loop
)

// relayBuffer is the size of each of the copying relay's buffers: a whole block fits, which the proxy has to hold, too.
// The larger, the cheaper (AMD EPYC, blocks, CPU s/GB): 0.49 with 16 KiB, 0.36 with 64, 0.31 with 256, 0.26 with 1,024,
// 0.23 with 2,048, 0.21 with 4,096.
const relayBuffer = 2 << 20

var relayBuffers = sync.Pool{New: func() any { return new([relayBuffer]byte) }}

// relays are the functions that relay a session, by the way in which they do.
var relays = map[string]func(client, peer *net.TCPConn){
	copying: passing(func(dst, src *net.TCPConn) {
		b := relayBuffers.Get().(*[relayBuffer]byte)
		defer relayBuffers.Put(b)
		for {
			n, err := src.Read(b[:])
			if err != nil {
				return
			}
			if _, err := dst.Write(b[:n]); err != nil {
				return
			}
		}
	}),
	splice: passing(func(dst, src *net.TCPConn) { io.Copy(dst, src) }),
	small: passing(func(dst, src *net.TCPConn) {
		io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 4<<10))
	}),
	bare: bareLoop,
}

// passing returns a function that relays a session with pass, which passes all bytes from src on to dst.
func passing(pass func(dst, src *net.TCPConn)) func(client, peer *net.TCPConn) {
	return func(client, peer *net.TCPConn) {
		bothWays(client, peer, func() { pass(peer, client) }, func() { pass(client, peer) })
	}
}

// bothWays runs both directions of a session. When one has ended, so does its output.
func bothWays(client, peer *net.TCPConn, up, down func()) {
	var both sync.WaitGroup
	both.Go(func() {
		down()
		client.CloseWrite()
	})
	up()
	peer.CloseWrite()
	both.Wait()
}

// serveRelay is the minimal SOCKS5 proxy: no authentication, addresses only, no deadlines, no log.
func serveRelay(pass func(client, peer *net.TCPConn)) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		go relay(client.(*net.TCPConn), pass)
	}
}

func relay(client *net.TCPConn, pass func(client, peer *net.TCPConn)) {
	defer client.Close()
	var b [10]byte
	if _, err := io.ReadFull(client, b[:2]); err != nil {
		return
	}
	if _, err := io.ReadFull(client, make([]byte, b[1])); err != nil {
		return
	}
	if _, err := client.Write([]byte{5, 0}); err != nil {
		return
	}
	if _, err := io.ReadFull(client, b[:]); err != nil || b[3] != 1 {
		return
	}
	dest := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[8:]))
	peer, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(dest))
	if err != nil {
		return
	}
	defer peer.Close()
	if _, err := client.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return
	}
	pass(client, peer)
}
