package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

var regtest = [4]byte{0xfa, 0xbf, 0xb5, 0xda}

// version is a program's first message, as it has always written it. A real one has more in it.
var version = v1v2.AppendMessage(nil, regtest, v1v2.TypeOf("version"), make([]byte, 86))

// A program that speaks v1 to a net.Conn needs only another dialer.
func ExampleDialer_DialContext() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var dialer fallback.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", v2Node())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	if _, err := conn.Write(version); err != nil { // v1, as before; the handshake is here
		fmt.Println(err)
		return
	}
	answer := make([]byte, v1v2.HeaderSize)
	_, err = io.ReadFull(conn, answer) // v1, as before
	fmt.Println(strings.TrimRight(string(answer[4:16]), "\x00"), err)

	id, _ := conn.(*v1v2.Conn).SessionID() // for users to compare at both ends
	fmt.Println(conn.(*v1v2.Conn).Transport(), len(id))
	// Output:
	// verack <nil>
	// v2 32
}

// v2Node returns the address of a node that speaks only v2, and answers VERSION with VERACK.
func v2Node() (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		defer l.Close()
		nc, err := l.Accept()
		if err != nil {
			return
		}
		conn, err := v1v2.Server(context.Background(), nc, transport.Config{Magic: regtest})
		if err != nil {
			return
		}
		defer conn.Close()
		io.ReadFull(conn, make([]byte, len(version)))
		conn.Write(v1v2.AppendMessage(nil, regtest, v1v2.TypeOf("verack"), nil))
		io.Copy(io.Discard, conn)
	}()
	return l.Addr().String()
}

// Everything goes through Tor, names and onion services, too: nothing is looked up or connected to
// directly.
func ExampleDialer_tor() {
	tor, err := socks.ParseUpstream("socks5://127.0.0.1:9050")
	if err != nil {
		fmt.Println(err)
		return
	}
	dialer := fallback.Dialer{Dial: tor.DialContext}

	// For lack of a Tor, a context that has ended.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = dialer.DialContext(ctx, "tcp", "example.onion:8333")
	var failed *socks.UpstreamError
	fmt.Println(errors.As(err, &failed) && errors.Is(err, context.Canceled), failed.Dest)

	// Without a proxy, nothing leaves this machine for such a name.
	_, err = new(fallback.Dialer).DialContext(context.Background(), "tcp", "example.onion:8333")
	fmt.Println(errors.Is(err, fallback.ErrNeedsProxy))
	// Output:
	// true example.onion:8333
	// true
}

// A v1-only peer hangs up on a v2 key. If v1 is allowed, and only then, the dialer connects again.
func ExampleDialer_Upgrade() {
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
