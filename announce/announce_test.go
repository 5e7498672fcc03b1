package announce

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/v1v2"
)

var own = []netip.AddrPort{
	netip.MustParseAddrPort("203.0.113.7:8333"),
	netip.MustParseAddrPort("[2001:db8::7]:8333"),
	netip.MustParseAddrPort("203.0.113.7:18333"),
}

func TestParse(t *testing.T) {
	got, err := Parse([]string{"203.0.113.7:8333", "[2001:db8::7]:8333", "[::ffff:203.0.113.7]:8333", "10.0.0.1:18444"})
	if want := (Addresses{own[0], own[1], netip.MustParseAddrPort("10.0.0.1:18444")}); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for text, want := range map[string]string{
		"":                     "not an IP address and a port",
		"203.0.113.7":          "not an IP address and a port",
		"node.example:8333":    "not an IP address and a port",
		"203.0.113.7:0":        "port 0",
		"0.0.0.0:8333":         "0.0.0.0 is not a unicast address",
		"[::]:8333":            ":: is not a unicast address",
		"[::ffff:0.0.0.0]:1":   "0.0.0.0 is not a unicast address",
		"224.0.0.1:8333":       "224.0.0.1 is not a unicast address",
		"255.255.255.255:8333": "255.255.255.255 is not a unicast address",
		"[fe80::1%eth0]:8333":  "zone",
	} {
		if _, err := Parse([]string{"203.0.113.7:8333", text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Only services of VERSION and of own entries change, and only by one bit. LONG=1 tries a million
// messages.
func TestAlter(t *testing.T) {
	messages := 20_000
	if os.Getenv("LONG") != "" {
		messages = 1_000_000
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range messages {
		name, payload, want := testkit.Announcement(random, own)
		before := bytes.Clone(payload)
		got := Addresses(own).Alter(v1v2.TypeOf(name), payload)
		if !bytes.Equal(payload, before) {
			t.Fatalf("seed %d, message %d, %s: the payload was overwritten", seed, i, name)
		}
		if got == nil {
			got = payload
		} else if bytes.Equal(got, payload) {
			t.Fatalf("seed %d, message %d, %s: copied for nothing", seed, i, name)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d, message %d, %s: got % .200x, want % .200x", seed, i, name, got, want)
		}
		if again := Addresses(own).Alter(v1v2.TypeOf(name), got); again != nil {
			t.Fatalf("seed %d, message %d, %s: altered twice", seed, i, name)
		}
		if got := Addresses(nil).Alter(v1v2.TypeOf(name), payload); got != nil {
			t.Fatalf("seed %d, message %d, %s: altered without addresses", seed, i, name)
		}
	}
}

// The largest messages that Bitcoin Core accepts are altered, larger ones are not.
func TestAlterLargest(t *testing.T) {
	entry := binary.LittleEndian.AppendUint64(make([]byte, 4), 1)
	as16 := own[0].Addr().As16()
	entry = append(append(entry, as16[:]...), 0x20, 0x8d)
	for _, n := range []uint16{1000, 1001} {
		payload := append(binary.LittleEndian.AppendUint16([]byte{0xfd}, n), bytes.Repeat(entry, int(n))...)
		if got := Addresses(own).Alter(addr, payload); (got != nil) != (n == 1000) {
			t.Errorf("addr of %d entries: altered: %t", n, got != nil)
		}
	}
	if Addresses(own).Concerns(addrV2, maxPayload+1) {
		t.Error("a message too large to be valid is concerned")
	}

	// Tor's or another network's addresses of 512 bytes, and the node's own at the end.
	other := append([]byte{0, 0, 0, 0, 0xff, 1, 1, 1, 1, 1, 1, 1, 1, 99, 0xfd, 0, 2}, make([]byte, 512+2)...)
	ours := []byte{0, 0, 0, 0, 0xff, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 203, 0, 113, 7, 0x20, 0x8d}
	payload := slices.Concat([]byte{0xfd, 1000 & 0xff, 1000 >> 8}, bytes.Repeat(other, 999), ours)
	want := bytes.Clone(payload)
	want[len(want)-len(ours)+6] |= 8
	if got := Addresses(own).Alter(addrV2, payload); !bytes.Equal(got, want) {
		t.Error("the last of 1000 entries was not altered")
	}
}

func TestAlterAllocations(t *testing.T) {
	if testkit.Racing() {
		t.Skip("the race detector allocates")
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		name, payload, want := testkit.Announcement(random, own)
		if !bytes.Equal(payload, want) {
			continue
		}
		kind := v1v2.TypeOf(name)
		if n := testing.AllocsPerRun(3, func() { Addresses(own).Alter(kind, payload) }); n > 0 {
			t.Fatalf("%s that stays as it is: %v allocations: % x", name, n, payload)
		}
	}
}

// Whatever a message is: what is altered is a services field, by one bit, and once.
func FuzzAlter(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		name, payload, _ := testkit.Announcement(random, own)
		f.Add(name, payload)
	}
	f.Fuzz(func(t *testing.T, name string, payload []byte) {
		if len(name) > 12 {
			return
		}
		kind := v1v2.TypeOf(name)
		before := bytes.Clone(payload)
		got := Addresses(own).Alter(kind, payload)
		if !bytes.Equal(payload, before) {
			t.Fatal("the payload was overwritten")
		}
		if got == nil {
			return
		}
		if again := Addresses(own).Alter(kind, got); again != nil {
			t.Fatal("altered twice")
		}
		switch kind {
		case version:
			wantBits(t, payload, got, 0, func(at int) bool { return at == 4 || at == 46 })
		case addr:
			first := len(payload) - len(afterCount(payload)) + 4
			wantBits(t, payload, got, first, func(at int) bool { return (at-first)%30 == 0 })
		case addrV2:
			wantEntries(t, afterCount(payload), afterCount(got))
		default:
			t.Fatalf("%q was altered", name)
		}
	})
}

// wantBits checks that got is payload but for one bit of services of eight bytes, which may
// begin where isServices says.
func wantBits(t *testing.T, payload, got []byte, from int, isServices func(at int) bool) {
	t.Helper()
	if len(got) != len(payload) {
		t.Fatal("the size changed")
	}
	for at := range got {
		switch d := got[at] ^ payload[at]; {
		case d == 0:
		case d != 0x800>>8 || payload[at]&8 != 0 || at-1 < from || !isServices(at-1):
			t.Fatalf("byte %d changed from %#x to %#x", at, payload[at], got[at])
		case payload[at-1]&1 == 0 && payload[at]&4 == 0:
			t.Fatalf("the services at %d are not those of a node that serves blocks", at-1)
		}
	}
}

// afterCount returns what follows the number of entries, at most 1000.
func afterCount(b []byte) []byte {
	if b[0] == 0xfd {
		return b[3:]
	}
	return b[1:]
}

// wantEntries checks that entries of ADDRV2 differ in services of own addresses only.
func wantEntries(t *testing.T, before, after []byte) {
	t.Helper()
	for !bytes.Equal(before, after) { // so both have a services field that differs, here or later
		if !bytes.Equal(before[:4], after[:4]) {
			t.Fatal("the time of an entry changed")
		}
		old, n := decode(before[4:])
		services, k := decode(after[4:])
		before, after = before[4+n:], after[4+k:]
		size, m := decode(before[1:])
		end := 1 + m + int(size) + 2
		if !bytes.Equal(before[:end], after[:end]) {
			t.Fatal("an address changed")
		}
		if services != old {
			ip, _ := netip.AddrFromSlice(before[1+m : end-2])
			at := netip.AddrPortFrom(ip, binary.BigEndian.Uint16(before[end-2:]))
			if services != old|0x800 || old&0x401 == 0 || k != len(appendCompactSize(nil, services)) || !slices.Contains(own, at) {
				t.Fatalf("the services of %v changed from %#x to %#x", at, old, services)
			}
		}
		before, after = before[end:], after[end:]
	}
}

// decode decodes a CompactSize and returns its size.
func decode(b []byte) (n uint64, size int) {
	switch b[0] {
	case 253:
		return uint64(b[1]) | uint64(b[2])<<8, 3
	case 254:
		return uint64(binary.LittleEndian.Uint32(b[1:])), 5
	case 255:
		return binary.LittleEndian.Uint64(b[1:]), 9
	}
	return uint64(b[0]), 1
}
