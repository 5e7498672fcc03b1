package proxy_test

import (
	"io"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// A session that waits for the next message holds no memory of the last one.
func TestIdleSessionHoldsNoMessage(t *testing.T) {
	e := start(t, &proxy.Server{})
	const dest = "node.example:8333"
	block := randomBytes(1_000_000, 1)
	arrived := make(chan struct{})
	e.net.peer(dest, v2Peer(func(c *transport.Conn) {
		for {
			contents, err := c.ReadPacket()
			if err != nil {
				return
			}
			if len(contents) > len(block) {
				c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("block"), block))
				close(arrived)
			}
		}
	}))
	client := e.connect(dest)
	client.Write(v1Message(mainnet, "version", version))
	client.Write(v1Message(mainnet, "block", block))
	receive(t, arrived, "the block")
	if name, payload, err := readV1(client); name != "block" || len(payload) != len(block) || err != nil {
		t.Fatal(name, len(payload), err)
	}
	e.until("the memory to be free", func(s proxy.Snapshot) bool { return s.MessageMemory.Taken == 0 })
	client.Close()
	io.Copy(io.Discard, client)
}
