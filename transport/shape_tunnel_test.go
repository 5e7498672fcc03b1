package transport

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// changes notes the calls of a Shape's Changed.
type changes struct {
	mu  sync.Mutex
	all []ShapeChange
}

func (c *changes) add(change ShapeChange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, change)
}

func (c *changes) check(t *testing.T, want ...ShapeChange) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.all, want) {
		t.Errorf("the changes are %v, want %v", c.all, want)
	}
}

// since returns the writes from a time on.
func (r *writesRecorder) since(at time.Duration) []written {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, _ := slices.BinarySearchFunc(r.writes, at, func(w written, at time.Duration) int { return cmp.Compare(w.at, at) })
	return slices.Clone(r.writes[i:])
}

// number returns how many writes there were.
func (r *writesRecorder) number() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.writes)
}

// bytesSince returns how many bytes were written from a time on.
func (r *writesRecorder) bytesSince(at time.Duration) (n int) {
	for _, w := range r.since(at) {
		n += w.size
	}
	return n
}

// sizesIn checks that all writes from a time on have one of the sizes.
func (r *writesRecorder) sizesIn(t *testing.T, at time.Duration, sizes ...int) {
	t.Helper()
	for _, w := range r.since(at) {
		if !slices.Contains(sizes, w.size) {
			t.Errorf("a write of %d bytes at %v, want one of %v", w.size, w.at, sizes)
		}
	}
}

// readAll reads from each connection until it ends.
func readAll(conns ...*Conn) {
	for _, c := range conns {
		go func() {
			for {
				if _, err := c.ReadPacket(); err != nil {
					return
				}
			}
		}()
	}
}

const (
	settled = time.Minute // cells have begun, and an answer is no longer awaited
	noFakes = -1
)

// Both ends of a tunnel send cells, and nothing else while there is nothing to send.
func TestTunnelAgreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var near, far changes
		a, b, up, down := shapedPair(t, Shape{Mode: ShapeTunnel, Fakes: noFakes, Changed: near.add},
			Shape{Mode: ShapeTunnel, Fakes: noFakes, Changed: far.add})
		defer a.Close()
		defer b.Close()
		handshake := down.number()
		if mode := b.Shaping().Mode; mode != ShapeOff {
			t.Errorf("the responder's mode is %v before it was asked", mode)
		}
		readAll(a, b)
		time.Sleep(10 * time.Minute)
		agreed := ShapeChange{ShapeTunnel, ShapeAgreed}
		near.check(t, agreed)
		far.check(t, agreed)
		for _, r := range []*writesRecorder{up, down} {
			cells := r.since(startsAfter)
			for i, c := range cells {
				if c.size != defaultCell {
					t.Errorf("a cell of %d bytes", c.size)
				}
				if i > 0 && (c.at-cells[i-1].at < tunnelEvery/2 || c.at-cells[i-1].at > tunnelEvery*3/2) {
					t.Errorf("%v between two cells", c.at-cells[i-1].at)
				}
			}
			if n := len(cells); n < 500 || n > 660 {
				t.Errorf("%d cells in ten minutes", n)
			}
		}
		if answer := down.since(0)[handshake]; answer != (written{0, defaultBucket}) {
			t.Errorf("the answer is %v, want %d bytes at once", answer, defaultBucket)
		}
	})
}

// A responder sends as if it had no shape to all who do not offer a tunnel.
func TestTunnelNotAsked(t *testing.T) {
	other := [32]byte{1}
	valid := Shape{Mode: ShapeTunnel}.WithDefaults()
	for name, say := range map[string]func(c *Conn){
		"nothing":      func(c *Conn) {},
		"zeros":        func(c *Conn) { c.WriteDecoy(make([]byte, 1000)) },
		"other id":     func(c *Conn) { c.WriteDecoy(valid.offer(&other)) },
		"short":        func(c *Conn) { c.WriteDecoy(valid.offer(&c.sessionID)[:offerSize-1]) },
		"message":      func(c *Conn) { c.WritePacket(valid.offer(&c.sessionID)) },
		"second decoy": func(c *Conn) { c.WriteDecoy(nil); c.WriteDecoy(valid.offer(&c.sessionID)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var far changes
				a, b, _, down := shapedPair(t, Shape{}, Shape{Mode: ShapeTunnel, Changed: far.add})
				defer a.Close()
				defer b.Close()
				readAll(a, b)
				say(a)
				time.Sleep(settled)
				if err := b.WritePacket(make([]byte, 100)); err != nil {
					t.Error(err)
				}
				time.Sleep(settled)
				far.check(t)
				if s := b.Shaping(); s.Mode != ShapeOff || s.SentFiller > 0 {
					t.Errorf("the responder's shaping is %+v", s)
				}
				if writes := down.since(1); len(writes) != 1 || writes[0].size != packetSize(100) {
					t.Errorf("the responder has written %v", writes)
				}
			})
		})
	}
}

// An initiator whose peer does not answer has the mode cover: it sends no bursts.
func TestTunnelNotAgreed(t *testing.T) {
	for _, far := range []Shape{{}, {Mode: ShapePad}, {Mode: ShapeCover}} {
		t.Run(far.Mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var near changes
				a, b, up, _ := shapedPair(t, Shape{Mode: ShapeTunnel, Fakes: minFakes, Changed: near.add}, far)
				defer a.Close()
				defer b.Close()
				readAll(a, b)
				time.Sleep(grantTimeout)
				near.check(t)
				time.Sleep(settled - grantTimeout)
				near.check(t, ShapeChange{ShapeCover, ShapeNotAgreed})
				if err := a.WritePacket(make([]byte, 30_000)); err != nil {
					t.Error(err)
				}
				if err := b.WriteDecoy(Shape{Mode: ShapeTunnel}.WithDefaults().offer(&b.sessionID)); err != nil {
					t.Error(err)
				}
				time.Sleep(settled)
				near.check(t, ShapeChange{ShapeCover, ShapeNotAgreed})
				up.sizesIn(t, startsAfter, defaultCell)
				if mode := a.Shaping().Mode; mode != ShapeCover {
					t.Errorf("the mode is %v", mode)
				}
			})
		})
	}
}

// A responder sends no more than its own shape has, whatever it is asked for and how often.
func TestTunnelAsksForEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := Shape{Mode: ShapeTunnel, Cell: 512, Every: 4 * time.Second, Fakes: noFakes}
		var far changes
		own.Changed = far.add
		a, b, _, down := shapedPair(t, Shape{}, own)
		defer a.Close()
		defer b.Close()
		handshake := down.number()
		readAll(a, b)
		greedy := Shape{Cell: math.MaxInt32, Every: 1, Burst: 1, Fakes: time.Millisecond}
		for range 1000 {
			if err := a.WriteDecoy(greedy.offer(&a.sessionID)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(startsAfter - 1)
		if answers := down.number() - handshake; answers != 1 {
			t.Errorf("%d answers", answers)
		}
		time.Sleep(10 * time.Minute)
		far.check(t, ShapeChange{ShapeTunnel, ShapeAgreed})
		down.sizesIn(t, startsAfter, 512)
		if n, most := down.bytesSince(startsAfter), 512*600/2; n > most {
			t.Errorf("%d bytes in ten minutes, want at most %d", n, most)
		}
		if err := b.WritePacket(make([]byte, 4000)); err != nil {
			t.Error(err)
		}
		time.Sleep(settled)
		down.sizesIn(t, startsAfter, 512) // for the least backlog of a burst is the responder's
	})
}

// The other end gets a smaller shape if it asks for one.
func TestTunnelAsksForLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, up, down := shapedPair(t, Shape{Mode: ShapeTunnel, Cell: 300, Every: 5 * time.Second, Fakes: noFakes},
			Shape{Mode: ShapeTunnel, Fakes: minFakes})
		defer a.Close()
		defer b.Close()
		readAll(a, b)
		time.Sleep(10 * time.Minute)
		for _, r := range []*writesRecorder{up, down} {
			r.sizesIn(t, startsAfter, 300)
			if n := len(r.since(startsAfter)); n > 240 {
				t.Errorf("%d cells in ten minutes", n)
			}
		}
	})
}

// A responder answers, although its user's last write deadline has passed.
func TestTunnelAnswersAfterDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var far changes
		a, b, _, _ := shapedPair(t, Shape{Mode: ShapeTunnel}, Shape{Mode: ShapeTunnel, Changed: far.add})
		defer a.Close()
		defer b.Close()
		b.SetWriteDeadline(time.Now().Add(-1))
		readAll(a, b)
		time.Sleep(startsAfter / 2)
		far.check(t, ShapeChange{ShapeTunnel, ShapeAgreed})
		time.Sleep(settled)
		for _, c := range []*Conn{a, b} {
			if s := c.Shaping(); s.Mode != ShapeTunnel || s.ReceivedFiller < 10*defaultCell {
				t.Errorf("the shaping is %+v", s)
			}
		}
	})
}

// What a responder grants is valid, and nothing of it sends more filler than its own shape.
func FuzzShapeOffer(f *testing.F) {
	id := [32]byte{7}
	own := Shape{Mode: ShapeTunnel, Cell: 700, Every: 3 * time.Second, Burst: 5000, Fakes: time.Minute}.WithDefaults()
	f.Add(own.offer(&id), false)
	f.Add(own.offer(&id)[tunnelTag:], true)
	f.Add(bytes.Repeat([]byte{0xff}, 16), true)
	f.Add(make([]byte, 16), true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, marked bool) {
		if marked {
			b = append(tunnelMark(&id), b...)
		}
		asked, ok := parseOffer(b, &id)
		if ok != (len(b) >= offerSize && bytes.HasPrefix(b, tunnelMark(&id))) {
			t.Fatalf("an offer: %v", ok)
		}
		if !ok {
			return
		}
		got := own.granted(asked)
		if err := got.check(); err != nil {
			t.Error(err)
		}
		switch {
		case got.Cell > own.Cell, got.Every < own.Every, got.Burst < own.Burst,
			got.Fakes > 0 && got.Fakes < own.Fakes, got.Budget != own.Budget, got.FillerPerDay() > own.FillerPerDay():
			t.Errorf("%v asked for: granted %v of %v", asked, got, own)
		}
		if again, ok := parseOffer(got.offer(&id), &id); !ok || own.granted(again).String() != got.String() {
			t.Errorf("granted %v, which reads %v", got, again)
		}
		none := own
		none.Fakes = noFakes
		if got := none.granted(asked); got.Fakes > 0 {
			t.Errorf("granted false bursts: %v", got)
		}
	})
}
