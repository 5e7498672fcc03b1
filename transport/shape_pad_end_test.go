package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/testkit"
)

// A peer that takes nothing ends the writes after WriteTimeout, and CloseWrite after a deadline can
// be called again.
func TestPadStalls(t *testing.T) {
	const timeout = 80 * time.Second
	cfg := Config{Magic: mainnet, WriteTimeout: timeout, Shape: Shape{Mode: ShapePad}}
	for _, n := range []int{1, 100_000} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			client, _ := connPair(t, a, b, cfg, Config{Magic: mainnet})
			began := time.Now()
			err := client.WritePacket(make([]byte, n))
			if !errors.Is(err, os.ErrDeadlineExceeded) || isPending(err) || time.Since(began) > timeout || time.Since(began) < timeout*7/8 {
				t.Errorf("%d bytes: %v after %v", n, err, time.Since(began))
			}
			for what, again := range map[string]error{"WritePacket": client.WritePacket(nil), "Queue": client.Queue(nil),
				"WriteInPlace": client.WriteInPlace(make([]byte, packetSize(n))), "CloseWrite": client.CloseWrite()} {
				if again != ErrStalled {
					t.Errorf("%d bytes: %s: then %v", n, what, again)
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		w := watch(a, 0)
		client, server := connPair(t, w, b, cfg, Config{Magic: mainnet})
		w.writes = nil
		client.SetWriteDeadline(time.Now().Add(time.Second))
		if err := client.Queue([]byte("x")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := client.CloseWrite(); !isPending(err) {
				t.Fatal(err)
			}
		}
		if err := client.WriteInPlace(make([]byte, packetSize(1))); !errors.Is(err, os.ErrDeadlineExceeded) || isPending(err) {
			t.Errorf("a packet that was not accepted: %v", err)
		}
		client.SetWriteDeadline(time.Time{})
		done := make(chan error, 1)
		go func() { done <- client.CloseWrite() }()
		if got, err := server.ReadPacket(); err != nil || string(got) != "x" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := server.ReadPacket(); err != io.EOF {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := []int{1024, 1024, 1024, 1024}; !slices.Equal(w.writes, want) {
			t.Errorf("writes of %v bytes, want %v", w.writes, want)
		}
	})
}

// While another packet waits for memory, a peer that does not take a large one loses it, padded or
// not.
func TestPadReclaims(t *testing.T) {
	for _, shape := range []Shape{{}, {Mode: ShapePad}} {
		synctest.Test(t, func(t *testing.T) {
			memory := NewReclaimingMemory(4 << 20)
			cfg := Config{Magic: mainnet, Memory: memory, WriteTimeout: time.Hour, Shape: shape}
			a, b := net.Pipe()
			source, from := connPair(t, a, b, Config{Magic: mainnet}, cfg)
			a, b = net.Pipe()
			to, _ := connPair(t, a, b, cfg, Config{Magic: mainnet}) // which is not read
			a, b = net.Pipe()
			second, other := connPair(t, a, b, Config{Magic: mainnet}, cfg)

			const n = 3 << 20
			go source.WritePacket(make([]byte, n))
			if got, err := from.ReadPacket(); err != nil || len(got) != n {
				t.Fatal(err)
			}
			lost := make(chan error, 1)
			go func() {
				lost <- to.WriteInPlace(from.LastPacket(Headroom)[:packetSize(n)])
				from.ReleasePacket()
			}()
			synctest.Wait()
			go second.WritePacket(make([]byte, n))
			if got, err := other.ReadPacket(); err != nil || len(got) != n {
				t.Fatalf("the other packet: %d bytes, %v", len(got), err)
			}
			if err := <-lost; err != ErrReclaimed {
				t.Errorf("%v: %v", shape, err)
			}
		})
	}
}

// PacketBuffered skips filler while the last packet is in use.
func TestFillerLeavesLastPacket(t *testing.T) {
	a, b := testkit.TCPPair(t)
	memory := NewMemory(4 << 20)
	client, server := connPair(t, a, b, Config{Magic: mainnet, Shape: Shape{Mode: ShapePad}}, Config{Magic: mainnet, Memory: memory})
	for _, n := range []int{100_000, 17_000} {
		contents := testBytes(n, uint64(n))
		if err := client.WritePacket(contents); err != nil {
			t.Fatal(err)
		}
		if got, err := server.ReadPacket(); err != nil || !bytes.Equal(got, contents) {
			t.Fatal(err)
		}
		filler := client.Shaping().SentFiller
		for {
			if server.PacketBuffered() {
				t.Fatal("filler counts as a packet")
			}
			if !bytes.Equal(server.LastPacket(0), contents) || memory.Usage().Taken < n {
				t.Fatal("the last packet was freed")
			}
			if server.Shaping().ReceivedFiller == filler {
				break
			}
			if _, err := server.in.r.Peek(server.in.r.Buffered() + 1); err != nil {
				t.Fatal(err)
			}
		}
	}
}
