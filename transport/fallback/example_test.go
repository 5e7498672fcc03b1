package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

var regtest = [4]byte{0xfa, 0xbf, 0xb5, 0xda}

// A v1-only peer hangs up on a v2 key. If v1 is allowed, and only then, the dialer connects again.
func ExampleDialer() {
	node, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	go func() { // a node that expects v1 and hangs up on anything else
		for {
			conn, err := node.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 64))
			conn.Close()
		}
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	addr := node.Addr().String()
	for _, mode := range []fallback.Mode{fallback.Never, fallback.Always} {
		dialer := fallback.Dialer{Mode: mode, Peers: new(fallback.Peers)}
		conn, err := dialer.Connect(ctx, addr)
		if err != nil {
			fmt.Println(err)
			return
		}
		link, err := dialer.Upgrade(ctx, conn, addr, transport.Config{Magic: regtest})
		var failed *transport.HandshakeError
		switch {
		case link.V2 != nil:
			fmt.Println("v2, session", link.V2.SessionID())
		case link.V1 != nil:
			fmt.Printf("%v: v1\n", mode)
			link.V1.Close()
		case errors.As(err, &failed):
			fmt.Printf("%v: no connection: %d bytes received, hung up: %v\n", mode, failed.Received, failed.HungUp())
		}
	}
	// Output:
	// never: no connection: 0 bytes received, hung up: true
	// always: v1
}
