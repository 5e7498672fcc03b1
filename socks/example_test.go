package socks_test

import (
	"bufio"
	"context"
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

var regtest = transport.Regtest.Magic

// version is a Bitcoin program's first message. A real one has more in it.
var version = v1v2.AppendMessage(nil, regtest, v1v2.TypeOf("version"), make([]byte, 86))

// A SOCKS server for programs that speak Bitcoin's v1: their peers get v2. With a net.Dialer it would
// be a server for everything.
func ExampleConfig_Negotiate() {
	var dialer fallback.Dialer
	serve := func(client net.Conn) {
		defer client.Close()
		in := bufio.NewReader(client)
		request, err := socks.Config{}.Negotiate(client, in)
		if err != nil { // the client has its answer
			return
		}
		if request.Command != socks.CommandConnect {
			request.Reply(socks.CommandNotSupported)
			return
		}
		peer, err := dialer.DialContext(context.Background(), "tcp", request.Dest.String())
		if err != nil {
			request.Reply(socks.CodeOf(err))
			return
		}
		defer peer.Close()
		if request.Reply(socks.Succeeded) != nil {
			return
		}
		go func() {
			defer peer.Close() // ends the other direction, too
			io.Copy(peer, in)
		}()
		io.Copy(client, peer)
	}
	server := listen(serve)
	defer server.Close()
	node := listen(answerVersion)
	defer node.Close()

	// A client of that server.
	upstream := socks.Upstream{Network: "tcp", Address: server.Addr().String()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := upstream.DialContext(ctx, "tcp", node.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	conn.Write(version)
	answer := make([]byte, v1v2.HeaderSize)
	_, err = io.ReadFull(conn, answer)
	fmt.Println(strings.TrimRight(string(answer[4:16]), "\x00"), err)
	// Output: verack <nil>
}

// listen hands each connection to serve, in a goroutine.
func listen(serve func(net.Conn)) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l
}

// answerVersion is a node that speaks only v2, and answers VERSION with VERACK.
func answerVersion(nc net.Conn) {
	conn, err := v1v2.Server(context.Background(), nc, transport.Config{Magic: regtest})
	if err != nil {
		return
	}
	defer conn.Close()
	io.ReadFull(conn, make([]byte, len(version)))
	conn.Write(v1v2.AppendMessage(nil, regtest, v1v2.TypeOf("verack"), nil))
	io.Copy(io.Discard, conn)
}
