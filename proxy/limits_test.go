package proxy_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// Memory grows with received data, not with announced lengths: 64 clients and their peers announce
// 4 MB each and send none of it.
func TestPromises(t *testing.T) {
	const (
		sessions = 64
		allowed  = sessions*2*(256<<10) + 24<<20 // both directions, and everything else in 64 sessions and in this test
	)
	e := start(t, &proxy.Server{})
	e.net.peer("node.example:8333", manglingAfter(promise(4_000_000)))
	header := v1Message(mainnet, "block", nil)
	binary.LittleEndian.PutUint32(header[16:], 4_000_000)
	before := heap()
	var clients []net.Conn
	for range sessions {
		client := e.connect("node.example:8333")
		client.Write(slices.Concat(v1Message(mainnet, "version", version), header))
		clients = append(clients, client)
	}
	for _, client := range clients { // the announcement arrived with this
		if name, _, err := readV1(client); name != "pong" || err != nil {
			t.Fatalf("got %q, %v", name, err)
		}
	}
	var most uint64
	for watch := time.After(300 * time.Millisecond); ; {
		most = max(most, heap())
		select {
		case <-watch:
		default:
			runtime.Gosched()
			continue
		}
		break
	}
	if grown := int64(most) - int64(before); grown > allowed {
		t.Errorf("the heap grew by %d KiB, want at most %d", grown>>10, allowed>>10)
	} else {
		t.Logf("the heap grew by %d KiB, %d per session", grown>>10, grown>>10/sessions)
	}
	for _, client := range clients {
		client.Close() // noticed only when the session gets memory to read on: another session may have to end first
	}
	for _, client := range clients {
		e.wantEnd(client, "closed", "the client closed the connection within a message")
	}
}

// manglingAfter is manglingPeer with a good message before the altered one, in the same write.
func manglingAfter(mangle func([]byte) []byte) func(*net.TCPConn, int) {
	pong := v1v2.AppendContents(nil, v1v2.TypeOf("pong"), nil)
	return func(nc *net.TCPConn, _ int) {
		m := &mangler{TCPConn: nc}
		c, err := transport.Server(context.Background(), m, peerConfig(mainnet))
		if err != nil {
			return
		}
		c.ReadPacket()
		size := transport.Headroom + len(pong) + transport.Tailroom
		m.mangle = func(p []byte) []byte { return append(p[:size:size], mangle(p[size:])...) }
		c.Queue(pong)
		c.Queue(v1v2.AppendContents(nil, v1v2.TypeOf("ping"), randomBytes(9, 3)))
		c.Flush()
		io.Copy(io.Discard, nc)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A client that trickles bytes is closed at the deadline, and does not affect others.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	const limit = 3 * time.Second
	hello := append([]byte{5, 255}, make([]byte, 255)...)
	v := v1Message(mainnet, "version", randomBytes(1000, 1))
	for name, c := range map[string]struct {
		connect func(*env) net.Conn
		atOnce  []byte
		says    []byte
		every   time.Duration
		why     string
	}{
		"SOCKS":       {(*env).dial, nil, hello, 50 * time.Millisecond, "SOCKS greeting: the client did not complete it in time"},
		"first bytes": {granted, nil, v[:15], 400 * time.Millisecond, "too few to tell what it speaks"},
		"VERSION":     {granted, v[:16], v[16:], 20 * time.Millisecond, "the client neither sent nor accepted data for too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, &proxy.Server{Policy: proxy.Policy{Socks: socks.Config{Timeout: limit}}, FirstBytesTimeout: limit})
			e.net.peer("server.example:80", echo)
			client := c.connect(e)
			ended := make(chan struct{})
			sent := make(chan int, 1)
			client.Write(c.atOnce)
			go func() {
				tick := time.NewTicker(c.every)
				defer tick.Stop()
				for i := range c.says {
					select {
					case <-tick.C:
						client.Write(c.says[i : i+1])
					case <-ended:
						sent <- i
						return
					}
				}
				sent <- len(c.says)
			}()

			good := e.connect("server.example:80")
			fmt.Fprint(good, "hello")
			if _, err := io.ReadFull(good, make([]byte, 5)); err != nil {
				t.Errorf("another client: %v", err)
			}
			e.wantEnd(client, "refused", c.why)
			close(ended)
			if n := <-sent; n == len(c.says) {
				t.Errorf("the trickling client was closed only after all %d bytes", n)
			} else if n == 0 {
				t.Error("the trickling client was closed before its first byte")
			}
			good.Close()
			e.end(good)
		})
	}
}
