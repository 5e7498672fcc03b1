package inbound

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

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
