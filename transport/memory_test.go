package transport

import (
	"bytes"
	"testing"

	"bip324proxy/internal/testkit"
)

// A large packet takes its part of the Memory until it is released, by either call or the next read.
func TestPacketMemory(t *testing.T) {
	const size = 1 << 20
	for name, release := range map[string]func(c *Conn){
		"ReleasePacket": (*Conn).ReleasePacket,
		"Release":       (*Conn).Release,
		"ReadPacket": func(c *Conn) {
			if got, err := c.ReadPacket(); err != nil || string(got) != "next" {
				t.Errorf("got %q, %v", got, err)
			}
		},
	} {
		a, b := testkit.TCPPair(t)
		memory := NewMemory(4 * size)
		client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet, Memory: memory})
		sent := make(chan error, 1)
		contents := testBytes(size, 1)
		go func() {
			err := client.WritePacket(contents)
			if err == nil {
				err = client.WritePacket([]byte("next"))
			}
			sent <- err
		}()
		if got, err := server.ReadPacket(); err != nil || !bytes.Equal(got, contents) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if use := memory.Usage(); use.Size != 4*size || use.Taken < size || use.Taken > size+8192 || use.Waiting != 0 {
			t.Errorf("%s: %+v before", name, use)
		}
		if server.PacketBuffered(); server.LastPacket(0) == nil {
			t.Errorf("%s: PacketBuffered has freed the last packet", name)
		} else if !bytes.Equal(server.LastPacket(0), contents) {
			t.Errorf("%s: PacketBuffered has changed the last packet", name)
		}
		release(server)
		if use := memory.Usage(); use.Taken != 0 {
			t.Errorf("%s: %+v after", name, use)
		}
	}
}
