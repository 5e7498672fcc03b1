package inbound

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A peer that comes too often is refused, and takes nothing from others: not from its /16, and
// not from the rest of the world or Tor, however fast it comes and from wherever.
func TestGateRates(t *testing.T) {
	const seconds, perSecond = 20, 2000
	const honestEvery = 1913 // connections; in step with the limiters it would always be lucky
	for name, c := range map[string]struct {
		flood  func(int) string
		honest string
		in     int // of the flood, about
	}{
		"address":         {func(int) string { return "66.6.6.6" }, "66.6.6.7", 10 + 2*seconds},
		"/64":             {func(i int) string { return fmt.Sprintf("2001:db8::%x", i%65536) }, "2001:db8:0:1::1", 10 + 2*seconds},
		"/16":             {func(i int) string { return fmt.Sprintf("66.6.%d.%d", i%256, i/256%256) }, "66.7.1.1", 25 + 12*seconds},
		"/32":             {func(i int) string { return fmt.Sprintf("2001:db8:%x::1", i%65536) }, "2001:db9::1", 25 + 12*seconds},
		"five groups":     {func(i int) string { return fmt.Sprintf("66.%d.%d.1", i%5, i/5%256) }, "8.8.8.8", 125 + 60*seconds},
		"all groups":      {func(i int) string { return fmt.Sprintf("%d.%d.1.1", 30+i%64, i/64%256) }, "127.0.0.1", 125 + 100*seconds},
		"many groups":     {func(i int) string { return fmt.Sprintf("%d.%d.%d.1", 30+i%64, i/64%3, i/192%250) }, "8.%d.8.8", 125 + 100*seconds},
		"local":           {func(int) string { return "127.0.0.1" }, "8.8.8.8", 125 + 100*seconds},
		"without address": {func(int) string { return "" }, "8.8.8.8", 125 + 100*seconds},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(125)
				enter := func(address string) bool {
					var addr netip.Addr
					if address != "" {
						addr = netip.MustParseAddr(address)
					}
					p, err := g.Enter(addr, func(error) {})
					if err == nil {
						p.Leave()
					} else if err != ErrTooOften {
						t.Fatal(err)
					}
					return err == nil
				}
				in := 0
				for i := range seconds * perSecond {
					if enter(c.flood(i)) {
						in++
					}
					time.Sleep(time.Second / perSecond)
					if i%honestEvery != honestEvery-1 {
						continue
					}
					honest := c.honest
					if strings.Contains(honest, "%") {
						honest = fmt.Sprintf(honest, i/honestEvery)
					}
					if !enter(honest) {
						t.Fatalf("after %d connections an honest peer is refused", i+1)
					}
				}
				if in < c.in*9/10 || in > c.in*101/100 {
					t.Errorf("%d of the flood got in, want about %d", in, c.in)
				}
			})
		})
	}
}

// However many sessions strangers begin, few have lines in the log, and one network takes those
// of no other.
func TestGateLogs(t *testing.T) {
	for name, c := range map[string]struct {
		flood func(int) string
		most  int // in an hour
		other int // of 5 peers of another network at the end
	}{
		"address":     {func(int) string { return "66.6.6.6" }, 30 + 60, 5},
		"/16":         {func(i int) string { return fmt.Sprintf("66.6.%d.1", i%250) }, 30 + 60, 5},
		"many groups": {func(i int) string { return fmt.Sprintf("%d.%d.1.1", 20+i%100, i/100%250) }, 250 + 6*60, 0},
		"local":       {func(int) string { return "127.0.0.1" }, 250 + 6*60, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(125)
				mayLog := func(address string) bool {
					p, err := g.Enter(netip.MustParseAddr(address), func(error) {})
					if err != nil {
						t.Fatal(err)
					}
					defer p.Leave()
					return p.MayLog()
				}
				logged := 0
				for i := range 7200 {
					if mayLog(c.flood(i)) {
						logged++
					}
					time.Sleep(time.Second / 2)
				}
				if logged < c.most-1 || logged > c.most {
					t.Errorf("%d sessions have lines, want %d", logged, c.most)
				}
				other := 0
				for range 5 {
					if mayLog("8.8.8.8") {
						other++
					}
				}
				if other < c.other {
					t.Errorf("%d of 5 of another network have lines, want %d", other, c.other)
				}
			})
		})
	}
}

// What a connection of a flood costs.
func BenchmarkGateFlood(b *testing.B) {
	g := NewGate(125)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g.Enter(netip.AddrFrom4([4]byte{66, byte(i), byte(i >> 8), 1}), func(error) {})
	}
}
