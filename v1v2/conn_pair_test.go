package v1v2

import (
	"context"
	"net"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// A socketPair function returns two connected sockets.
type socketPair func(t testing.TB) (a, b net.Conn)

var socketPairs = map[string]socketPair{
	"TCP": testkit.TCPPair,
	"pipe": func(t testing.TB) (a, b net.Conn) {
		a, b = net.Pipe()
		t.Cleanup(func() {
			a.Close()
			b.Close()
		})
		return a, b
	},
}

// connPair returns a Conn at either end of two connected sockets. Both share a Memory.
func connPair(t testing.TB, sockets socketPair) (client, server *Conn) {
	t.Helper()
	a, b := sockets(t)
	return connsOn(t, a, b)
}

func connsOn(t testing.TB, a, b net.Conn) (client, server *Conn) {
	t.Helper()
	cfg := transport.Config{Magic: mainnet, Memory: transport.NewMemory(16 << 20)} // small: it may stay mapped, and a 32-bit system has little room
	failed := make(chan error, 1)
	go func() {
		var err error
		server, err = Server(context.Background(), b, cfg)
		failed <- err
	}()
	client, err := Client(context.Background(), a, cfg)
	if other := <-failed; err != nil || other != nil {
		t.Fatalf("handshake: got %v, %v", err, other)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// speakV2 returns a Decide function that performs the handshake as the initiator.
func speakV2(nc net.Conn) Decide {
	return func(ctx context.Context, magic [4]byte, first []byte) (*transport.Conn, net.Conn, error) {
		cfg := transport.Config{Magic: magic}
		if first != nil {
			cfg.First = [][]byte{first}
		}
		peer, err := transport.Client(ctx, nc, cfg)
		return peer, nil, err
	}
}

// answerV2 returns a Decide function that performs the handshake as the responder.
func answerV2(nc net.Conn) Decide {
	return func(ctx context.Context, magic [4]byte, first []byte) (*transport.Conn, net.Conn, error) {
		peer, err := transport.Server(ctx, nc, transport.Config{Magic: magic})
		return peer, nil, err
	}
}

// speakV1 returns a Decide function that decides on v1.
func speakV1(nc net.Conn) Decide {
	return func(context.Context, [4]byte, []byte) (*transport.Conn, net.Conn, error) { return nil, nc, nil }
}
