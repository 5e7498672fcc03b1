package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/internal/testkit"
)

// lateReader returns a deadline's error once, after the bytes before.
type lateReader struct{ before, after io.Reader }

func (l *lateReader) Read(p []byte) (int, error) {
	if l.before == nil {
		return l.after.Read(p)
	}
	n, err := l.before.Read(p)
	if err == io.EOF {
		l.before, err = nil, os.ErrDeadlineExceeded
	}
	return n, err
}

// A deadline at any byte of a packet loses nothing.
func TestReadGoesOn(t *testing.T) {
	budget := stream.NewMemory(8 << 20) // one, since it stays mapped for a minute: a 32-bit system has little room
	for _, n := range []int{0, 1, 30, 500, 16_380, 20_000, 300_000, MaxContents} {
		s, _, _, _ := ciphers(t)
		want := testBytes(n, 1)
		in := s.seal(nil, []byte("first"), nil, false)
		at := len(in)
		in = s.seal(in, []byte("a decoy"), nil, true)
		in = s.seal(in, want, nil, false)
		end := len(in)
		in = s.seal(in, []byte("last"), nil, false)
		step := max(1, (end-at)/997)
		if n > 1_000_000 {
			step = (end - at) / 53
		}
		for cut := at; cut < len(in); cut += step {
			if cut > at+100 && cut < end-50 && cut+step >= end-50 {
				cut, step = end-50, 1
			}
			for _, memory := range []*stream.Memory{nil, budget} {
				_, _, _, o := ciphers(t)
				conn := receiverOf(&lateReader{bytes.NewReader(in[:cut]), bytes.NewReader(in[cut:])}, o)
				conn.in.r.SetMemory(memory)
				var got [][]byte
				late := 0
				for len(got) < 3 {
					contents, err := conn.ReadPacket()
					switch {
					case err == nil:
						got = append(got, bytes.Clone(contents))
					case errors.Is(err, os.ErrDeadlineExceeded) && late == 0:
						if late++; conn.LastPacket(0) != nil || conn.PacketBuffered() {
							t.Fatalf("%d bytes, cut at %d: a packet that has arrived in part counts", n, cut-at)
						}
						conn.ReleasePacket()
					default:
						t.Fatalf("%d bytes, cut at %d: %v", n, cut-at, err)
					}
				}
				if late != 1 || string(got[0]) != "first" || !bytes.Equal(got[1], want) || string(got[2]) != "last" {
					t.Fatalf("%d bytes, cut at %d: got other packets; %d deadlines", n, cut-at, late)
				}
				conn.Release()
			}
		}
	}
}

// Both kinds of read deadline end a call in progress and leave the connection as it was, between and
// within packets; the earlier counts, and another can be set meanwhile.
func TestReadDeadlines(t *testing.T) {
	for _, part := range []int{0, 1, 3, 50, 30_000} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			const idle = 80 * time.Second
			client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet, ReadTimeout: idle})
			contents := testBytes(40_000, 1)
			packet := client.out.ciphers.seal(nil, contents, nil, false)
			go a.Write(packet[:part])
			synctest.Wait()
			wait := func(least, most time.Duration) {
				t.Helper()
				began := time.Now()
				_, err := server.ReadPacket()
				if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took < least || took > most {
					t.Errorf("%d bytes: %v after %v, want %v", part, err, took, most)
				}
			}
			wait(idle*7/8, idle)
			server.SetReadDeadline(time.Now().Add(5 * time.Second))
			wait(5*time.Second, 5*time.Second)
			wait(0, 0)
			time.AfterFunc(time.Second, func() { server.SetDeadline(time.Now().Add(time.Second)) })
			server.SetDeadline(time.Time{})
			wait(2*time.Second, 2*time.Second)
			server.SetReadDeadline(time.Time{})
			go a.Write(packet[part:])
			if got, err := server.ReadPacket(); err != nil || !bytes.Equal(got, contents) {
				t.Errorf("%d bytes: got %d, %v", part, len(got), err)
			}
		})
	}
}

// Close frees what has arrived of a packet, while it is read or not.
func TestCloseFreesPartialPacket(t *testing.T) {
	for _, reading := range []bool{true, false} {
		a, b := testkit.TCPPair(t)
		memory := NewMemory(4 << 20)
		w := watch(b, 0)
		client, server := connPair(t, a, w, Config{Magic: mainnet}, Config{Magic: mainnet, Memory: memory})
		packet := client.out.ciphers.seal(nil, make([]byte, 1<<20), nil, false)
		const part = 100_000
		reached := w.aim(part)
		if _, err := a.Write(packet[:part]); err != nil {
			t.Fatal(err)
		}
		failed := make(chan error)
		go func() {
			_, err := server.ReadPacket()
			failed <- err
		}()
		<-reached
		if use := memory.Usage(); use.Taken < 1<<20 {
			t.Errorf("%+v while partial", use)
		}
		if !reading {
			server.SetReadDeadline(time.Unix(1, 0))
			if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			if use := memory.Usage(); use.Taken < 1<<20 {
				t.Errorf("%+v after a deadline", use)
			}
		}
		server.Close()
		if reading {
			if err := <-failed; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
		if use := memory.Usage(); use.Taken != 0 {
			t.Errorf("reading: %v: %+v after Close", reading, use)
		}
		if _, err := server.ReadPacket(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// Close frees what has arrived of a packet also if a deadline passes at the same moment.
func TestCloseAsADeadlinePasses(t *testing.T) {
	memory := NewMemory(4 << 20)
	for i := range 100 {
		a, b := testkit.TCPPair(t)
		client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet, Memory: memory})
		packet := client.out.ciphers.seal(nil, make([]byte, 50_000), nil, false)
		go func() {
			for _, half := range [][]byte{packet[:100+i*100], packet[100+i*100 : 40_000]} {
				a.Write(half)
			}
		}()
		reading := make(chan error)
		go func() {
			_, err := server.ReadPacket()
			for errors.Is(err, os.ErrDeadlineExceeded) {
				_, err = server.ReadPacket()
			}
			reading <- err
		}()
		for range i {
			server.SetReadDeadline(time.Unix(1, 0))
			server.SetReadDeadline(time.Time{})
		}
		go server.SetReadDeadline(time.Unix(1, 0))
		server.Close()
		if err := <-reading; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if use := memory.Usage(); use.Taken != 0 {
			t.Fatalf("%d: %+v after Close", i, use)
		}
	}
}

// A read that waits for Memory ends with a deadline set meanwhile, and goes on.
func TestReadDeadlineWhileWaitingForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(1 << 20)
		large := testBytes(800_000, 1)
		var servers []*Conn
		for range 2 {
			a, b := net.Pipe()
			client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet, Memory: memory})
			go client.WritePacket(large)
			servers = append(servers, server)
		}
		if _, err := servers[0].ReadPacket(); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			time.AfterFunc(time.Second, func() { servers[1].SetReadDeadline(time.Now().Add(time.Second)) })
			servers[1].SetReadDeadline(time.Time{})
			began := time.Now()
			if _, err := servers[1].ReadPacket(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Second {
				t.Errorf("%d: got %v after %v", i, err, time.Since(began))
			}
		}
		time.AfterFunc(time.Second, servers[0].ReleasePacket)
		servers[1].SetReadDeadline(time.Time{})
		if got, err := servers[1].ReadPacket(); err != nil || !bytes.Equal(got, large) {
			t.Error(fmt.Errorf("got %d bytes, %w", len(got), err))
		}
		servers[1].Release()
		time.Sleep(2 * time.Minute) // for the timer of Memory
	})
}
