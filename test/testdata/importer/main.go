// A program of another module: a peer and its client on loopback, one message over v2.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

var config = transport.Config{Magic: transport.Regtest.Magic}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go peer(ctx, listener)

	if _, err := socks.ParseAddr(listener.Addr().String()); err != nil {
		log.Fatal(err)
	}
	var dialer fallback.Dialer
	nc, err := dialer.Connect(ctx, listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	conn, err := transport.Client(ctx, nc, config)
	if err != nil {
		log.Fatal(err)
	}
	contents, err := conn.ReadPacket()
	if err != nil {
		log.Fatal(err)
	}
	t, payload, ok := v1v2.Decode(contents)
	fmt.Println(t == v1v2.TypeOf("ping"), string(payload), ok)
}

func peer(ctx context.Context, listener net.Listener) {
	nc, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	conn, err := transport.Server(ctx, nc, config)
	if err != nil {
		log.Fatal(err)
	}
	if err := conn.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("ping"), []byte("12345678"))); err != nil {
		log.Fatal(err)
	}
}
