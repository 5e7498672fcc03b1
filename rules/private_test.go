package rules

import (
	"net/netip"
	"strings"
	"testing"
)

// The test has both of IANA's special-purpose address registries, row by row, and the addresses
// that embed IPv4.
func TestIsPrivate(t *testing.T) {
	for want, all := range map[bool]string{
		true: `0.0.0.0 0.1.2.3 10.1.2.3 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255
			192.0.0.0 192.0.0.7 192.0.0.8 192.0.0.170 192.0.0.171 192.0.2.1 192.88.99.1 192.88.99.2 192.168.1.1
			198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255

			:: ::1 ::10.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:192.168.0.1 ::ffff:203.0.113.7
			::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8
			64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::cb00:7101 64:ff9b:1::1 64:ff9b:1::808:808 64:ff9b:1:ffff:ffff:ffff:ffff:ffff
			100::1 100:0:0:1::1 1::1
			2001::1 2001:0:a00:1::f7f7:f7f7 2001:0:808:808::f5ff:fffe 2001:1::4 2001:2::1 2001:4::1 2001:10::1 2001:1f:ffff::1 2001:40::1 2001:1ff::1
			2001:db8::1 2001:db8:ffff::1
			2002:7f00:1:: 2002:c0a8:101::1 2002:cb00:7101::
			2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:127.0.0.1 2002:808:808::5efe:10.0.0.1
			3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd12::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1`,
		false: `1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1 192.0.0.9 192.0.0.10 192.0.1.1 192.0.3.1 192.31.196.1 192.52.193.1
			192.88.98.1 192.88.100.1 192.175.48.1 198.17.255.255 198.20.0.1 198.51.99.1 198.51.101.1 203.0.112.1 203.0.114.1 223.255.255.255

			::ffff:8.8.8.8 64:ff9b::808:808 2001:0:808:808::f7f7:f7f7 2002:808:808::1
			2001:1::1 2001:1::2 2001:1::3 2001:3::1 2001:4:112::1 2001:20::1 2001:2f::1 2001:30::1 2001:200::1 2001:db7::1 2001:db9::1
			2606:4700::1111 2606:4700::5efe:8.8.8.8 2606:4700::200:5efe:8.8.8.8 2620:4f:8000::1 3ffe::1`,
	} {
		for _, ip := range strings.Fields(all) {
			if got := IsPrivate(netip.MustParseAddr(ip)); got != want {
				t.Errorf("%s: got %v, want %v", ip, got, want)
			}
		}
	}
}

// A rule against an IPv4 address applies to all addresses that embed it.
func TestRulesForEmbedded(t *testing.T) {
	for _, ip := range strings.Fields(`8.8.4.4 ::ffff:8.8.4.4 ::8.8.4.4 ::ffff:0:8.8.4.4 64:ff9b::8.8.4.4 2002:808:404::1
		64:ff9b:1::8.8.4.4 64:ff9b:1:808:4:400:: 64:ff9b:1:0008:0008:0404:: 64:ff9b:1:0:8:804:400:0 64:ff9b:1:fffe::8.8.4.4
		2001:0:808:404::1 2001:0:101:101::f7f7:fbfb 2606:4700::5efe:8.8.4.4 2606:4700:1:2:200:5efe:8.8.4.4 fe80::5efe:8.8.4.4`) {
		addr := netip.MustParseAddr(ip)
		for deny, denied := range map[string]bool{"8.8.4.4": true, "8.8.4.0/24:8333": true, "8.8.5.0/24": false} {
			rules := mustRules(t, "", deny)
			if err := rules.CheckAddr(addr, 8333, false); (err != nil) != denied {
				t.Errorf("--deny %s: %s: %v", deny, ip, err)
			}
		}
	}
}
