package socks

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseUpstream(t *testing.T) {
	long := strings.Repeat(long255, 17)
	pair := func(user, password string) *Credentials { return &Credentials{user, password} }
	for _, tt := range []struct {
		url              string
		network, address string
		credentials      *Credentials
		text             string // without the credentials
	}{
		{"socks5://127.0.0.1:9050", "tcp", "127.0.0.1:9050", nil, "socks5://127.0.0.1:9050"},
		{"socks5h://127.0.0.1:9050/", "tcp", "127.0.0.1:9050", nil, "socks5://127.0.0.1:9050"},
		{"SOCKS5://proxy.example:1", "tcp", "proxy.example:1", nil, "socks5://proxy.example:1"},
		{"socks5://[::1]:65535", "tcp", "[::1]:65535", nil, "socks5://[::1]:65535"},
		{"socks5://[fe80::1%25lo]:9050", "tcp", "[fe80::1%lo]:9050", nil, "socks5://[fe80::1%25lo]:9050"},
		{"socks5://[fe80::1%lo]:9050", "tcp", "[fe80::1%lo]:9050", nil, "socks5://[fe80::1%25lo]:9050"},
		{"socks5://u:p@[fe80::1%eth0]:9050/", "tcp", "[fe80::1%eth0]:9050", pair("u", "p"), "socks5://[fe80::1%25eth0]:9050"},
		{"socks5://u:p@h:09050", "tcp", "h:9050", pair("u", "p"), "socks5://h:9050"},
		{"socks5://u@h:1", "tcp", "h:1", pair("u", ""), "socks5://h:1"},
		{"socks5://:p@h:1", "tcp", "h:1", pair("", "p"), "socks5://h:1"},
		{"socks5://:@h:1", "tcp", "h:1", nil, "socks5://h:1"},
		{"socks5://@h:1", "tcp", "h:1", nil, "socks5://h:1"},
		{"socks5://a%3Ab%40:%2F%23%3f%00%ff@h:1", "tcp", "h:1", pair("a:b@", "/#?\x00\xff"), "socks5://h:1"},
		{"socks5://u:a:b@h:1", "tcp", "h:1", pair("u", "a:b"), "socks5://h:1"},
		{"socks5://u+v:p%20q@h:1", "tcp", "h:1", pair("u+v", "p q"), "socks5://h:1"},
		{"socks5://" + long + ":" + long + "@h:1", "tcp", "h:1", pair(long, long), "socks5://h:1"},
		{"socks5+unix:///run/tor/socks", "unix", "/run/tor/socks", nil, "socks5+unix:///run/tor/socks"},
		{"socks5+unix://u:p@/a%20b%23", "unix", "/a b#", pair("u", "p"), "socks5+unix:///a%20b%23"},
	} {
		up, err := ParseUpstream(tt.url)
		if err != nil {
			t.Errorf("%s: got %v", tt.url, err)
			continue
		}
		if up.Network != tt.network || up.Address != tt.address || up.String() != tt.text {
			t.Errorf("%s: got %s %s, prints as %s", tt.url, up.Network, up.Address, up)
		}
		if got := up.Credentials; (got == nil) != (tt.credentials == nil) || got != nil && *got != *tt.credentials {
			t.Errorf("%s: credentials %q", tt.url, got.Username)
		}
		if again, err := ParseUpstream(up.String()); err != nil || again.Address != up.Address {
			t.Errorf("%s does not parse again: %v", up, err)
		}
	}
}

func TestParseUpstreamErrors(t *testing.T) {
	long := strings.Repeat("s3cret", 43)
	for url, text := range map[string]string{
		"":                               "socks5://host:port",
		"127.0.0.1:9050":                 "socks5://host:port",
		"h:9050":                         "socks5://host:port",
		"s3cret:s3cret@h:9050":           "socks5://host:port",
		"socks5:h:9050":                  "socks5://host:port",
		"socks5:u:s3cret@h:9050":         "socks5://host:port",
		"socks4://h:9050":                "socks5://host:port",
		"http://u:s3cret@h:9050":         "socks5://host:port",
		"unix:///run/tor/socks":          "socks5+unix:///path/of/socket",
		"socks5://h":                     "needs a port",
		"socks5://u:s3cret@h":            "needs a port",
		"socks5://h:":                    "needs a port",
		"socks5://h:0":                   "needs a port",
		"socks5://h:65536":               "needs a port",
		"socks5://h:x":                   "socks5://host:port",
		"socks5://h:-1":                  "socks5://host:port",
		"socks5://:9050":                 "needs a host",
		"socks5://u:s3cret@:9050":        "needs a host",
		"socks5://":                      "needs a host",
		"socks5:///run/tor/socks":        "socks5://host:port",
		"socks5://::1:9050":              "[::1]",
		"socks5://a b:9050":              "socks5://host:port",
		"socks5://[zz]:9050":             "socks5://host:port",
		"socks5://h:1/path":              "socks5://host:port",
		"socks5://h:1?timeout=1":         "socks5://host:port",
		"socks5://h:1?":                  "socks5://host:port",
		"socks5://h:1#x":                 "socks5://host:port",
		"socks5://u:s3cret#s3cret@h:1":   "percent-encoding",
		"socks5://u:s3cret?s3cret@h:1":   "percent-encoding",
		"socks5://u:1/s3cret@h:1":        "percent-encoding",
		"socks5://u:s3cret%zz@h:1":       "percent-encoding",
		"socks5://u:s3cret%2@h:1":        "percent-encoding",
		"socks5://u:s3cret\x00@h:1":      "percent-encoding",
		"socks5://u:" + long + "@h:1":    "255 bytes",
		"socks5://" + long + ":p@h:1":    "255 bytes",
		"socks5+unix://run/tor/socks":    "absolute path",
		"socks5+unix://u:s3cret@run/tor": "absolute path",
		"socks5+unix:///":                "absolute path",
		"socks5+unix://":                 "absolute path",
		"socks5+unix:run/tor/socks":      "socks5+unix:///path/of/socket",
		"socks5+unix:///a%00b":           "absolute path",
	} {
		up, err := ParseUpstream(url)
		if up != nil || err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v, error %v, want %q in it", url, up, err, text)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: error %q shows the password", url, err)
		}
	}
}

func TestParseDest(t *testing.T) {
	long := strings.Repeat(long255, 17)
	for dest, want := range map[string]Addr{
		"1.2.3.4:8333":          addr("1.2.3.4", 8333),
		"[2001:DB8:0::1]:8333":  addr("2001:db8::1", 8333),
		"[::ffff:1.2.3.4]:8333": addr("1.2.3.4", 8333),
		"host.example.:65535":   addr("host.example.", 65535),
		long + ":1":             addr(long, 1),
		long + "x:1":            {},
		"":                      {},
		":1":                    {},
		"host":                  {},
		"host:":                 {},
		"host:0":                {},
		"host:65536":            {},
		"host:http":             {},
		"host:+1":               {},
		"2001:db8::1:8333":      {},
		"[fe80::1%lo]:1":        {Host: "fe80::1%lo", IP: netip.MustParseAddr("fe80::1%lo"), Port: 1},
		"[2001:db8::1%lo]:1":    {},
		"[fe80::1%a b]:1":       {},
		"[fe80::1%]:1":          {},
		"[host:1]:1":            {},
		"a b:1":                 {},
		"a\x00b:1":              {},
	} {
		got, err := ParseAddr(dest)
		if got != want || (err == nil) != (want != Addr{}) {
			t.Errorf("%q: got %v, %v, want %v", dest, got, err, want)
		}
	}
}
