package proxy_test

import (
	"io"
	"net"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/transport"
)

// A new policy applies to new sessions; open sessions keep theirs.
func TestSetPolicy(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	const dest = "node.example:8333"
	e.net.peer(dest, v2Peer(func(c *transport.Conn) {
		for {
			contents, err := c.ReadPacket()
			if err != nil {
				return
			}
			c.WritePacket(contents)
		}
	}))
	talk := func(client io.ReadWriter, name string) {
		t.Helper()
		client.Write(v1Message(mainnet, name, version))
		if got, _, err := readV1(client); got != name || err != nil {
			t.Errorf("echo %q, %v; want %q", got, err, name)
		}
	}
	old := e.connect(dest)
	talk(old, "version")

	strict := e.server.Policy
	strict.Rules = parseRules(t, "deny", "node.example")
	e.server.SetPolicy(strict)
	refused := e.dial()
	if code, err := ask(refused, dest); code != 2 || err != nil { // not allowed by the rules
		t.Errorf("reply %d, %v, want 2", code, err)
	}
	e.wantEnd(refused, "refused", "node.example")
	talk(old, "ping")

	e.server.SetPolicy(e.server.Policy)
	again := e.connect(dest)
	talk(again, "version")
	talk(old, "ping")
	for _, client := range []net.Conn{again, old} {
		client.Close()
		e.wantEnd(client, "closed", "the client closed")
	}
}
