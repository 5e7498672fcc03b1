package settings

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"bip324proxy/internal/listen"
	"bip324proxy/socks"
)

// Settings that would overflow an int are invalid, whether it has 32 or 64 bits.
func TestSettingsFitAnInt(t *testing.T) {
	for _, c := range []struct {
		name, value string
		fits        bool
	}{
		{"message-memory", "7", false},
		{"message-memory", "8", true},
		{"message-memory", "2047", true},
		{"message-memory", "2048", strconv.IntSize == 64},
		{"message-memory", "4104", strconv.IntSize == 64}, // 8 MiB in the low 32 bits
		{"message-memory", "1048576", strconv.IntSize == 64},
		{"message-memory", "1048577", false},
		{"message-memory", "4294967304", false}, // 8 in the low 32 bits
		{"max-sessions", "1000000", true},
		{"max-sessions", "1000001", false},
		{"max-sessions", "715827883", false}, // times six
	} {
		s := defaults()
		if err := lookUp(c.name).set(s, []string{c.value}); err != nil {
			t.Fatal(err)
		}
		err := s.check()
		if (err == nil) != c.fits {
			t.Errorf("%s %s: %v", c.name, c.value, err)
		}
		if err == nil && (s.MessageMemory<<20 <= 0 || 6*s.Sessions() <= 0) {
			t.Errorf("%s %s: got %d bytes, %d sessions", c.name, c.value, s.MessageMemory<<20, s.Sessions())
		}
	}
}

// FuzzAuthFile checks that the credentials from any --auth-file are its first line and can be sent
// in SOCKS, and that errors do not show them.
func FuzzAuthFile(f *testing.F) {
	for _, s := range []string{"", "\n", "user:password\n", "user:pass:word\r\nmore\n", ":", "user:", ":password", "no colon",
		"user:" + strings.Repeat("p", 256), strings.Repeat("x", 3_000), "\xff\x00:\x00", "\xef\xbb\xbfuser:password\r\n",
		"\xff\xfeu\x00:\x00p\x00\r\x00\n\x00", "\xfe\xff\x00u\x00:\x00p\xd8\x00", "\xff\xfe", "\xff\xfe\x00", "u:p\rmore"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		text, err := decodeText("FILE", []byte(content))
		pair := firstLine(text)
		var c *socks.Credentials
		if err == nil {
			c, err = parseCredentials(pair)
		}
		if err != nil {
			if pair != "" && len(content) > 3 && strings.Contains(err.Error(), content) {
				t.Errorf("the error shows the file: %v", err)
			}
			return
		}
		if len(c.Username) == 0 || len(c.Username) > 255 || len(c.Password) > 255 || strings.Contains(c.Username, ":") {
			t.Errorf("%q: user name of %d bytes, password of %d", content, len(c.Username), len(c.Password))
		}
		line := c.Username + ":" + c.Password
		if rest, ok := strings.CutPrefix(text, line); !ok || rest != "" && rest[0] != '\r' && rest[0] != '\n' {
			t.Errorf("%q: got %q", content, line)
		}
	})
}

// FuzzListenSpec checks that any --peer or --listen opens a listener or is an error, and that a
// loopback address is never public.
func FuzzListenSpec(f *testing.F) {
	for _, s := range []string{"127.0.0.1:0=node.example:8333", "127.0.0.1:0", "[::1]:0=[2001:db8::1]:8333", "unix:", "0.0.0.0:0=a:1", "=", ":0=:0",
		"127.0.0.1:0=node.example", "localhost:0=a:1", "127.1:0=a:1", "127.0.0.1:99999=a:1", "[::ffff:127.0.0.1]:0=a:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec, peer, err := splitPeer(text)
		if err == nil {
			if spec+"="+peer != text {
				t.Errorf("%q: split into %q and %q", text, spec, peer)
			}
			if _, err := socks.ParseAddr(peer); err != nil {
				t.Errorf("%q: got %v", text, err)
			}
		} else {
			spec = text
		}
		host, port, err := net.SplitHostPort(spec)
		if strings.HasPrefix(spec, "unix:") || err == nil && (port != "0" || net.ParseIP(host) == nil) {
			return // leave no file behind, use no fixed port, look up no name
		}
		l, err := listen.Open(spec)
		if err != nil {
			if host == "" && !errors.As(err, new(*listen.SpecError)) {
				t.Errorf("%q: got %v", spec, err)
			}
			return
		}
		defer l.Close()
		if ip := net.ParseIP(host); ip.IsLoopback() != listen.IsLocal(l.Addr()) {
			t.Errorf("%q: listens on %v", spec, l.Addr())
		}
	})
}

// --connect-timeout applies to direct connections, and to the one to the upstream proxy, but not to
// that proxy's connections.
func TestConnectTimeout(t *testing.T) {
	for value, valid := range map[string]bool{"1s": true, "5s": true, "60s": true, "1m": true, "999ms": false, "61s": false, "0s": false, "-5s": false} {
		for _, upstream := range []string{"", "socks5://127.0.0.1:9050"} {
			s := defaults()
			if err := lookUp("connect-timeout").set(s, []string{value}); err != nil {
				t.Fatal(err)
			}
			s.upstream = nil
			if upstream != "" {
				s.upstream = []string{upstream}
			}
			if err := s.check(); (err == nil) != valid {
				t.Errorf("%s: got %v", value, err)
			}
			if !valid {
				continue
			}
			want, direct := s.ConnectTimeout, s.Policy.Dialer.DialTimeout
			if upstream != "" {
				through, err := s.Policy.DialerTo(socks.Addr{Host: "node.example", Port: 8333}, socks.Credentials{}, false)
				if got := s.Policy.Upstream.ConnectTimeout; got != want || err != nil || through.DialTimeout != 0 {
					t.Errorf("%s: timeout of the upstream proxy %v, of a connection through it %v, %v", value, got, through.DialTimeout, err)
				}
			}
			if direct != want {
				t.Errorf("%s: timeout of a direct connection %v", value, direct)
			}
		}
	}
}
