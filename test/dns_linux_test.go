package test

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// A DNS server that does not answer, or not for IPv6, does not make lookups fail; check says which server it is.
func TestDeadNameserver(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	const resolve = 0xf0
	for _, c := range []struct {
		name    string
		servers map[string]func(bool) bool
		order   []string
		code    byte
		within  time.Duration
		check   string // check's text about the servers
	}{
		{"the first is dead", map[string]func(bool) bool{"127.0.0.52": always, "127.0.0.53": never}, []string{"127.0.0.52", "127.0.0.53"},
			0, 9 * time.Second, "the DNS server 127.0.0.52 did not answer"},
		{"the first is not there", map[string]func(bool) bool{"127.0.0.53": never}, []string{"127.0.0.52", "127.0.0.53"}, 0, 4 * time.Second, ""},
		{"no answer for IPv6", map[string]func(bool) bool{"127.0.0.53": func(ipv6 bool) bool { return ipv6 }}, []string{"127.0.0.53"}, 0, 4 * time.Second, ""},
		{"all are dead", map[string]func(bool) bool{"127.0.0.52": always, "127.0.0.53": always}, []string{"127.0.0.52", "127.0.0.53"},
			4, 25 * time.Second, "the DNS servers 127.0.0.52 and 127.0.0.53 did not answer"},
	} {
		if c.code != 0 && !long { // each takes 20 s
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			useNameservers(t, c.order...)
			for addr, silent := range c.servers {
				serveDNS(t, addr, silent)
			}
			peer := listen(t, hostile.NodeOn(regtestMagic, "/node:1/"))
			_, port, _ := net.SplitHostPort(peer)
			p := startProxy(t)
			within(t, c.within, "CONNECT", func() {
				if code, _ := askByName(t, p.addr, 1, "node.example", port); code != c.code {
					t.Errorf("reply %d, want %d", code, c.code)
				}
			})
			within(t, c.within, "RESOLVE", func() {
				code, ip := askByName(t, p.addr, resolve, "node.example", "0")
				if code != c.code || code == 0 && !bytes.Equal(ip, []byte{127, 0, 0, 1}) {
					t.Errorf("RESOLVE: reply %d, %v; want %d", code, ip, c.code)
				}
			})
			_, stdout, stderr := run(t, "check", "--network", "regtest", "node.example:"+port)
			t.Logf("check:\n%s%s", stdout, stderr)
			flat := strings.Join(strings.Fields(stdout), " ")
			if c.check != "" && !strings.Contains(flat, c.check) || c.check == "" && strings.Contains(flat, "DNS server 1") {
				t.Errorf("check does not say exactly %q", c.check)
			}
			if c.code == 0 && !strings.Contains(flat, "handshake complete") {
				t.Error("check does not reach the peer")
			}
		})
	}
}
