package test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// fault is what goes wrong in a session, at a random byte of one direction.
type fault string

const (
	noFault     fault = "none"
	pauses      fault = "both ends stop reading for a while"
	clientCuts  fault = "the client's stream ends"
	clientReset fault = "the client resets"
	clientNoise fault = "the client is out of step"
	peerCuts    fault = "the peer's stream ends"
	peerReset   fault = "the peer resets"
	peerNoise   fault = "a bit to the proxy is altered"
	upNoise     fault = "a bit to the peer is altered"
)

var faults = []fault{noFault, noFault, pauses, clientCuts, clientReset, clientNoise, peerCuts, peerReset, peerNoise, upNoise}

// direction is one of a session's two, as its sender and its receiver see it.
type direction struct {
	size      int   // of all payloads
	at        int64 // of the fault
	ends      []int64
	delivered int
	err       error // delivered data that was not sent
}

// before returns how many messages had been sent completely when the fault occurred.
func (d *direction) before() (n int) {
	for n < len(d.ends) && (d.at < 0 || d.ends[n] <= d.at) {
		n++
	}
	return n
}

// modelRun is one session of the model.
type modelRun struct {
	seed     uint64
	fault    fault
	alterUp  int64 // offset of the byte to the peer to alter; negative: none
	up, down direction
	moved    atomic.Int64  // payload bytes delivered
	opened   chan struct{} // closed when the client got data from the peer, or never will
}

func newModelRun(seed uint64) *modelRun {
	rng := rand.New(rand.NewPCG(seed, 0))
	size := func() int { return rng.IntN(1 << (12 + rng.IntN(13))) }
	r := &modelRun{seed: seed, fault: faults[rng.IntN(len(faults))], opened: make(chan struct{})}
	r.up.size, r.down.size = size(), size()
	r.up.at, r.down.at, r.alterUp = -1, -1, -1
	switch r.fault {
	case upNoise:
		r.alterUp = rng.Int64N(int64(r.up.size) + 5000)
	case clientCuts, clientReset, clientNoise:
		r.up.at = rng.Int64N(int64(r.up.size) + 5000)
	case peerCuts, peerReset, peerNoise:
		r.down.at = rng.Int64N(int64(r.down.size) + 5000)
	}
	return r
}

// TestModel sends random messages, in random pieces and with random faults, both ways between ends that share no code
// with the proxy. What is delivered is what was sent, up to the fault. LONG=1 sends two gigabytes, SEED=n repeats a
// run.
func TestModel(t *testing.T) {
	t.Parallel()
	total := int64(48 << 20)
	if long {
		total = 2 << 30
	}
	seed := rand.Uint64() >> 1
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	u := startUnder(t)
	var moved, sessions atomic.Int64
	var byFault sync.Map
	each(2, 2, func(worker int) {
		for i := uint64(0); moved.Load() < total && !t.Failed(); i++ {
			r := newModelRun(seed + 2*i + uint64(worker))
			if err := r.play(t, u); err != nil {
				t.Errorf("SEED=%d, session %d, fault %q: %v", seed, 2*i+uint64(worker), r.fault, err)
			}
			moved.Add(r.moved.Load())
			sessions.Add(1)
			n, _ := byFault.LoadOrStore(r.fault, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
		}
	})
	t.Logf("SEED=%d: %d MB delivered in %d sessions", seed, moved.Load()>>20, sessions.Load())
	for _, f := range faults[1:] {
		if n, ok := byFault.Load(f); ok {
			t.Logf("%5d times: %s", n.(*atomic.Int64).Load(), f)
		}
	}
	u.requireFreed(t)
}

// play plays the session and compares both directions.
func (r *modelRun) play(t *testing.T, u *under) error {
	s := play(t, r.peer)
	nc, err := hostile.Connect(u.addr, s.addr, patience)
	if err != nil {
		return err
	}
	defer nc.Close()
	var ends sync.WaitGroup
	ends.Go(func() { r.clientWrites(nc) })
	ends.Go(func() { r.clientReads(nc) })
	ends.Wait()
	nc.Close()
	log := u.end(t, nc.LocalAddr())
	if n := s.over(); n != 1 {
		return fmt.Errorf("got %d connections to the peer", n)
	}
	err = errors.Join(r.up.err, r.down.err)
	// When the client closes, data still on its way to the peer may be lost, as without a proxy.
	exactUp := r.fault == noFault || r.fault == pauses
	exactDown := r.fault == noFault || r.fault == pauses || r.fault == peerCuts || r.fault == peerNoise
	for _, d := range []struct {
		name string
		*direction
		exact bool
	}{{"to the peer", &r.up, exactUp}, {"to the client", &r.down, exactDown}} {
		if n := d.before(); d.delivered > n || d.exact && d.delivered < n {
			err = errors.Join(err, fmt.Errorf("%d messages %s, %d sent before the fault", d.delivered, d.name, n))
		}
	}
	if r.fault == noFault && (log.MessagesToPeer != int64(r.up.delivered) || log.MessagesToClient != int64(r.down.delivered)) {
		err = errors.Join(err, fmt.Errorf("the log's counts differ from %d and %d", r.up.delivered, r.down.delivered))
	}
	if err != nil {
		err = fmt.Errorf("%w (log: %s, %q)", err, log.Msg, log.Reason)
	}
	return err
}

// pieces splits its input into writes of random size.
type pieces struct {
	w       io.Writer
	how     *rand.Rand
	waiting []byte
}

func (p *pieces) write(b []byte, flush bool) error {
	p.waiting = append(p.waiting, b...)
	for len(p.waiting) > 0 && (flush || p.how.IntN(3) > 0) {
		n := min(len(p.waiting), 1+p.how.IntN(1<<p.how.IntN(20)))
		if _, err := p.w.Write(p.waiting[:n]); err != nil {
			return err
		}
		p.waiting = p.waiting[n:]
	}
	return nil
}

// clientWrites writes the client's stream: VERSION and the traffic.
func (r *modelRun) clientWrites(nc *net.TCPConn) {
	how := rand.New(rand.NewPCG(r.seed, 3))
	w := hostile.NewWire(nc)
	if r.fault == clientCuts || r.fault == clientReset {
		w.CutWritten = r.up.at
	}
	out := &pieces{w: w, how: how}
	offset := int64(len(hello))
	r.up.ends = []int64{offset}
	err := out.write(hello, false)
	for g := newTraffic(r.seed, 1, r.up.size); err == nil; {
		m, k := g.next()
		if k == ended {
			if r.fault == clientNoise {
				r.up.at = -1 // the fault was not reached
			}
			err = out.write(nil, true)
			break
		}
		if r.fault == clientNoise && offset >= r.up.at {
			r.up.at = offset
			err = out.write(junk, true)
			break
		}
		b := encodeV1(m, k, how)
		offset += int64(len(b))
		if k == good {
			r.up.ends = append(r.up.ends, offset)
		}
		err = out.write(b, false)
	}
	if r.fault == clientReset && errors.Is(err, hostile.ErrCut) {
		reset(nc)
		return
	}
	if w.Written >= int64(len(hello)) {
		<-r.opened // hanging up before the session is open would abort it
	}
	nc.CloseWrite()
}

func (r *modelRun) clientReads(nc *net.TCPConn) {
	var once sync.Once
	markOpened := func() { once.Do(func() { close(r.opened) }) }
	defer markOpened()
	g := newTraffic(r.seed, 2, r.down.size)
	for i := 0; ; i++ {
		name, payload, err := hostile.ReadV1(nc)
		if err != nil {
			return
		}
		markOpened()
		if i == 0 {
			if name != "verack" {
				r.down.err = fmt.Errorf("got %q first", name)
			}
		} else if err := g.check(name, payload); err != nil && r.down.err == nil {
			r.down.err = fmt.Errorf("to the client, message %d: %w", i, err)
		}
		r.down.delivered++
		r.moved.Add(int64(len(payload)))
		r.pause(i)
	}
}

// pause sometimes stops reading for a moment.
func (r *modelRun) pause(i int) {
	if r.fault == pauses && i%500 == 20 && i < 2000 {
		<-time.After(300 * time.Millisecond)
	}
}

func (r *modelRun) peer(nc *net.TCPConn) {
	w := hostile.NewWire(nc)
	switch r.fault {
	case peerCuts, peerReset:
		w.CutWritten = r.down.at
	case peerNoise:
		w.FlipWritten = 8 * r.down.at
	case upNoise:
		w.FlipRead = 8 * r.alterUp
	}
	how := rand.New(rand.NewPCG(r.seed, 4))
	e, err := hostile.Script{Garbage: junk[:how.IntN(hostile.MaxGarbage)], Decoys: make([]int, how.IntN(3))}.Speak(w, false)
	var ways sync.WaitGroup
	if err == nil {
		ways.Go(func() { r.peerReads(e, nc) })
		err = r.peerWrites(e, w, how)
	}
	if r.fault == peerReset && errors.Is(err, hostile.ErrCut) {
		reset(nc)
	} else {
		nc.CloseWrite()
	}
	ways.Wait()
	io.Copy(io.Discard, nc)
}

// peerWrites writes the peer's stream: a verack and the traffic.
func (r *modelRun) peerWrites(e *hostile.End, w *hostile.Wire, how *rand.Rand) error {
	out := &pieces{w: w, how: how}
	offset := w.Written
	send := func(b []byte, k kind) error {
		offset += int64(len(b))
		if k == good {
			r.down.ends = append(r.down.ends, offset)
		}
		return out.write(b, false)
	}
	err := send(e.Seal(hostile.V2("verack", nil), 0), good)
	for g := newTraffic(r.seed, 2, r.down.size); err == nil; {
		m, k := g.next()
		if k == ended {
			return out.write(nil, true)
		}
		err = send(encodeV2(e, m, k, how), k)
	}
	return err
}

func (r *modelRun) peerReads(e *hostile.End, nc *net.TCPConn) {
	g := newTraffic(r.seed, 1, r.up.size)
	err := e.ReadFlight()
	for i := 0; err == nil; i++ {
		var contents []byte
		if contents, err = e.Receive(); err != nil {
			break
		}
		name, payload := decode(contents)
		if i == 0 {
			if name != "version" || string(payload) != string(version.payload) {
				r.up.err = fmt.Errorf("got %q first", name)
			}
		} else if err := g.check(name, payload); err != nil && r.up.err == nil {
			r.up.err = fmt.Errorf("to the peer, message %d: %w", i, err)
		}
		r.up.delivered++
		r.moved.Add(int64(len(payload)))
		r.pause(i)
	}
	if err != io.EOF && r.fault == upNoise {
		nc.Close() // like a node
	}
}
