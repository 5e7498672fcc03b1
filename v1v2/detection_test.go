package v1v2

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
)

// What is written while Handshake begins to decide the protocol arrives.
func TestWriteDuringHandshake(t *testing.T) {
	version := v1Bytes(mainnet, "version", testBytes(100, 1))
	for range 100 {
		a, b := socketPairs["pipe"](t)
		client, server := Later(a, speakV2(a)), Later(b, answerV2(b))
		var calls sync.WaitGroup
		calls.Go(func() { client.Handshake(context.Background(), mainnet) })
		calls.Go(func() { server.Handshake(context.Background(), mainnet) })
		calls.Go(func() {
			if n, err := client.Write(version); n != len(version) || err != nil {
				t.Errorf("Write: got %d, %v", n, err)
			}
		})
		calls.Go(func() {
			got := make([]byte, len(version))
			if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, version) {
				t.Errorf("Read: got %x, %v", got, err)
			}
		})
		calls.Wait()
		client.Close()
		server.Close()
	}
}

// Write takes nothing if Handshake has begun since it looked.
func TestWriteAfterHandshakeBegan(t *testing.T) {
	a, _ := socketPairs["pipe"](t)
	c := Later(a, speakV2(a))
	defer c.Close()
	c.begun(func(error) {})
	if n, err := c.write(v1Bytes(mainnet, "version", nil), false); n != 0 || err != errBegun {
		t.Errorf("got %d, %v, want 0, %v", n, err, errBegun)
	}
}
