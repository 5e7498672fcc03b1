package socks

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// FuzzUpstreamReply compares the client's handling of any bytes of an upstream proxy with a model
// that works by index.
func FuzzUpstreamReply(f *testing.F) {
	for _, tt := range granted() {
		f.Add(unhex(tt.answers+bitcoinV1), byte(1), !tt.pair.isZero(), tt.command == CommandResolve)
	}
	for _, in := range []string{"", "05ff", "0502 0101", "0500 0504 0000 00000000 0000", "0500 05f0", "0500 05000000", "0500 05000003 00 0000", "0502 0500", "0400"} {
		f.Add(unhex(in), byte(0), false, false)
		f.Add(unhex(in), byte(0), true, true)
	}
	f.Fuzz(func(t *testing.T, in []byte, size byte, auth, resolve bool) {
		var pair Credentials
		command, dest, request := CommandConnect, "host:8333", unhex(toHost)
		if auth {
			pair = Credentials{"u", "p"}
		}
		if resolve {
			command, dest, request = CommandResolve, "host", unhex("05f00003 04'host' 0000")
		}
		want := upstreamModel(in, auth, resolve)
		tp := play(in, int(size))
		bound, err := ask(tp, command, dest, pair)

		if used := len(in) - len(bytes.Join(tp.segments, nil)); used > want.used || want.ok && used != want.used {
			t.Errorf("read %d bytes, the conversation has %d", used, want.used)
		}
		if asked := len(tp.writes) > 0 && bytes.Equal(tp.writes[len(tp.writes)-1], request); asked != want.asked {
			t.Errorf("sent %x, made the request: %v", tp.writes, asked)
		}
		if want.ok {
			if err != nil || bound != want.bound {
				t.Errorf("got %v, %v, want %v", bound, err, want.bound)
			}
			return
		}
		var uerr *UpstreamError
		if !errors.As(err, &uerr) || bound.IsValid() {
			t.Fatalf("got %v, error %#v", bound, err)
		}
		if uerr.Code != want.code || (uerr.Err == nil) != (want.code != 0) || (uerr.Err == io.ErrUnexpectedEOF) != want.short {
			t.Errorf("error %v with code %v, want %v, short: %v", uerr.Err, uerr.Code, want.code, want.short)
		}
		if reply := CodeOf(err); reply == Succeeded || reply > AddressTypeNotSupported || err.Error() == "" {
			t.Errorf("reply to the client %v for %v", reply, err)
		}
	})
}

// upstream is the expected outcome for an upstream proxy's bytes.
type upstream struct {
	used             int  // the most that may be read
	asked, ok, short bool // the request was sent; granted; the proxy ended within an answer
	code             ReplyCode
	bound            netip.Addr
}

func upstreamModel(in []byte, auth, resolve bool) (m upstream) {
	// has takes the next n bytes and reports whether they are there.
	has := func(n int) bool {
		m.short = len(in) < m.used+n
		m.used = min(m.used+n, len(in))
		return !m.short
	}
	method := byte(0)
	if auth {
		method = 2
	}
	if !has(2) || in[0] != 5 || in[1] != method {
		return m
	}
	if auth && (!has(2) || in[2] != 1 || in[3] != 0) {
		return m
	}
	m.asked = true
	reply := in[m.used:]
	if !has(2) || reply[0] != 5 {
		return m
	}
	if m.code = ReplyCode(reply[1]); m.code != 0 {
		return m
	}
	if !has(3) || reply[2] != 0 {
		return m
	}
	end := map[byte]int{1: 8, 3: 5 + int(reply[4]), 4: 20}[reply[3]]
	if end == 0 || !has(end+2-5) {
		return m
	}
	m.bound, _ = netip.AddrFromSlice(reply[4:end])
	if reply[3] == 3 {
		m.bound = netip.Addr{}
	}
	m.bound = m.bound.Unmap()
	m.ok = !resolve || reply[3] != 3
	return m
}

// Any --upstream gives a proxy that can be dialled and whose URL parses as the same proxy, or an
// error that shows none of it.
func FuzzParseUpstream(f *testing.F) {
	for _, s := range []string{"socks5://127.0.0.1:9050", "socks5h://user:pass@[::1]:9050/", "socks5+unix:///run/tor/socks", "socks5://u%23:p%40@tor.example:1",
		"socks5+unix://user:password@/run/s", "socks5://", "127.0.0.1:9050", "socks5://user:secret@", "socks5://host:0", "socks5://[fe80::1%25eth0]:9050"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rawURL string) {
		u, err := ParseUpstream(rawURL)
		if err != nil {
			if len(rawURL) > 20 && strings.Contains(err.Error(), rawURL) {
				t.Errorf("the error shows the URL: %v", err)
			}
			return
		}
		if c := u.Credentials; c != nil && (c.isZero() || len(c.Username) > maxField || len(c.Password) > maxField) {
			t.Errorf("%q has credentials of %d and %d bytes", rawURL, len(c.Username), len(c.Password))
		}
		switch u.Network {
		case "tcp":
			host, port, err := net.SplitHostPort(u.Address)
			if n, _ := strconv.Atoi(port); err != nil || (!literal(host).IsValid() && !validName(host)) || n < 1 || n > 65535 {
				t.Errorf("%q: address %q", rawURL, u.Address)
			}
		case "unix":
			if !strings.HasPrefix(u.Address, "/") || strings.Contains(u.Address, "\x00") {
				t.Errorf("%q: address %q", rawURL, u.Address)
			}
		default:
			t.Errorf("%q: network %q", rawURL, u.Network)
		}
		if strings.Contains(u.Address, "%") {
			return // String omits a zone
		}
		if again, err := ParseUpstream(u.String()); err != nil || again.Address != u.Address || again.Network != u.Network {
			t.Errorf("%q prints as %s, which parses as %v, %v", rawURL, u, again, err)
		}
	})
}
