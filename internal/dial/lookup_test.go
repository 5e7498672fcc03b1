package dial

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"bip324proxy/internal/testkit"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsServer answers every question for an IPv4 address with ips; without ips with NXDOMAIN. asked returns the names
// in the questions. The system's files are those of the test.
func dnsServer(t *testing.T, ips ...string) (asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var names []string
	testkit.DNS(t, func(q dnsmessage.Question) (answer []netip.Addr, exists bool) {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, q.Name.String())
		for _, ip := range ips {
			answer = append(answer, netip.MustParseAddr(ip))
		}
		return answer, len(ips) > 0
	})
	dir := t.TempDir()
	paths := []*string{&resolvedSocket, &avahiSocket, &nsswitch}
	before := []string{resolvedSocket, avahiSocket, nsswitch}
	for i, name := range []string{"resolved", "avahi", "nsswitch.conf"} {
		*paths[i] = filepath.Join(dir, name)
	}
	t.Cleanup(func() {
		for i, path := range paths {
			*path = before[i]
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(names)
		return slices.Compact(names)
	}
}

// serveUnix answers requests at path, each up to the byte end, with the result of answer.
func serveUnix(t *testing.T, path string, end byte, answer func(question string) string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("not run: %v", err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				var question []byte
				for b := make([]byte, 1); ; question = append(question, b[0]) {
					if _, err := conn.Read(b); err != nil {
						return
					}
					if b[0] == end {
						break
					}
				}
				io.WriteString(conn, answer(string(question)))
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
}

// A name with a dot is complete: no search domain is added.
func TestCompleteNames(t *testing.T) {
	for name, want := range map[string]string{"node.example": "node.example.", "node.example.": "node.example.", "Node.Example": "Node.Example.", "node.": "node."} {
		asked := dnsServer(t, "192.0.2.1")
		ips, err := Lookup(t.Context(), name)
		if err != nil || len(ips) != 1 {
			t.Errorf("%s: got %v, %v", name, ips, err)
		}
		if got := asked(); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: DNS queries for %q", name, got)
		}
	}
	dnsServer(t)
	var dns *net.DNSError
	if _, err := Lookup(t.Context(), "node.example"); !errors.As(err, &dns) || !dns.IsNotFound || dns.Name != "node.example" {
		t.Errorf("got %#v", err)
	}
}

// The names of this machine and names in .local are never sent to DNS servers.
func TestNoQuestionForDNS(t *testing.T) {
	asked := dnsServer(t, "192.0.2.1")
	for _, name := range []string{"localhost", "LOCALHOST", "localhost.", "LocalHost.", "node.localhost", "node.LOCALHOST."} {
		for _, lookup := range []func(context.Context, string) ([]netip.Addr, error){Lookup, Search} {
			if ips, err := lookup(t.Context(), name); err != nil || !slices.Equal(ips, []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.1")}) {
				t.Errorf("%s: got %v, %v", name, ips, err)
			}
		}
	}
	for _, name := range []string{"umbrel.local", "UMBREL.LOCAL.", "a.b.local"} {
		for _, lookup := range []func(context.Context, string) ([]netip.Addr, error){Lookup, Search} {
			var dns *net.DNSError
			if ips, err := lookup(t.Context(), name); !errors.Is(err, ErrMulticastName) || !errors.As(err, &dns) || !dns.IsNotFound {
				t.Errorf("%s: got %v, %v", name, ips, err)
			}
		}
	}
	if got := asked(); len(got) > 0 {
		t.Errorf("DNS queries for %q", got)
	}
}

// systemd-resolved and Avahi resolve names in .local; if one fails the other is tried, and never
// DNS.
func TestMulticastNames(t *testing.T) {
	const name = "umbrel.local"
	resolvedSays := func(reply string) func(t *testing.T) {
		return func(t *testing.T) {
			serveUnix(t, resolvedSocket, 0, func(question string) string {
				var q struct {
					Method     string
					Parameters map[string]any
				}
				if err := json.Unmarshal([]byte(question), &q); err != nil || q.Method != "io.systemd.Resolve.ResolveHostname" || q.Parameters["name"] != name {
					t.Errorf("systemd-resolved received %q", question)
				}
				return reply
			})
		}
	}
	avahiSays := func(v6, v4 string) func(t *testing.T) {
		return func(t *testing.T) {
			serveUnix(t, avahiSocket, '\n', func(question string) string {
				return map[string]string{"RESOLVE-HOSTNAME-IPV6 " + name: v6, "RESOLVE-HOSTNAME-IPV4 " + name: v4}[question]
			})
		}
	}
	const found = `{"parameters":{"addresses":[{"ifindex":999999,"family":2,"address":[192,0,2,5]},{"ifindex":999999,"family":10,"address":[254,128,0,0,0,0,0,0,0,0,0,0,0,0,0,1]}],"name":"umbrel.local","flags":1}}` + "\x00"
	none := func(*testing.T) {}
	for what, c := range map[string]struct {
		resolved, avahi func(*testing.T)
		want            []string
	}{
		"systemd-resolved":  {resolvedSays(found), none, []string{"fe80::1%999999", "192.0.2.5"}},
		"Avahi":             {none, avahiSays("+ 999999 1 umbrel.local fe80::2\n", "+ 2 0 umbrel.local 192.0.2.6\n"), []string{"fe80::2%999999", "192.0.2.6"}},
		"only IPv4":         {none, avahiSays("-15 Timeout reached\n", "+ 2 0 umbrel.local 192.0.2.6\n"), []string{"192.0.2.6"}},
		"an error":          {resolvedSays(`{"error":"io.systemd.Resolve.NoNameServers","parameters":{}}` + "\x00"), avahiSays("", "+ 2 0 umbrel.local 192.0.2.6\n"), []string{"192.0.2.6"}},
		"garbage":           {resolvedSays("\x01\x02\x00"), avahiSays("+\n", "+ 2 0 umbrel.local 192.0.2.6\n"), []string{"192.0.2.6"}},
		"garbage of both":   {resolvedSays("{}\x00"), avahiSays("+ x y z 1.2\n", "+ 2 0\n"), nil},
		"too much":          {resolvedSays(strings.Repeat(" ", maxAnswer) + found), none, nil},
		"cut off":           {resolvedSays(found[:40]), avahiSays("+ 2", ""), nil},
		"no address":        {resolvedSays(`{"parameters":{"addresses":[{"ifindex":2,"family":2,"address":[1,2,3]}]}}` + "\x00"), none, nil},
		"a number too high": {resolvedSays(`{"parameters":{"addresses":[{"ifindex":2,"family":2,"address":[1,2,3,999]}]}}` + "\x00"), none, nil},
	} {
		t.Run(what, func(t *testing.T) {
			asked := dnsServer(t, "192.0.2.1")
			c.resolved(t)
			c.avahi(t)
			ips, err := Lookup(t.Context(), name+".")
			var got []string
			for _, ip := range ips {
				got = append(got, ip.String())
			}
			if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
			if got := asked(); len(got) > 0 {
				t.Errorf("DNS queries for %q", got)
			}
		})
	}
}

// Other names that DNS does not know go to systemd-resolved only if nsswitch.conf lists it.
func TestNamesOfTheNameService(t *testing.T) {
	for conf, want := range map[string]bool{
		"":                           false,
		"hosts: files dns\n":         false,
		"#hosts: resolve\n":          false,
		"hosts: files dns # resolve": false,
		"passwd: resolve\nhosts: files mymachines resolve [!UNAVAIL=return] dns\n": true,
		" hosts:\tfiles resolve": true,
	} {
		dnsServer(t)
		os.WriteFile(nsswitch, []byte(conf), 0o600)
		serveUnix(t, resolvedSocket, 0, func(string) string {
			return `{"parameters":{"addresses":[{"ifindex":1,"family":2,"address":[192,0,2,9]}]}}` + "\x00"
		})
		for _, name := range []string{"container", "node.lan"} {
			if ips, err := Lookup(t.Context(), name); (err == nil) != want {
				t.Errorf("%q: %s: %v, %v", conf, name, ips, err)
			}
		}
	}
}

// A name with an escape is sent to no resolver: it would resolve another name, which rules
// about names did not see.
func TestEscapedNames(t *testing.T) {
	asked := dnsServer(t, "192.0.2.1")
	os.WriteFile(nsswitch, []byte("hosts: files resolve dns\n"), 0o600)
	serveUnix(t, resolvedSocket, 0, func(question string) string {
		t.Errorf("systemd-resolved received %q", question)
		return "{}\x00"
	})
	for _, name := range []string{`name.onio\110`, `name.onio\n`, `umbrel.loca\l`, `name\`, `\110ame.test.`} {
		var dns *net.DNSError
		if ips, err := Lookup(t.Context(), name); !errors.As(err, &dns) || !dns.IsNotFound || dns.Name != name {
			t.Errorf("%s: got %v, %v", name, ips, err)
		}
	}
	if got := asked(); len(got) > 0 {
		t.Errorf("DNS queries for %q", got)
	}
}

// Lookup returns the addresses of a name in random order, grouped by family.
func TestAnyAddress(t *testing.T) {
	var ips []string
	for i := range 25 {
		ips = append(ips, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String())
	}
	dnsServer(t, ips...)
	firsts := make(map[netip.Addr]bool)
	for range 32 {
		got, err := Lookup(t.Context(), "seed.example")
		if err != nil || len(got) != len(ips) {
			t.Fatalf("got %v, %v", got, err)
		}
		firsts[got[0]] = true
	}
	if len(firsts) < 5 {
		t.Errorf("in 32 lookups only these came first: %v", firsts)
	}
	six, four := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")
	for range 20 {
		if got := shuffled([]netip.Addr{six, six.Next(), four, four.Next()}); !got[0].Is6() || !got[1].Is6() || !got[2].Is4() || !got[3].Is4() {
			t.Errorf("got %v", got)
		}
	}
}

// nssHas finds the C library's sources of names in .local that only the C library can query.
func TestOtherSources(t *testing.T) {
	for conf, want := range map[string]bool{
		"hosts: files dns": false, "hosts: files mdns4_minimal [NOTFOUND=return] dns myhostname": false, "hosts: files resolve [!UNAVAIL=return] dns": false,
		"hosts: files fake dns": true, "hosts: files mymachines dns": true,
	} {
		dnsServer(t)
		os.WriteFile(nsswitch, []byte(conf), 0o600)
		if got := nssHas(isOtherSource); got != want {
			t.Errorf("%q: got %v", conf, got)
		}
	}
}

// Any answer yields addresses that can be dialled, or none.
func FuzzAnswers(f *testing.F) {
	for _, answer := range []string{"+ 2 0 umbrel.local 192.0.2.6", "+ 1 1 umbrel.local fe80::2%x", "-15 Timeout reached", "+ -1 1 a fe80::1", "{}",
		`{"parameters":{"addresses":[{"ifindex":1,"address":[192,0,2,5]},{"ifindex":-1,"address":[254,128,0,0,0,0,0,0,0,0,0,0,0,0,0,1]},{"address":"wAACBQ=="}]}}`, `{"error":"x"}`} {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		ips := resolvedAddresses([]byte(answer))
		if ip := avahiAddress(answer); ip != (netip.Addr{}) {
			ips = append(ips, ip)
		}
		for _, ip := range ips {
			if again, err := netip.ParseAddr(ip.String()); err != nil || again != ip || ip.Is4In6() || ip.Zone() != "" && !ip.IsLinkLocalUnicast() {
				t.Errorf("%q: got %v", answer, ip)
			}
		}
	})
}
