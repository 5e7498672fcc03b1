package proxy

import (
	"bufio"
	"net"
	"strings"
	"testing"

	"bip324proxy/socks"
)

// A redacted log has the reason for refusing a request even if the client left before the reply.
func TestHiddenKeepsTheReason(t *testing.T) {
	client, conn := net.Pipe()
	go func() {
		defer client.Close()
		client.Write([]byte{5, 1, 0})
		client.Read(make([]byte, 2))
		client.Write([]byte("\x05\x02\x00\x03\x0cpeer.example\x20\x8d")) // BIND
	}()
	_, err := socks.Config{}.Negotiate(conn, bufio.NewReader(conn))
	if err == nil || !strings.Contains(err.Error(), "telling the client failed") {
		t.Fatalf("%v; want an error about a client that left", err)
	}
	if got := redact(err).Error(); !strings.Contains(got, "the client asks for BIND") {
		t.Errorf("redacted: %s\nin full: %v", got, err)
	}
}
