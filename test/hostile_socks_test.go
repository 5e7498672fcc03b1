package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"bip324proxy/test/hostile"
)

// socksCase is what a client sends to the SOCKS port, the complete answer, and the reason of the refusal.
type socksCase struct {
	name   string
	says   []byte
	answer []byte
	why    string
}

// reply returns a SOCKS reply with that code.
func reply(code byte) []byte { return []byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0} }

var (
	noAuth   = []byte{5, 0}
	userPass = []byte{5, 2}
	noMethod = []byte{5, 0xff}
)

const incomplete = "the client closed the connection in the middle of it"

// socksCases breaks every rule of RFC 1928 and RFC 1929.
func socksCases() []socksCase {
	return slices.Concat(greetingCases(), authCases(), requestCases())
}

func greetingCases() []socksCase {
	methods := func(all ...byte) []byte { return append([]byte{5, byte(len(all))}, all...) }
	of255 := func(last byte) []byte {
		all := bytes.Repeat([]byte{0x80}, 255)
		all[254] = last
		return methods(all...)
	}
	nowhere := slices.Clone(version.payload)
	clear(nowhere[28:46]) // addr_recv's address and port
	return []socksCase{
		{"nothing", nil, nil, "without sending anything"},
		{"SOCKS4", []byte("\x04\x01\x20\x8d\x7f\x00\x00\x01\x00"), nil, "speaks SOCKS4"},
		{"SOCKS4a", []byte("\x04\x01\x20\x8d\x00\x00\x00\x01\x00node.example\x00"), nil, "speaks SOCKS4"},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: 127.0.0.1:1324\r\n\r\n"), nil, "speaks HTTP"},
		{"HTTP CONNECT", []byte("CONNECT node.example:8333 HTTP/1.1\r\n\r\n"), nil, "speaks HTTP"},
		{"TLS", append([]byte{0x16, 3, 1, 2, 0, 1}, junk[:500]...), nil, "speaks TLS"},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.9\r\n"), nil, "does not speak SOCKS5"},
		{"noise", append([]byte{0xee}, junk...), nil, "does not speak SOCKS5"},
		{"v1 of no destination", hostile.V1(version.name, nowhere), nil, "speaks v1 without SOCKS"},
		{"no methods", methods(), noMethod, "offers only the authentication methods []"},
		{"GSSAPI only", methods(1), noMethod, "offers only the authentication methods [01]"},
		{"255 methods and none that will do", of255(0xfe), noMethod, "offers only the authentication methods"},
		{"255 methods, the last will do", of255(0), noAuth, incomplete},
		{"no acceptable method, offered", methods(0xff), noMethod, "offers only the authentication methods [ff]"},
	}
}

func authCases() (all []socksCase) {
	offer := []byte{5, 1, 2}
	good := slices.Concat(offer, []byte("\x01\x04user\x08password"))
	for n := 1; n <= len(good); n++ {
		answer := []byte{}
		if n >= len(offer) {
			answer = append(answer, userPass...)
		}
		if n == len(good) {
			answer = append(answer, 1, 0)
		}
		all = append(all, socksCase{fmt.Sprintf("%d bytes of greeting and password", n), good[:n], answer, incomplete})
	}
	ok := slices.Concat(userPass, []byte{1, 0})
	for name, auth := range map[string]string{
		"empty": "\x01\x00\x00", "no password": "\x01\x04user\x00", "no user": "\x01\x00\x04pass",
		"of 255 bytes": "\x01\xff" + strings.Repeat("u", 255) + "\xff" + strings.Repeat("p", 255), "binary": "\x01\x02\x00\xff\x02\n\x00",
	} {
		all = append(all, socksCase{"user and password " + name, append(slices.Clone(offer), auth...), ok, incomplete})
	}
	return append(all,
		socksCase{"password of version 5", append(slices.Clone(offer), 5, 1, 'u', 1, 'p'), slices.Concat(userPass, []byte{1, 1}), "did not send them"},
		socksCase{"request instead of a password", slices.Concat(offer, hostile.Request(1, "node.example:8333")), slices.Concat(userPass, []byte{1, 1}), "did not send them"},
		socksCase{"password unasked", slices.Concat(hostile.Greeting, []byte("\x01\x01u\x01p")), slices.Concat(noAuth, []byte{1, 0}), incomplete},
		socksCase{"password before the greeting", []byte("\x01\x01u\x01p"), nil, "does not speak SOCKS5"},
	)
}

func requestCases() (all []socksCase) {
	const dest = "node.invalid:8333"
	add := func(name string, request []byte, code byte, why string) {
		c := socksCase{"request: " + name, slices.Concat(hostile.Greeting, request), slices.Clone(noAuth), why}
		if code > 0 {
			c.answer = append(c.answer, reply(code)...)
		}
		all = append(all, c)
	}
	good := hostile.Request(1, dest)
	for n := range len(good) {
		add(fmt.Sprintf("%d bytes", n), good[:n], 0, incomplete)
	}
	for command := range 256 {
		if command != 1 && command != 0xf0 && (command < 8 || command > 0xec) {
			add(fmt.Sprintf("command %d", command), hostile.Request(byte(command), dest), 7, "only CONNECT")
		}
	}
	with := func(at int, b byte) []byte { r := slices.Clone(good); r[at] = b; return r }
	for _, atyp := range []byte{0, 2, 5, 0x80, 0xff} {
		add(fmt.Sprintf("address type %d", atyp), with(3, atyp), 8, "unknown address type")
	}
	for _, v := range []byte{0, 1, 4, 6, 0xff} {
		if v != 1 { // a password that was not requested
			add(fmt.Sprintf("version %d", v), with(0, v), 1, "not 0x05")
		}
	}
	add("port 0", hostile.Request(1, "node.invalid:0"), 1, "port 0")
	named := func(name string) []byte {
		return slices.Concat([]byte{5, 1, 0, 3, byte(len(name))}, []byte(name), []byte{0x20, 0x8d})
	}
	for _, name := range []string{"", "\x00", "a\x00b", " ", "a b", "a\nb", "a\x7f", "caf\xc3\xa9", "\xff", "a:1", "[::1", "[127.0.0.1]",
		"node\r\nlevel=INFO", strings.Repeat("\x01", 255)} {
		add(fmt.Sprintf("name %q", name), named(name), 1, "neither a name nor an address")
	}
	for _, name := range []string{"abcdefgh.onion", "ABCDEFGH.ONION.", "abcdefgh.b32.i2p"} {
		add(name, named(name), 4, "Tor and I2P addresses cannot be reached")
	}
	return all
}

// Each case is sent to the program in one segment and byte by byte: the answer is the same, byte for byte, and nothing
// is dialled.
func TestHostileSocksClient(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	cases := socksCases()
	each(2*len(cases), 8, func(i int) {
		c, atOnce := cases[i/2], i%2 == 0
		client, err := hostile.Dial(u.addr, patience)
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		if atOnce {
			client.Write(c.says)
		} else {
			for b := range slices.Chunk(c.says, 1) {
				if _, err := client.Write(b); err != nil {
					break // refused already
				}
			}
		}
		client.CloseWrite()
		got, err := io.ReadAll(client)
		if end := endingOf(err); end == open || !bytes.Equal(got, c.answer) {
			t.Errorf("%s: got answer % x, %v; want % x", c.name, got, end, c.answer)
		}
		client.Close()
		if e := u.end(t, client.LocalAddr()); e.Msg != refused || !strings.Contains(e.Reason, c.why) {
			t.Errorf("%s: got %s, %q; want %q", c.name, e.Msg, e.Reason, c.why)
		} else if e.Dest != "" && !strings.Contains(c.why, "Tor and I2P") {
			t.Errorf("%s: %s was dialled", c.name, e.Dest)
		}
	})
	t.Logf("%d cases", 2*len(cases))
	u.requireFreed(t)
}

// Valid requests: every form of a destination leads to the same connection.
func TestSocksDestinations(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Logf("not run: IPv6: %v", err)
	} else {
		l.Close()
		for name, request := range map[string]func(port []byte) []byte{
			"IPv6":                     func(p []byte) []byte { return slices.Concat([]byte{5, 1, 0, 4}, net.IPv6loopback, p) },
			"IPv6 as a name":           func(p []byte) []byte { return slices.Concat([]byte("\x05\x01\x00\x03\x03::1"), p) },
			"IPv6 as a name, brackets": func(p []byte) []byte { return slices.Concat([]byte("\x05\x01\x00\x03\x05[::1]"), p) },
		} {
			echoThrough(t, u, "[::1]:0", name, request)
		}
	}
	for name, request := range map[string]func(port []byte) []byte{
		"IPv4":                    func(p []byte) []byte { return slices.Concat([]byte{5, 1, 0, 1, 127, 0, 0, 1}, p) },
		"IPv4 as a name":          func(p []byte) []byte { return slices.Concat([]byte("\x05\x01\x00\x03\x09127.0.0.1"), p) },
		"IPv4 in IPv6":            func(p []byte) []byte { return slices.Concat([]byte{5, 1, 0, 4}, net.IPv4(127, 0, 0, 1).To16(), p) },
		"IPv4 in IPv6 as a name":  func(p []byte) []byte { return slices.Concat([]byte("\x05\x01\x00\x03\x10::ffff:127.0.0.1"), p) },
		"reserved byte not zero":  func(p []byte) []byte { return slices.Concat([]byte{5, 1, 0xff, 1, 127, 0, 0, 1}, p) },
		"IPv4 in IPv6, brackets":  func(p []byte) []byte { return slices.Concat([]byte("\x05\x01\x00\x03\x12[::ffff:127.0.0.1]"), p) },
		"a name that is resolved": func(p []byte) []byte { return slices.Concat([]byte("\x05\x01\x00\x03\x09localhost"), p) },
	} {
		echoThrough(t, u, "127.0.0.1:0", name, request)
	}
}

// echoThrough connects a client to an echo server at addr, with its data pipelined behind the request.
func echoThrough(t *testing.T, u *under, addr, name string, request func(port []byte) []byte) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if nc, err := l.Accept(); err == nil {
			io.Copy(nc, nc)
			nc.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	client, err := hostile.Dial(u.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Write(slices.Concat(hostile.Greeting, request([]byte{byte(port >> 8), byte(port)}), []byte("\x16hello")))
	client.CloseWrite()
	got, _ := io.ReadAll(client)
	if want := slices.Concat(noAuth, reply(0), []byte("\x16hello")); !bytes.Equal(got, want) {
		t.Errorf("%s: got % x, want % x", name, got, want)
	}
}
