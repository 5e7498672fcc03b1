package test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// memoryUse returns the program's current VmRSS or peak VmHWM, in bytes. It returns 0 where the system does not report
// it, and with the race detector, which needs additional memory.
func (u *under) memoryUse(which string) int64 {
	if len(raceFlag()) > 0 {
		return 0
	}
	return procStatus(u.pid, which) << 10
}

// reads returns how often the program has read from a socket or a file.
func (u *under) reads() (n int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", u.pid))
	_, rest, _ := strings.Cut(string(stat), "syscr: ")
	fmt.Sscan(rest, &n)
	return n
}

// openSession opens a session through the proxy. Neither end sends more.
func openSession(t *testing.T, u *under) (client *net.TCPConn, peer *hostile.End, peerConn *net.TCPConn) {
	t.Helper()
	type end struct {
		e  *hostile.End
		nc *net.TCPConn
	}
	stands, over := make(chan end, 1), make(chan struct{})
	s := play(t, func(nc *net.TCPConn) {
		e, err := hostile.Script{}.Shake(nc, false)
		if err == nil {
			_, err = e.Receive()
		}
		if err != nil {
			t.Error(err)
		}
		stands <- end{e, nc}
		<-over
	})
	client, err := hostile.Connect(u.addr, s.addr, 10*patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); close(over); s.over() })
	client.Write(hello)
	p := <-stands
	p.nc.SetDeadline(time.Now().Add(10 * patience))
	return client, p.e, p.nc
}

// Both ends send without reading until neither can send more, and then read: everything arrives, and the proxy never
// buffers more than a few messages.
func TestBothEndsStopReading(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	client, peer, _ := openSession(t, u)
	const count = 40
	payload := func(i int, up bool) []byte { return pool[i*1000:][:1<<20+i*map[bool]int{true: 1, false: 2}[up]] }
	before := u.memoryUse("VmRSS")

	var written atomic.Int64
	var ends sync.WaitGroup
	ends.Go(func() {
		for i := range count {
			client.Write(hostile.V1("block", payload(i, true)))
			written.Add(1)
		}
		client.CloseWrite()
	})
	ends.Go(func() {
		for i := range count {
			peer.Send(hostile.V2("block", payload(i, false)))
			written.Add(1)
		}
	})
	for last := int64(-1); last != written.Load(); { // until neither can send
		last = written.Load()
		<-time.After(700 * time.Millisecond)
	}
	if written.Load() == 2*count {
		t.Error("neither end was ever blocked")
	}
	grown := u.memoryUse("VmRSS") - before
	t.Logf("stopped after %d of %d messages; memory grew by %d KiB", written.Load(), 2*count, grown>>10)
	if grown > 24<<20 {
		t.Errorf("the proxy's memory grew by %d bytes", grown)
	}

	ends.Go(func() {
		for i := range count {
			if name, got, err := hostile.ReadV1(client); err != nil || name != "block" || !bytes.Equal(got, payload(i, false)) {
				t.Errorf("the client, message %d: %q of %d bytes, %v", i, name, len(got), err)
				return
			}
		}
	})
	ends.Go(func() {
		for i := range count {
			if contents, err := peer.Receive(); err != nil || !bytes.Equal(contents, hostile.V2("block", payload(i, true))) {
				t.Errorf("the peer, message %d: %d bytes, %v", i, len(contents), err)
				return
			}
		}
	})
	ends.Wait()
}

// A flood of decoys costs the peer more than the proxy: memory does not grow, and the session continues.
func TestDecoyFlood(t *testing.T) {
	t.Parallel()
	total := 64 << 20
	if long {
		total = 1 << 30
	}
	u := startUnder(t)
	client, peer, _ := openSession(t, u)
	sizes := []int{0, 1, 300, 16 << 10, 4_000_013, 100_000}
	flood := func(bytes int) {
		for i := 0; bytes > 0; i++ {
			n := sizes[i%len(sizes)]
			if err := peer.SendDecoy(pool[:n]); err != nil {
				t.Fatal(err)
			}
			bytes -= n + 20
		}
	}
	answer := func() {
		peer.Send(hostile.V2("ping", junk[:8]))
		if name, got, err := hostile.ReadV1(client); err != nil || name != "ping" || !bytes.Equal(got, junk[:8]) {
			t.Fatalf("%q of %d bytes, %v", name, len(got), err)
		}
	}
	flood(16 << 20)
	answer()
	before, began, cpu, reads := u.memoryUse("VmHWM"), time.Now(), cpuTime(u.pid), u.reads()
	flood(total)
	answer()
	grown := u.memoryUse("VmHWM") - before
	t.Logf("%d MB of decoys in %v, %v of CPU time in the proxy; at most %d KiB more memory",
		total>>20, time.Since(began).Round(time.Millisecond), cpuTime(u.pid)-cpu, grown>>10)
	if grown > 8<<20 {
		t.Errorf("the proxy's memory grew by %d bytes", grown)
	}
	if reads = u.reads() - reads; reads > total/4096 {
		t.Errorf("got %d reads for %d bytes", reads, total)
	}
}

// Announced packets of four megabytes cost next to no memory until their bytes arrive.
func TestPromisesCostNothing(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	if u.memoryUse("VmHWM") == 0 {
		notRun(t, "the program's memory is read on Linux only, and without the race detector")
	}
	const sessions = 32
	var clients [sessions]*net.TCPConn
	var peers [sessions]*hostile.End
	for i := range sessions {
		clients[i], peers[i], _ = openSession(t, u)
	}
	before := u.memoryUse("VmHWM")
	for i := range sessions {
		clients[i].Write(hostile.V1Header("block", 4_000_000))
		peers[i].Write(peers[i].SealLength(4_000_013))
	}
	<-time.After(time.Second)
	grown := u.memoryUse("VmHWM") - before
	t.Logf("%d sessions with an announced packet each way: %d KiB each", sessions, grown>>10/sessions)
	if grown/sessions >= 1<<20 {
		t.Errorf("the proxy's memory grew by %d bytes for %d sessions", grown, sessions)
	}
}

// Packets within the handshake are authenticated and freed as they arrive.
func TestHandshakePacketsCostNothing(t *testing.T) {
	t.Parallel()
	u := startUnder(t, "--message-memory", "16")
	if u.memoryUse("VmRSS") == 0 {
		notRun(t, "the program's memory is read on Linux only, and without the race detector")
	}
	const sessions = 24
	_, _, _ = openSession(t, u) // the first session also allocates shared state
	before := u.memoryUse("VmHWM")
	var arriving, over sync.WaitGroup
	arriving.Add(sessions)
	for i := range sessions {
		script := hostile.Script{Decoys: []int{4_000_013, 4_000_013}}
		if i%2 == 1 { // the version packet itself
			script = hostile.Script{Version: pool[:4_000_013]}
		}
		var last []byte
		script.Mangle = func(n int, packet []byte) []byte {
			if n == len(script.Decoys) {
				packet, last = packet[:len(packet)-1], packet[len(packet)-1:]
			}
			return packet
		}
		s := play(t, func(nc *net.TCPConn) {
			e, err := script.Speak(nc, false)
			arriving.Done()
			arriving.Wait()
			script.Mangle = nil
			if err == nil {
				_, err = e.Write(last)
			}
			if err == nil {
				err = e.ReadFlight()
			}
			if err == nil {
				_, err = e.Receive() // the client's VERSION
			}
			if err != nil {
				t.Errorf("peer %d: %v", i, err)
			}
		})
		over.Go(func() {
			client, err := hostile.Connect(u.addr, s.addr, 10*patience)
			if err != nil {
				t.Error(err)
				if s.over() == 0 {
					arriving.Done()
				}
				return
			}
			client.Write(hello)
			<-s.played // or the stage might close before it accepts
			s.over()
			client.Close()
		})
	}
	over.Wait()
	grown := u.memoryUse("VmHWM") - before
	t.Logf("%d handshakes with packets of 4 MB: at most %d KiB each", sessions, grown>>10/sessions)
	if grown/sessions >= 512<<10 {
		t.Errorf("the proxy's memory grew by %d bytes for %d handshakes", grown, sessions)
	}
}

// Sessions that stop in odd places cost no CPU time: no loop reads a closed stream again and again.
func TestOddPlacesCostNoCPU(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		notRun(t, "the program's CPU time is read on Linux only")
	}
	u := startUnder(t)
	half := func(says []byte) { // the client closes its stream, the peer does not
		s := play(t, func(nc *net.TCPConn) { <-t.Context().Done() })
		client, err := hostile.Connect(u.addr, s.addr, 10*patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		client.Write(says)
		client.CloseWrite()
	}
	for range 5 {
		half(nil)
		half(hello[:1])
		half(hello[:3])
		half(hello[:15])
		half([]byte("\x16 no bitcoin"))
		_, _, _ = openSession(t, u)
		client, _, _ := openSession(t, u)
		client.Write(v1(block)[:1_000_000])
		_, peer, peerConn := openSession(t, u)
		peer.Write(peer.SealLength(100))
		peerConn.CloseWrite()
	}
	<-time.After(time.Second)
	const watch = 2 * time.Second
	before := cpuTime(u.pid)
	<-time.After(watch)
	used := cpuTime(u.pid) - before
	t.Logf("%v of CPU time in %v", used, watch)
	if used > watch/10 {
		t.Errorf("used %v of CPU time in %v while idle", used, watch)
	}
	for _, line := range u.program.out.all() {
		if strings.Contains(line, "panic") {
			t.Error(line)
		}
	}
}
