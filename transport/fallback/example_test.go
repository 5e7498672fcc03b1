package fallback_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"time"

	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

var regtest = transport.Regtest.Magic

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

// A shape hides sizes or times of what is sent; docs/shape.md says what it does not hide.
func ExampleDialer_shape() {
	shape, err := transport.ParseShape("pad,bucket=2048")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dialer := fallback.Dialer{Config: transport.Config{Magic: regtest, Shape: shape}}
	conn, err := dialer.DialContext(ctx, "tcp", v2Node())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	if _, err := conn.Write(version); err != nil { // 2,048 bytes on the wire
		fmt.Println(err)
		return
	}
	answer := make([]byte, v1v2.HeaderSize)
	_, err = io.ReadFull(conn, answer)
	fmt.Println(strings.TrimRight(string(answer[4:16]), "\x00"), err)
	// Output: verack <nil>
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

// A node without v2 hangs up on the handshake. Only if Mode allows it, v1 is spoken then, on another
// connection; and for 30 days not with a peer that has spoken v2.
func ExampleDialer_mode() {
	addr := v1Node()
	for _, mode := range []fallback.Mode{fallback.Never, fallback.Always} {
		dialer := fallback.Dialer{
			Mode:       mode,
			Peers:      new(fallback.Peers), // one for all Dialers of a program; OpenPeers has a file
			RetryAfter: time.Millisecond,    // for this example: a node that is busy needs a second or two
			Config:     transport.Config{Magic: regtest},
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		conn, err := dialer.DialContext(ctx, "tcp", addr) // the network is named, so the handshake is here
		cancel()
		var failed *transport.HandshakeError
		switch {
		case errors.As(err, &failed):
			fmt.Printf("%v: %d bytes received, hung up: %v\n", mode, failed.Received, failed.HungUp())
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Printf("%v: %s\n", mode, conn.(*v1v2.Conn).Transport())
			conn.Close()
		}
	}
	// Output:
	// never: 0 bytes received, hung up: true
	// always: v1
}

// With Overlay, v1 is spoken where the network encrypts all the way to the peer: to an onion service,
// through a Tor on this machine.
func ExampleDialer_overlay() {
	tor, err := socks.ParseUpstream("socks5://127.0.0.1:9050")
	if err != nil {
		fmt.Println(err)
		return
	}
	dialer := fallback.Dialer{
		Mode:  fallback.Overlay,
		Peers: new(fallback.Peers),
		Dial:  tor.DialContext,
		Overlay: func(ctx context.Context, host string, via net.Addr) error {
			if !strings.HasSuffix(host, ".onion") {
				return errors.New("it is not an onion service")
			}
			_, err := tor.ProbeTor(ctx) // other proxies do not encrypt
			return err
		},
		OnV1: func(addr string, link fallback.Link) { log.Printf("v1 to %s: %v", addr, link.Cause) },
	}
	fmt.Println(dialer.Overlay(context.Background(), "192.0.2.1", nil))
	// Output:
	// it is not an onion service
}

// v1Node returns the address of a node that speaks only v1, and hangs up on anything else.
func v1Node() (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				if _, v1, err := v1v2.Classify(bufio.NewReader(nc)); err == nil && v1 {
					io.Copy(io.Discard, nc)
				}
			}()
		}
	}()
	return l.Addr().String()
}
