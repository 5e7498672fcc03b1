package transport

import (
	"errors"
	"testing"

	"bip324proxy/internal/testkit"
)

// A packet over the limit, decoy or not, ends the connection at its length: no memory is taken. One of
// the limit's size passes, and without the limit the large one does.
func TestLimitContents(t *testing.T) {
	const limit = 1000
	for name, send := range map[string]func(*Conn, []byte) error{"packet": (*Conn).WritePacket, "decoy": (*Conn).WriteDecoy} {
		for _, size := range []int{limit + 1, 20_000, MaxContents} {
			memory := NewMemory(2 * MaxContents)
			a, b := testkit.TCPPair(t)
			client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet, Memory: memory})
			server.LimitContents(limit)
			sent := make(chan error, 1)
			go func() {
				sent <- errors.Join(send(client, make([]byte, limit)), client.WritePacket([]byte("between")), send(client, make([]byte, size)))
			}()
			for got := ""; got != "between"; {
				p, err := server.ReadPacket()
				if err != nil {
					t.Fatalf("%s within the limit: %v", name, err)
				}
				got = string(p)
			}
			for range 2 {
				var tooLarge *SizeError
				if _, err := server.ReadPacket(); !errors.As(err, &tooLarge) || *tooLarge != (SizeError{size, limit}) {
					t.Errorf("%s of %d bytes: got %v", name, size, err)
				}
			}
			if use := memory.Usage(); use.Taken > 0 {
				t.Errorf("%s of %d bytes: %+v", name, size, use)
			}
			server.Close()
			<-sent
		}
		a, b := testkit.TCPPair(t)
		client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
		server.LimitContents(limit)
		server.LimitContents(0)
		go func() { send(client, make([]byte, MaxContents)); client.WritePacket([]byte("after")) }()
		for got := ""; got != "after"; {
			p, err := server.ReadPacket()
			if err != nil {
				t.Fatalf("%s without a limit: %v", name, err)
			}
			got = string(p)
		}
	}
}
