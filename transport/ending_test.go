package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"bip324proxy/internal/stream"
	"bip324proxy/internal/testkit"
)

// Ending the stream in one direction leaves the other open.
func TestCloseWrite(t *testing.T) {
	client, server := tcpConns(t)
	for _, n := range []int{3, 40_000, 5} {
		if err := client.Queue(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{3, 40_000, 5} {
		if got, err := server.ReadPacket(); err != nil || len(got) != n {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
	if err := ended(t, server); err != io.EOF {
		t.Fatal(err)
	}
	for range 3 {
		if err := server.WritePacket([]byte("still")); err != nil {
			t.Fatal(err)
		}
		if got, err := client.ReadPacket(); err != nil || string(got) != "still" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ended(t, client); err != io.EOF {
		t.Fatal(err)
	}

	// Without support for half-closing, the connection is closed.
	a, b := net.Pipe()
	client, server = connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
	go client.CloseWrite()
	if err := ended(t, server); err != io.EOF {
		t.Fatal(err)
	}
}

// The stream ends within a packet: at each byte or, for large packets, around the read steps.
func TestCutPacket(t *testing.T) {
	for _, n := range []int{0, 30, 16_370, 20_000, 300_000, MaxContents} {
		s, _, _, _ := ciphers(t)
		first := s.seal(nil, []byte("first"), nil, false)
		packet := s.seal(nil, make([]byte, n), nil, false)
		step := max(1, len(packet)/53)
		for k := 0; k < len(packet); k += step {
			if k > 30 && k+step >= len(packet) {
				k = len(packet) - 1
			}
			_, _, _, o := ciphers(t)
			var in io.Reader = bytes.NewReader(append(bytes.Clone(first), packet[:k]...))
			if n < 100 {
				in = iotest.OneByteReader(in)
			}
			conn := receiverOf(in, o)
			if got, err := conn.ReadPacket(); err != nil || string(got) != "first" {
				t.Fatalf("got %q, %v", got, err)
			}
			want := io.ErrUnexpectedEOF
			if k == 0 {
				want = io.EOF
			}
			if err := ended(t, conn); err != want {
				t.Errorf("%d of %d bytes: got %v", k, len(packet), err)
			}
		}
	}
}

func TestReset(t *testing.T) {
	client, server := tcpConns(t)
	reading := make(chan error)
	go func() {
		_, err := server.ReadPacket()
		reading <- err
	}()
	client.NetConn().(*net.TCPConn).SetLinger(0)
	client.Close()
	err := <-reading
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Fatal(err)
	}
	if err := ended(t, server); err == io.EOF {
		t.Fatal("a reset gives EOF")
	}
}

// oneWrite seals packets and returns them as one piece.
func oneWrite(c *Conn, contents ...string) (b []byte) {
	for _, p := range contents {
		b = c.out.ciphers.seal(b, []byte(p), nil, p == "decoy")
	}
	return b
}

func TestInterrupt(t *testing.T) {
	for _, idle := range []bool{false, true} {
		a, b := testkit.TCPPair(t)
		w := watch(b, 0)
		cfg := Config{Magic: mainnet}
		if idle {
			cfg.ReadTimeout = 1 << 40
		}
		client, server := connPair(t, a, w, Config{Magic: mainnet}, cfg)
		reached := w.aim(0)
		reading := make(chan error)
		go func() {
			_, err := server.ReadPacket()
			reading <- err
		}()
		<-reached
		server.Interrupt()
		if err := <-reading; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("waiting: %v", err)
		}
		if err := client.WritePacket([]byte("late")); err != nil {
			t.Fatal(err)
		}
		for range 3 { // the error stays
			if _, err := server.ReadPacket(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("afterwards: %v", err)
			}
		}
		if err := server.WritePacket([]byte("answer")); err != nil {
			t.Errorf("the other direction: %v", err)
		}
		if got, err := client.ReadPacket(); err != nil || string(got) != "answer" {
			t.Errorf("the other direction: got %q, %v", got, err)
		}
	}
}

// After an interrupt, packets that have arrived can still be read; a partial one cannot.
func TestInterruptWithBufferedPackets(t *testing.T) {
	a, b := net.Pipe()
	client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
	last := oneWrite(client, "one", "two", "three", "four")
	go a.Write(last[:len(last)-1])
	for i, want := range []string{"one", "two", "three"} {
		if got, err := server.ReadPacket(); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
		if i == 0 {
			server.Interrupt()
		}
	}
	if server.PacketBuffered() {
		t.Error("PacketBuffered is true for a partial packet")
	}
	if _, err := server.ReadPacket(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

func TestPacketBuffered(t *testing.T) {
	a, b := net.Pipe()
	client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
	if server.PacketBuffered() {
		t.Fatal("PacketBuffered is true before anything was sent")
	}
	next := func(want string, buffered bool) {
		t.Helper()
		if got, err := server.ReadPacket(); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
		for range 2 {
			if got := server.PacketBuffered(); got != buffered {
				t.Errorf("after %q: got %v, want %v", want, got, buffered)
			}
		}
	}
	stream := oneWrite(client, "a", "", "b", "c", "d")
	cut := packetSize(1) + packetSize(0) + packetSize(1)
	go func() {
		a.Write(stream[:cut+2])                              // two bytes of c's length
		a.Write(stream[cut+2 : len(stream)-packetSize(1)-1]) // all but one byte of c
		a.Write(stream[len(stream)-packetSize(1)-1:])
		client.WritePacket(make([]byte, 20_000)) // larger than the buffer
		client.WritePacket([]byte("e"))
	}()
	next("a", true)
	next("", true)
	next("b", false)
	next("c", true)
	next("d", false)
	if got, err := server.ReadPacket(); err != nil || len(got) != 20_000 {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	next("e", false)
	go a.Write(append(oneWrite(client, "f"), promise(client.out.ciphers, MaxContents+1)...))
	next("f", true) // a failure is returned without waiting
	var size *SizeError
	if err := ended(t, server); !errors.As(err, &size) {
		t.Error(err)
	}
}

// A large packet does not count as buffered, even if all of it has been read ahead: its memory is
// that of the last one, which is in use.
func TestPacketBufferedLarge(t *testing.T) {
	a, b := net.Pipe()
	client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
	const small = 850 // the larger buffer holds both large ones whole
	packets := make([]string, small, small+3)
	for i := range packets {
		packets[i] = strings.Repeat("s", 100)
	}
	packets = append(packets, strings.Repeat("x", 20_000), strings.Repeat("y", 20_000), "end")
	go a.Write(oneWrite(client, packets...))
	for i, want := range packets {
		got, err := server.ReadPacket()
		if err != nil {
			t.Fatal(i, err)
		}
		if next := packets[min(i+1, len(packets)-1)]; server.PacketBuffered() && len(next) > 16<<10 {
			t.Errorf("PacketBuffered is true for a packet of %d bytes", len(next))
		}
		if string(got) != want {
			t.Fatalf("packet %d of %d bytes: %d bytes, or others", i, len(want), len(got))
		}
	}
}

// Buffered decoys do not count, since ReadPacket skips them: a caller that flushes only when
// PacketBuffered returns false would wait for ever.
func TestPacketBufferedDecoy(t *testing.T) {
	a, b := net.Pipe()
	client, server := connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
	for _, c := range []struct {
		packets []string
		want    bool
	}{
		{[]string{"first", "decoy"}, false},
		{[]string{"first", "decoy", "decoy"}, false},
		{[]string{"first", "decoy", "second"}, true},
	} {
		go a.Write(oneWrite(client, c.packets...))
		if got, err := server.ReadPacket(); err != nil || string(got) != "first" {
			t.Fatalf("got %q, %v", got, err)
		}
		if got := server.PacketBuffered(); got != c.want {
			t.Errorf("%q: got %v, want %v", c.packets, got, c.want)
		}
	}
	if got, err := server.ReadPacket(); err != nil || string(got) != "second" {
		t.Fatalf("got %q, %v", got, err)
	}
}

// A hundred peers announce four megabytes each and send nothing more.
func TestPromisesTakeNoMemory(t *testing.T) {
	const conns = 100
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the first run only moves the pools aside
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	type end struct {
		w       *watched
		reached chan struct{}
		failed  chan error
		conn    *Conn
	}
	var ends []end
	var clients []*Conn
	for range conns {
		a, b := testkit.TCPPair(t)
		w := watch(b, 0)
		client, server := connPair(t, a, w, Config{Magic: mainnet}, Config{Magic: mainnet})
		clients = append(clients, client)
		ends = append(ends, end{w, w.aim(lengthSize), make(chan error, 1), server})
	}
	before := heap()
	for i, e := range ends {
		go func() {
			_, err := e.conn.ReadPacket()
			e.failed <- err
		}()
		if _, err := clients[i].NetConn().Write(promise(clients[i].out.ciphers, 4_000_000)); err != nil {
			t.Fatal(err)
		}
		<-e.reached // it waits for the rest
	}
	if grown := int64(heap()) - int64(before); grown > conns*(256<<10)+8<<20 {
		t.Errorf("%d bytes of heap for %d promises", grown, conns)
	}
	for i, e := range ends {
		clients[i].Close()
		if err := <-e.failed; err != io.ErrUnexpectedEOF {
			t.Error(err)
		}
	}
}

// In steady state neither side allocates per packet. A run has 21 packets, so the rekeying at
// every 224th is less than one allocation a run.
func TestConnAllocations(t *testing.T) {
	if testkit.Racing() {
		t.Skip("pools forget at random under the race detector")
	}
	client, server := tcpConns(t)
	server.in.r.SetMemory(stream.NewMemory(16 << 20))
	const packets = 20
	contents := make([]byte, 300)
	for _, n := range []int{10_000, 20_000, 200_000, 1_500_000} {
		large := make([]byte, Headroom+n+Tailroom)
		work, finished := make(chan struct{}), make(chan error)
		go func() {
			for range work {
				var err error
				for range packets - 1 {
					err = errors.Join(err, client.Queue(contents))
				}
				finished <- errors.Join(err, client.Queue(large[:1], large[1:n]), client.WriteInPlace(large))
			}
		}()
		var failure error
		got := testing.AllocsPerRun(100, func() {
			work <- struct{}{}
			for range packets + 1 {
				if _, err := server.ReadPacket(); err != nil {
					failure = err
				}
			}
			failure = errors.Join(failure, <-finished)
		})
		close(work)
		if failure != nil {
			t.Fatal(failure)
		}
		// Two directions of keys with two ciphers each: a few allocations in 224 packets.
		if got > 1 {
			t.Errorf("%v allocations for %d packets, two of %d bytes", got, packets+1, n)
		}
	}
}
