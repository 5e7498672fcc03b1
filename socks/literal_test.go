package socks

import (
	"math/big"
	"net/netip"
	"strings"
	"testing"
)

// Names that resolvers take for IPv4 addresses are parsed as addresses; malformed ones are errors.
func TestNumericNames(t *testing.T) {
	for name, want := range map[string]string{
		"127.1": "127.0.0.1", "127.0.1": "127.0.0.1", "2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1", "0x7f000001": "127.0.0.1", "0X7F.0x1": "127.0.0.1",
		"0177.0.0.1": "127.0.0.1", "017700000001": "127.0.0.1", "127.0.0.1.": "127.0.0.1", "127.0.0.01": "127.0.0.1", "127.1..": "127.0.0.1",
		"0": "0.0.0.0", "0.": "0.0.0.0", "00": "0.0.0.0", "0x0": "0.0.0.0", "1": "0.0.0.1", "1.2": "1.0.0.2", "1.65535": "1.0.255.255", "1.2.65535": "1.2.255.255",
		"4294967295": "255.255.255.255", "0xffffffff": "255.255.255.255", "10.010.0x10.1": "10.8.16.1", "[::1]": "::1", "1.2.3.4": "1.2.3.4",
		"0x00000000000000000007f.1": "127.0.0.1",

		"4294967296": "", "0x100000000": "", "1.16777216": "", "1.2.65536": "", "256.1": "", "1.2.3.256": "", "1.2.3.4.5": "", "08": "", "127.0.0.08": "", "0x": "", "127.0x": "",
		"1..2": "", ".1": "", "node.1": "", "node.0x1": "", "node.08.": "", "0xg.1": "", "-1.1": "", "1_0.1": "", "[127.1]": "", "99999999999999999999999": "", "node.example.127": "",
	} {
		addr, err := parseHost(name)
		switch ip, _ := netip.ParseAddr(want); {
		case want == "" && err == nil:
			t.Errorf("%s: got %+v, want an error", name, addr)
		case want != "" && (err != nil || addr != Addr{Host: want, IP: ip}):
			t.Errorf("%s: got %+v, %v, want %s", name, addr, err, want)
		}
	}
	for _, name := range []string{"node.example", "1.2.3.4.example", "0xg", "0x7g", "127.0.0.1a", "a127", "1-1", "127.0.0.1.nip", "0b1", "1e3", "1_000", "localhost", "...", "x0"} {
		if addr, err := parseHost(name); err != nil || addr != (Addr{Host: name}) {
			t.Errorf("%s: got %+v, %v, want a name", name, addr, err)
		}
	}
}

// The same applies to an upstream proxy's address.
func TestNumericUpstream(t *testing.T) {
	if u, err := ParseUpstream("socks5://127.1:9050"); err != nil || u.Address != "127.0.0.1:9050" {
		t.Errorf("got %+v, %v", u, err)
	}
	if u, err := ParseUpstream("socks5://tor.1:9050"); err == nil {
		t.Errorf("got %+v, want an error", u)
	}
}

// A name whose last label is a number is never parsed as a name, and its address is the one its
// parts add up to.
func FuzzNumericName(f *testing.F) {
	for _, name := range []string{"127.1", "0x7f.1", "0177.0.0.1", "4294967296", "1.2.3.4.5", "node.example", "0x", "1.", "08.1", "::1", "[::1]", "::ffff:1.2.3.4", "fe80::1%1"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		addr, err := parseHost(name)
		if err != nil {
			return
		}
		last := strings.TrimRight(name, ".")
		last = last[strings.LastIndex(last, ".")+1:]
		_, number := new(big.Int).SetString(last, 0) // 0b and 0o are names, as is 1_000
		number = number && strings.Trim(last, "0123456789abcdefABCDEFxX") == "" && !strings.HasPrefix(strings.ToLower(last), "0b")
		if number && !addr.IP.IsValid() {
			t.Errorf("%q is a name", name)
		}
		if !addr.IP.Is4() || strings.Contains(name, ":") {
			return
		}
		parts := strings.Split(strings.TrimRight(name, "."), ".")
		sum := new(big.Int)
		for i, part := range parts {
			n, ok := new(big.Int).SetString(part, 0)
			if !ok {
				t.Fatalf("%q: got %v", name, addr.IP)
			}
			if i < len(parts)-1 {
				n.Lsh(n, uint(24-8*i))
			}
			sum.Or(sum, n)
		}
		if got := addr.IP.AsSlice(); new(big.Int).SetBytes(got).Cmp(sum) != 0 {
			t.Errorf("%q: got %v, want the sum of its parts, %v", name, addr.IP, sum)
		}
	})
}
