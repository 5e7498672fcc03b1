package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"bip324proxy/transport"
)

var regtest = transport.Regtest.Magic

// The example runs both roles over one connection.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ours, theirs := net.Pipe()

	go func() {
		conn, err := transport.Server(ctx, theirs, transport.Config{Magic: regtest})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer conn.Close()
		contents, err := conn.ReadPacket()
		if err != nil {
			fmt.Println(err)
			return
		}
		conn.WritePacket(append([]byte("you said: "), contents...))
	}()

	conn, err := transport.Client(ctx, ours, transport.Config{
		Magic: regtest,
		First: [][]byte{[]byte("hello")}, // sent together with the version packet
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	contents, err := conn.ReadPacket()
	fmt.Printf("%s %v\n", contents, err)
	// Output: you said: hello <nil>
}

// A program with its own event loop can use the handshake and the packets without a socket.
func ExampleHandshake() {
	ours, err := transport.NewHandshake(transport.Config{Magic: regtest}, true)
	if err != nil {
		fmt.Println(err)
		return
	}
	theirs, err := transport.NewHandshake(transport.Config{Magic: regtest}, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	toThem, toUs := ours.Start(), []byte(nil)
	for ours.Session() == nil || theirs.Session() == nil {
		if _, toUs, err = theirs.Receive(toThem); err != nil {
			fmt.Println(err)
			return
		}
		if _, toThem, err = ours.Receive(toUs); err != nil {
			fmt.Println(err)
			return
		}
	}
	us, them := ours.Session(), theirs.Session()
	fmt.Println("same session id:", us.ID() == them.ID())

	packet, _ := us.Seal(nil, []byte("hello"), false)
	rest, _ := them.OpenLength(packet[:3])
	contents, decoy, err := them.Open(packet[3 : 3+rest])
	fmt.Printf("%s, decoy %v, %v\n", contents, decoy, err)
	// Output:
	// same session id: true
	// hello, decoy false, <nil>
}

// A node accepts v2 connections only.
func ExampleServer() {
	ours, theirs := net.Pipe()
	go func() { // a v1 client
		theirs.Write(append(regtest[:], "version\x00\x00\x00\x00\x00 and so on"...))
		theirs.Close()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := transport.Server(ctx, ours, transport.Config{Magic: regtest})
	fmt.Println(errors.Is(err, transport.ErrV1Peer))
	// Output: true
}
