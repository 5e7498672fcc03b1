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

// Whoever comes first with many addresses of few networks does not keep out others, however
// many places there are.
func TestGateEvictsForOthers(t *testing.T) {
	for _, sessions := range []int{1, 7, 8, 9, 50, 125} {
		for name, attack := range map[string]func(*gatehouse) []*guest{
			"one /16": func(g *gatehouse) []*guest { return g.fill("66.6.%d.1", 200) },
			"one /32": func(g *gatehouse) []*guest { return g.fill("2001:db8:%x::1", 200) },
			"ten /16s": func(g *gatehouse) (all []*guest) {
				for i := range 10 {
					all = append(all, g.fill(fmt.Sprintf("66.%d.%%d.1", i), 200)...)
				}
				return all
			},
			"local": func(g *gatehouse) []*guest { return g.fill("127.0.0.%d", 200) },
		} {
			t.Run(fmt.Sprint(name, " in ", sessions), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGatehouse(t, sessions)
					attackers := attack(g)
					if name != "local" && held(attackers) > max(sessions/8, 1)*10 {
						t.Errorf("%d attackers have a session", held(attackers))
					}
					const honest = 20
					good := g.fill("8.%d.8.8", honest)
					want := min(honest, sessions)
					switch name {
					case "one /16", "one /32":
						want = min(honest, sessions-max(sessions/8, 1)) // of small numbers an eighth is one
					case "ten /16s":
						if sessions < 10 { // each attacker has a group of its own
							want = 0
						}
					case "local":
						want = min(honest, sessions/2)
					}
					if got := held(good); got < want {
						t.Errorf("%d of %d others are in, want %d", got, honest, want)
					}
					if len(g.established) > sessions {
						t.Errorf("%d sessions, want at most %d", len(g.established), sessions)
					}
				})
			})
		}
	}
}

// Neither do those of one /24 or /48 keep out others of their network group.
func TestGateEvictsForNeighbours(t *testing.T) {
	for name, c := range map[string]struct {
		first, others string
		in            int // of 20 others
	}{
		"a /24":             {"66.6.6.%d", "66.6.%d.7", 14},
		"a /48":             {"2001:db8:6:%x::1", "2001:db8:%x::1", 14},
		"others of its /24": {"66.6.6.%d", "66.6.6.%d", 0},
		"others of one /24": {"66.6.6.%d", "66.6.7.%d", 7},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGatehouse(t, 125)
				first := g.fill(c.first, 200)
				if len(first) != 15 {
					t.Fatalf("%d of the first are in, want 15", len(first))
				}
				var others []*guest
				for i := range 20 {
					if peer, err := g.establish(fmt.Sprintf(c.others, 100+i)); err == nil {
						others = append(others, peer)
					} else if err != ErrTooManyOfNetwork {
						t.Errorf("number %d: %v", i+1, err)
					}
				}
				if held(others) != c.in || held(first) != 15-c.in {
					t.Errorf("%d others are in, and %d of the first; want %d, and the rest of 15", held(others), held(first), c.in)
				}
				if c.in > 0 && first[0].end != nil {
					t.Error("the oldest had to go")
				}
			})
		})
	}
}

// The one that goes is the youngest of the network group with the most.
func TestGateEvictsTheYoungest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGatehouse(t, 32) // four of one group
		big, small := g.fill("1.1.%d.1", 4), g.fill("2.2.%d.1", 3)
		rest := g.fill("3.%d.1.1", 25)
		if _, err := g.establish("3.1.9.9"); err != nil {
			t.Errorf("a second one of a group does not get in: %v", err)
		}
		if big[3].end != ErrEvicted || held(big) != 3 || held(small) != 3 || held(rest) != 25 {
			t.Errorf("%d of 4, %d of 3, %d of 25 are left, and the youngest of the biggest group ended with %v",
				held(big), held(small), held(rest), big[3].end)
		}
		if _, err := g.establish("3.1.8.8"); err != ErrFull {
			t.Errorf("one whose group would then be as big as any: %v, want ErrFull", err)
		}
		big[3].Leave()
		if len(g.established) != 32 {
			t.Errorf("%d sessions after the evicted one left, want 32", len(g.established))
		}
	})
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

// Silent peers that have taken all places, on Tor or in as many network groups, do not keep
// out others for ever, who come now and then.
func TestGateSquatters(t *testing.T) {
	for name, format := range map[string]string{"local": "127.0.0.%d", "without address": "", "many groups": "66.%d.1.1", "many /32s": "2001:%x::1"} {
		for _, sessions := range []int{2, 8, 125} {
			t.Run(fmt.Sprint(name, " in ", sessions), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGatehouse(t, sessions)
					address := func(i int) string {
						if format == "" {
							return ""
						}
						return fmt.Sprintf(format, i)
					}
					for i := range sessions {
						g.establish(address(i))
					}
					in := 0
					var last *guest
					for i := range 20 {
						time.Sleep(time.Minute)
						var err error
						if last, err = g.establish(address(sessions + i)); err == nil {
							in++
						}
					}
					if in != 20 || last.end != nil {
						t.Errorf("%d of 20 others got in, and the last ended with %v", in, last.end)
					}
				})
			})
		}
	}
}

// A flood of peers that each want a session, on Tor or of many network groups, ends few of the
// others' sessions, and none of the older half.
func TestGateTurnover(t *testing.T) {
	for name, address := range map[string]func(int) string{
		"local":       func(int) string { return "127.0.0.1" },
		"many groups": func(i int) string { return fmt.Sprintf("%d.%d.1.1", 20+i/250%100, i%250) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const sessions = 124
				g := newGatehouse(t, sessions)
				for i := range sessions {
					g.establish(address(i))
				}
				good := slices.Clone(g.inside)
				for i := range 240 { // 20 minutes
					g.establish(address(sessions + i))
				}
				if got := held(good[:sessions/2]); got != sessions/2 {
					t.Errorf("%d of the older %d are in", got, sessions/2)
				}
				if got := held(good); got < sessions-41 || got > sessions-20 {
					t.Errorf("%d of %d are left, want one less every 30 s at most", got, sessions)
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
