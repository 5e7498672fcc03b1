package inbound

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// guest is a peer at the gate.
type guest struct {
	*Place
	addr netip.Addr
	end  error // given to evict
}

// gatehouse is a gate whose peers never connect too often.
type gatehouse struct {
	*testing.T
	*Gate
	inside []*guest // all that did not leave
}

func newGatehouse(t *testing.T, sessions int) *gatehouse {
	return &gatehouse{T: t, Gate: NewGate(sessions)}
}

// enter lets the peer with an address in; "" has none.
func (g *gatehouse) enter(address string) *guest {
	g.Helper()
	time.Sleep(5 * time.Second) // of synctest's clock: no rate is exceeded
	peer := &guest{}
	if address != "" {
		peer.addr = netip.MustParseAddr(address)
	}
	var err error
	if peer.Place, err = g.Enter(peer.addr, func(err error) { g.evicted(peer, err) }); err != nil {
		g.Fatalf("%s does not get in: %v", address, err)
	}
	g.inside = append(g.inside, peer)
	return peer
}

func (g *gatehouse) evicted(peer *guest, err error) {
	if peer.end != nil {
		g.Errorf("%v is evicted twice", peer.addr)
	}
	if !slices.Contains(g.inside, peer) {
		g.Errorf("%v is evicted after it left", peer.addr)
	}
	peer.end = err
}

// establish makes the peer with an address a session.
func (g *gatehouse) establish(address string) (*guest, error) {
	g.Helper()
	peer := g.enter(address)
	err := peer.Establish()
	if err != nil {
		g.leave(peer)
	}
	return peer, err
}

// leave lets a peer leave.
func (g *gatehouse) leave(peer *guest) {
	peer.Leave()
	g.inside = slices.DeleteFunc(g.inside, func(each *guest) bool { return each == peer })
}

// fill establishes one peer at each address of a format that ends in a number, from 1 to n,
// and returns those that got a session.
func (g *gatehouse) fill(format string, n int) (in []*guest) {
	g.Helper()
	for i := range n {
		if peer, err := g.establish(fmt.Sprintf(format, i+1)); err == nil {
			in = append(in, peer)
		}
	}
	return in
}

// held returns how many are still in.
func held(peers []*guest) (n int) {
	for _, p := range peers {
		if p.end == nil {
			n++
		}
	}
	return n
}

// An address has four sessions, a network group an eighth; other spellings of an address do
// not help, and local peers are exempt. When all are in use one more takes the place of another.
func TestGateLimitsSessions(t *testing.T) {
	for name, c := range map[string]struct {
		sessions int
		address  string
		want     int
		err      error
	}{
		"address":        {125, "192.0.2.1", 4, ErrTooManyOfAddress},
		"IPv4 in IPv6":   {125, "::ffff:192.0.2.1", 4, ErrTooManyOfAddress},
		"/64":            {125, "2001:db8:0:1::%x", 4, ErrTooManyOfAddress},
		"/16":            {125, "192.0.%d.1", 15, ErrTooManyOfNetwork},
		"/32":            {125, "2001:db8:%x::1", 15, ErrTooManyOfNetwork},
		"few sessions":   {8, "192.0.2.1", 1, ErrTooManyOfNetwork},
		"fewer":          {3, "192.0.%d.1", 1, ErrTooManyOfNetwork},
		"local":          {125, "127.0.0.1", 126, ErrFull},
		"local IPv6":     {125, "::1", 126, ErrFull},
		"without":        {125, "", 126, ErrFull},
		"many groups":    {100, "%d.1.1.1", 101, ErrFull},
		"link-local":     {125, "fe80::%x%%eth0", 4, ErrTooManyOfAddress},
		"the one in all": {1, "%d.1.1.1", 1, ErrFull},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGatehouse(t, c.sessions)
				for i := range c.want + 1 {
					address := c.address
					if slices.Contains([]byte(address), '%') {
						address = fmt.Sprintf(address, i+1)
					}
					switch _, err := g.establish(address); {
					case i < c.want && err != nil:
						t.Fatalf("number %d: %v", i+1, err)
					case i == c.want && err != c.err:
						t.Errorf("number %d: %v, want %v", i+1, err, c.err)
					}
				}
				g.leave(g.inside[0])
				address := c.address
				if slices.Contains([]byte(address), '%') {
					address = fmt.Sprintf(address, 200)
				}
				if _, err := g.establish(address); err != nil {
					t.Errorf("after one has left: %v", err)
				}
			})
		})
	}
}

// Neither local peers nor others have more than half of the sessions if the others want them.
func TestGateHalves(t *testing.T) {
	for _, sessions := range []int{2, 50, 125} {
		for name, formats := range map[string][2]string{"local first": {"127.0.0.%d", "8.%d.1.1"}, "local last": {"8.%d.1.1", "127.0.0.%d"}} {
			t.Run(fmt.Sprint(name, " in ", sessions), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGatehouse(t, sessions)
					first := g.fill(formats[0], 200)
					if held(first) != sessions {
						t.Fatalf("%d are in at first, want %d", held(first), sessions)
					}
					second := g.fill(formats[1], 200)
					if a, b := held(first), held(second); a < sessions/2 || b < sessions/2 || a+b != sessions {
						t.Errorf("%d of the first and %d of the others are in, want half of %d each", a, b, sessions)
					}
					others := held(second)
					g.fill(formats[0], 200) // must not go on for ever
					if now := held(second); now != others {
						t.Errorf("%d of the others were in, then %d", others, now)
					}
				})
			})
		}
	}
}

// A flood of silent peers leaves honest ones, each of which needs a place while so many of the
// others come.
func TestGatePending(t *testing.T) {
	for name, c := range map[string]struct {
		flood  func(int) string
		honest string
		need   int
	}{
		"of an address, same /24":   {func(int) string { return "66.6.6.6" }, "66.6.6.7", 1000},
		"of a /24, same /16":        {func(i int) string { return fmt.Sprintf("66.6.6.%d", i%256) }, "66.6.7.7", 1000},
		"of a /16":                  {func(i int) string { return fmt.Sprintf("66.6.%d.%d", i%256, i/256%256) }, "8.8.8.8", 1000},
		"of a /48, same /32":        {func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i%65536) }, "2001:db8:2::1", 1000},
		"of a /32":                  {func(i int) string { return fmt.Sprintf("2001:db8:%x::1", i%65536) }, "2001:db9::1", 1000},
		"of twenty /16s":            {func(i int) string { return fmt.Sprintf("66.%d.%d.1", i%20, i/20%256) }, "8.8.8.8", 1000},
		"of as many groups as come": {func(i int) string { return fmt.Sprintf("%d.%d.1.1", 30+i%64, i/64%256) }, "8.8.8.8", 63},
		"local":                     {func(int) string { return "127.0.0.1" }, "8.8.8.8", 1000},
		"of groups, honest local":   {func(i int) string { return fmt.Sprintf("%d.%d.1.1", 30+i%64, i/64%256) }, "127.0.0.1", 1000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGatehouse(t, 125)
				for i := range 1000 {
					g.enter(c.flood(i))
				}
				good := g.enter(c.honest)
				for i := range c.need {
					g.enter(c.flood(1000 + i))
				}
				if err := good.Establish(); err != nil || good.end != nil {
					t.Errorf("the honest peer does not get in: %v, %v", err, good.end)
				}
				if len(g.pending) > maxPending {
					t.Errorf("%d are pending, want at most %d", len(g.pending), maxPending)
				}
				for _, each := range g.inside {
					if each.end != nil && each.end != ErrTooManyPending {
						t.Errorf("%v ended with %v", each.addr, each.end)
					}
					each.Leave()
				}
				if len(g.pending)+len(g.established) > 0 {
					t.Errorf("%d pending and %d sessions are left", len(g.pending), len(g.established))
				}
			})
		})
	}
}

// One that was evicted in the meantime gets no session.
func TestGateEstablishTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGatehouse(t, 125)
		first := g.enter("192.0.2.1")
		for range maxPendingNearby {
			g.enter("192.0.2.1")
		}
		if err := first.Establish(); err != ErrTooManyPending || first.end != ErrTooManyPending {
			t.Errorf("Establish returns %v, and evict got %v", err, first.end)
		}
	})
}

// Whatever comes and goes in whatever order, the limits hold, nobody is evicted twice or after
// it left, and in the end nothing is left.
func TestGateModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(60) {
			r := rand.New(rand.NewPCG(seed, 1))
			sessions := 1 + r.IntN(130)
			g := newGatehouse(t, sessions)
			groups, hosts := 1+r.IntN(40), 1+r.IntN(20)
			for range 400 {
				switch n := r.IntN(10); {
				case n < 5 || len(g.inside) == 0:
					address := fmt.Sprintf("10.%d.%d.%d", r.IntN(groups), r.IntN(3), r.IntN(hosts))
					switch r.IntN(6) {
					case 0:
						address = "127.0.0.1"
					case 1:
						address = fmt.Sprintf("2001:%x:%x:%x::1", r.IntN(groups), r.IntN(3), r.IntN(hosts))
					}
					g.enter(address)
				case n < 8:
					g.inside[r.IntN(len(g.inside))].establishOnce(t)
				default:
					g.leave(g.inside[r.IntN(len(g.inside))])
				}
				g.check(sessions)
			}
			for _, each := range g.inside {
				each.Leave()
				each.Leave()
			}
			if len(g.pending)+len(g.established) > 0 {
				t.Fatalf("seed %d: %d pending and %d sessions are left", seed, len(g.pending), len(g.established))
			}
		}
	})
}

// establishOnce establishes a peer as a session does: a refused one leaves.
func (p *guest) establishOnce(t *testing.T) {
	pending := slices.Contains(p.gate.pending, p.Place)
	switch err := p.Establish(); {
	case p.end != nil && err != p.end:
		t.Errorf("%v was evicted with %v, and Establish returns %v", p.addr, p.end, err)
	case pending && err == nil && !slices.Contains(p.gate.established, p.Place):
		t.Errorf("%v has no session", p.addr)
	}
}

// check checks the limits, by addresses only.
func (g *gatehouse) check(sessions int) {
	g.Helper()
	count := func(places crowd, ipv4, ipv6 int) (most int) {
		of := make(map[netip.Prefix]int)
		for _, p := range places {
			for _, each := range g.inside {
				if each.Place == p && !each.addr.IsLoopback() {
					bits := ipv4
					if each.addr.Is6() {
						bits = ipv6
					}
					network, _ := each.addr.Prefix(bits)
					of[network]++
					most = max(most, of[network])
				}
			}
		}
		return most
	}
	if n, most := len(g.pending), count(g.pending, 24, 48); n > 64 || most > 8 {
		g.Fatalf("%d are pending, %d of one network", n, most)
	}
	if n, address, group := len(g.established), count(g.established, 32, 64), count(g.established, 16, 32); n > sessions || address > 4 || group > max(sessions/8, 1) {
		g.Fatalf("%d of %d sessions, %d of one address, %d of one group", n, sessions, address, group)
	}
}
