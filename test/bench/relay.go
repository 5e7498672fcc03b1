package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// relayCommand makes this program the bare relay.
const relayCommand = "relay"

// serveRelay is the minimal SOCKS5 proxy: no authentication, addresses only, no deadlines, no log, and the kernel
// copies the bytes where it can.
func serveRelay() error {
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
		go relay(client.(*net.TCPConn))
	}
}

func relay(client *net.TCPConn) {
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
	var both sync.WaitGroup
	pass := func(dst, src *net.TCPConn) {
		io.Copy(dst, src)
		dst.CloseWrite()
	}
	both.Go(func() { pass(client, peer) })
	pass(peer, client)
	both.Wait()
}
