package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Of identical refusals the first is logged, and then every ten minutes the number of the others,
// until there are none.
func TestFoldedRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f foldedLog
		r := foldKey{dest: "node.example:8333", kind: KindDial}
		began := time.Now()
		var counts []string
		firsts := 0
		for range 100 {
			if f.isFirst(r, nil, func(n int, _ clientSet) { counts = append(counts, fmt.Sprintf("%d at %v", n, time.Since(began))) }) {
				firsts++
			}
			f.isFirst(foldKey{dest: "other.example:8333", kind: KindDial}, nil, func(n int, _ clientSet) { t.Logf("other: %d", n) })
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if firsts != 10 || len(counts) != 10 || counts[0] != "9 at 10m0s" || counts[9] != "9 at 1h40m0s" {
			t.Errorf("%d refusals logged at once, want 10; then %v", firsts, counts)
		}
		if len(f.byKey) != 0 {
			t.Errorf("%d entries remain, want 0", len(f.byKey))
		}
	})
}

// Refusals with another destination, kind or reply code are separate. No refusal goes uncounted,
// and the number of entries is bounded.
func TestFoldedRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f foldedLog
		refusals, counted := 0, 0
		for i := range 3 * maxFolds {
			for _, r := range []foldKey{
				{dest: fmt.Sprintf("node%d.example:8333", i), kind: KindDial, code: 4},
				{dest: fmt.Sprintf("node%d.example:8333", i), kind: KindDial, code: 5},
				{dest: fmt.Sprintf("node%d.example:8333", i), kind: KindNoV2Answer, code: 0},
				{dest: "node.example:8333", kind: KindDial, code: 4}, // repeated
			} {
				for range 3 {
					refusals++
					if f.isFirst(r, nil, func(n int, _ clientSet) { counted += n }) {
						counted++
					} else if refusals%3 == 1 && r.dest != "node.example:8333" {
						t.Fatalf("%v was folded into another", r)
					}
				}
			}
			if len(f.byKey) > maxFolds {
				t.Fatalf("%d entries", len(f.byKey))
			}
		}
		f.tellAll()
		if counted != refusals || len(f.byKey) != 0 {
			t.Errorf("%d of %d refusals counted, %d entries remain", counted, refusals, len(f.byKey))
		}
	})
}

// No lock is held while a line is written: its writer may log another.
func TestFoldedWithoutLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refusals foldedLog
		r := foldKey{dest: "node.example:8333", kind: KindDial}
		written := 0
		write := func(int, clientSet) {
			written++
			refusals.isFirst(r, nil, func(int, clientSet) {})
		}
		repeat := func() {
			refusals.isFirst(r, nil, write)
			refusals.isFirst(r, nil, write)
		}
		repeat()
		time.Sleep(foldRefusalsFor) // the count is logged when the period ends
		synctest.Wait()
		refusals.tellAll() // at the end
		repeat()
		refusals.tellAll()
		for i := range maxFolds { // and on overflow
			r := foldKey{dest: fmt.Sprint(i), kind: KindDial}
			refusals.isFirst(r, nil, write)
			refusals.isFirst(r, nil, write)
		}
		refusals.isFirst(foldKey{}, nil, write)
		if written < 3 {
			t.Errorf("%d lines were written, want 3", written)
		}
		refusals.tellAll()

		var lines foldedLog
		written = 0
		var again foldedLine
		again = func(int, clientSet) {
			if written++; written < 10 {
				lines.line(foldKey{line: "line"}, nil, again)
			}
		}
		lines.line(foldKey{line: "line"}, nil, again)
		time.Sleep(time.Hour)
		synctest.Wait()
		if written != 10 {
			t.Errorf("%d lines were written, want 10", written)
		}
	})
}

// A line about one client names it, a line about several has their number.
func TestFoldedLogClients(t *testing.T) {
	tcp := func(addr string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)) }
	var many []net.Addr
	for i := range maxClientSet + 1 {
		many = append(many, tcp(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)))
	}
	for _, c := range []struct {
		clients []net.Addr // after the first
		hide    bool
		want    string
	}{
		{[]net.Addr{tcp("192.0.2.1:1")}, false, "[client 192.0.2.1:1 again 1]"},
		{[]net.Addr{tcp("192.0.2.1:1"), tcp("192.0.2.1:2")}, false, "[client 192.0.2.1 again 2]"},
		{[]net.Addr{tcp("[2001:db8::1]:1"), tcp("[2001:db8::2]:1")}, false, "[client 2001:db8::/64 again 2]"},
		{[]net.Addr{tcp("192.0.2.1:1"), tcp("192.0.2.2:1"), tcp("192.0.2.1:1")}, false, "[clients 2 again 3]"},
		{[]net.Addr{tcp("192.0.2.1:1"), tcp("192.0.2.2:1")}, true, "[clients 2 again 2]"},
		{[]net.Addr{tcp("192.0.2.1:1")}, true, "[again 1]"},
		{[]net.Addr{&net.UnixAddr{Name: "@", Net: "unix"}, &net.UnixAddr{Net: "unix"}}, false, "[client  again 2]"},
		{many[:maxClientSet], false, "[clients 1000 again 1000]"},
		{many, false, "[clients_over 1000 again 1001]"},
		{[]net.Addr{nil, nil}, false, "[again 2]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var f foldedLog
			var got []string
			line := func(client net.Addr) {
				f.line(foldKey{line: "line"}, client, func(again int, who clientSet) {
					got = append(got, fmt.Sprint(append(who.attr(c.hide), "again", again)))
				})
			}
			line(tcp("203.0.113.1:1"))
			for _, client := range c.clients {
				line(client)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			first := "[client 203.0.113.1:1 again 0]"
			if c.hide {
				first = "[again 0]"
			}
			if len(got) != 2 || got[0] != first || got[1] != c.want {
				t.Errorf("got %q, want %q and %q", got, first, c.want)
			}
		})
	}
}
