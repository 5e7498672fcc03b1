package rules

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestParseClients(t *testing.T) {
	for text, want := range map[string]string{
		"172.30.0.5":            "172.30.0.5/32",
		"10.0.0.0/8":            "10.0.0.0/8",
		"172.16.0.0/12":         "172.16.0.0/12",
		"192.168.0.0/16":        "192.168.0.0/16",
		"127.0.0.0/8":           "127.0.0.0/8",
		"169.254.0.0/16":        "169.254.0.0/16",
		"fd00:30::/64":          "fd00:30::/64",
		"fe80::/10":             "fe80::/10",
		"::1":                   "::1/128",
		"::ffff:172.30.0.5":     "172.30.0.5/32",
		"public:203.0.113.0/24": "203.0.113.0/24",
		"public:10.0.0.0/8":     "10.0.0.0/8",
		"public:0.0.0.0/0":      "0.0.0.0/0",
		"public:::/0":           "::/0",
		"public:2001:db8::7":    "2001:db8::7/128",
		"public:100.64.0.0/10":  "100.64.0.0/10",

		"":                         "error: is neither",
		"public:":                  "error: is neither",
		"private":                  "error: is neither",
		"node.example":             "error: is neither",
		"172.30.0.5:1324":          "error: is neither",
		"172.30.0.0/33":            "error: is neither",
		"172.30.0.0/255.255.0.0":   "error: is neither",
		"172.30.0":                 "error: is neither",
		"fe80::1%eth0":             "error: has a zone; write the address without it: fe80::1",
		"172.30.0.5/16":            "error: write 172.30.0.0/16 for the network, or 172.30.0.5 for one client",
		"public:203.0.113.7/24":    "error: write public:203.0.113.0/24",
		"203.0.113.0/24":           "error: write public:203.0.113.0/24",
		"203.0.113.7":              "error: write public:203.0.113.7",
		"0.0.0.0/0":                "error: write public:0.0.0.0/0",
		"::/0":                     "error: write public:::/0",
		"10.0.0.0/7":               "error: write public:10.0.0.0/7",
		"172.0.0.0/8":              "error: write public:172.0.0.0/8",
		"100.64.0.0/10":            "error: write public:100.64.0.0/10",
		"2001:db8::/32":            "error: write public:2001:db8::/32",
		"::ffff:10.0.0.0/104":      "error: write 10.0.0.0/8",
		"public:::ffff:0.0.0.0/96": "error: write public:0.0.0.0/0",
		"::ffff:0.0.0.0/95":        "error: write the IPv4 network",
	} {
		all, err := ParseClients([]string{text})
		why, fails := strings.CutPrefix(want, "error: ")
		switch {
		case fails:
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%q: %v, %v, want an error with %q", text, all, err, why)
			}
		case err != nil || len(all) != 1 || all[0].String() != want:
			t.Errorf("%q: got %v, %v, want %s", text, all, err, want)
		}
	}
}

func FuzzParseClients(f *testing.F) {
	f.Add("public:172.30.0.5/16")
	f.Add("::ffff:10.0.0.0/104")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseClients([]string{text})
		if err != nil {
			return
		}
		n := all[0]
		if n.Masked() != n || n.Addr().Is4In6() || n.Addr().Zone() != "" {
			t.Errorf("%q parses as %v", text, n)
		}
		if strings.HasPrefix(text, publicPrefix) {
			return
		}
		for _, ip := range []netip.Addr{n.Addr(), lastAddr(n)} {
			if !IsPrivate(ip) {
				t.Errorf("%q admits %v", text, ip)
			}
		}
	})
}

// lastAddr returns the last address of a network.
func lastAddr(n netip.Prefix) netip.Addr {
	b := n.Addr().AsSlice()
	for i := n.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}

func TestClientsWithin(t *testing.T) {
	parse := func(texts string) Clients {
		all, err := ParseClients(strings.Fields(texts))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, c := range []struct {
		now, before string
		want        bool
	}{
		{"", "", true},
		{"", "10.0.0.0/8", true},
		{"10.1.0.0/16 192.168.0.7", "10.0.0.0/8 192.168.0.0/24", true},
		{"10.0.0.0/8", "10.0.0.0/9", false},
		{"10.0.0.0/8", "", false},
		{"::1", "public:0.0.0.0/0", false},
	} {
		if got := parse(c.now).Within(parse(c.before)); got != c.want {
			t.Errorf("%q within %q: got %v", c.now, c.before, got)
		}
	}
	if got := parse("public:0.0.0.0/0 public:2000::/3 10.0.0.0/8").Everybody(); len(got) != 2 {
		t.Errorf("Everybody: got %v, want 2 networks", got)
	}
}

func TestClientsCheck(t *testing.T) {
	clients, err := ParseClients([]string{"172.30.0.0/24", "fe80::/10", "127.0.0.0/8", "10.1.1.1"})
	if err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]string{
		"172.30.0.7": "", "::ffff:172.30.0.7": "", "fe80::7%eth0": "", "127.0.0.1": "", "::ffff:127.0.0.1": "", "10.1.1.1": "",
		"172.30.1.7":        "the client 172.30.1.7 is not admitted",
		"::ffff:172.30.1.7": "the client 172.30.1.7 is not admitted",
		"::172.30.0.7":      "the client ::ac1e:7 is not admitted",
		"10.1.1.2":          "the client 10.1.1.2 is not admitted",
		"::1":               "the client ::1 is a router or this machine itself; as others may be behind it, it is admitted only if its own address is listed",
	} {
		err := clients.Check(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 4711)))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", ip, got, want)
		}
	}
}
