package v1v2

import (
	"bytes"
	"io"
	"testing"

	"bip324proxy/internal/testkit"
)

// A Conn allocates nothing per message, but for the keys of both ends, at every 224th packet.
func TestConnAllocations(t *testing.T) {
	if testkit.Racing() {
		t.Skip("pools forget under the race detector")
	}
	inv, block := v1Bytes(mainnet, "inv", testBytes(37, 1)), v1Bytes(mainnet, "block", testBytes(100_000, 1))
	must := func(n int, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		raw   []byte
		write func(c *Conn, raw []byte)
	}{
		"whole": {inv, func(c *Conn, raw []byte) { must(c.Write(raw)) }},
		"header and payload": {inv, func(c *Conn, raw []byte) {
			must(c.Write(raw[:HeaderSize]))
			must(c.Write(raw[HeaderSize:]))
		}},
		"in halves": {inv, func(c *Conn, raw []byte) {
			must(c.Write(raw[:40]))
			must(c.Write(raw[40:]))
		}},
		"large": {block, func(c *Conn, raw []byte) { must(c.Write(raw)) }},
		"large, header and payload": {block, func(c *Conn, raw []byte) {
			must(c.Write(raw[:HeaderSize]))
			must(c.Write(raw[HeaderSize:]))
		}},
		"large, in halves": {block, func(c *Conn, raw []byte) {
			must(c.Write(raw[:50_000]))
			must(c.Write(raw[50_000:]))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := connPair(t, socketPairs["TCP"])
			got := make([]byte, len(c.raw))
			round := func(messages int) {
				sent := make(chan bool)
				go func() {
					defer close(sent)
					for range messages {
						c.write(client, c.raw)
					}
				}()
				for range messages { // as btcd's wire does
					must(io.ReadFull(server, got[:HeaderSize]))
					must(io.ReadFull(server, got[HeaderSize:]))
				}
				<-sent
			}
			checkAllocations(t, len(c.raw), round)
			if !bytes.Equal(got, c.raw) {
				t.Error("the last message differs")
			}
		})
	}
	t.Run("io.Copy", func(t *testing.T) {
		client, server := connPair(t, socketPairs["TCP"])
		feed, into := io.Pipe() // neither allocates
		from, out := io.Pipe()
		copied := make(chan bool, 2)
		go func() { io.Copy(client, feed); copied <- true }()
		go func() { io.Copy(out, server); copied <- true }()
		got := make([]byte, len(inv))
		checkAllocations(t, len(inv), func(messages int) {
			sent := make(chan bool)
			go func() {
				defer close(sent)
				for range messages {
					must(into.Write(inv))
				}
			}()
			for range messages {
				must(io.ReadFull(from, got))
			}
			<-sent
		})
		into.Close()
		from.Close()
		client.Close()
		server.Close()
		<-copied
		<-copied
	})
}

// checkAllocations checks how much a round of messages of the given size allocates.
func checkAllocations(t *testing.T, size int, round func(messages int)) {
	t.Helper()
	messages := min(5000, 30_000_000/size)
	round(messages / 10) // warm up
	objects, total := mallocs(func() { round(messages) })
	perMessage := float64(objects) / float64(messages)
	t.Logf("%.4f allocations and %.2f bytes a message", perMessage, float64(total)/float64(messages))
	if limit := 8.0/224 + 20/float64(messages); perMessage > limit {
		t.Errorf("%.4f allocations a message, want at most %.4f", perMessage, limit)
	}
}
