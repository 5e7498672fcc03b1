package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// versionTo returns the payload of a VERSION with that addr_recv.
func versionTo(ip string, port uint16) []byte {
	b := bytes.Clone(version)
	as16 := netip.MustParseAddr(ip).As16() // IPv4 in its mapped form, as in the protocol
	copy(b[28:], as16[:])
	b[44], b[45] = byte(port>>8), byte(port)
	return b
}

// v2Recorder makes dest speak v2 and send all that it received, per connection.
func (e *env) v2Recorder(dest string) <-chan []string {
	got := make(chan []string, 4)
	e.net.peer(dest, v2Peer(func(c *transport.Conn) {
		var all []string
		for {
			contents, err := c.ReadPacket()
			if err != nil {
				break
			}
			all = append(all, string(contents))
			if len(all) == 1 { // so that the client knows that the session is open
				c.WritePacket([]byte(longContents("verack", nil)))
			}
		}
		got <- all
	}))
	return got
}

// leave ends a client of a v2Recorder, once that has answered.
func leave(t *testing.T, client net.Conn) {
	t.Helper()
	if name, _, err := readV1(client); name != "verack" || err != nil {
		t.Errorf("the peer sent %q, %v", name, err)
	}
	hangUp(client)
	client.Close()
}

// longContents returns the contents of a v2 packet with a message without a short id.
func longContents(name string, payload []byte) string {
	return "\x00" + name + strings.Repeat("\x00", 12-len(name)) + string(payload)
}

// A client without SOCKS is connected to its VERSION's addr_recv, and that VERSION is forwarded
// unchanged and once.
func TestRedirect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ip   string
		port uint16
		dest string
	}{
		{"192.0.2.7", 8333, "192.0.2.7:8333"},
		{"::ffff:192.0.2.7", 8333, "192.0.2.7:8333"},
		{"2001:db8::7", 8333, "[2001:db8::7]:8333"},
		{"fc00::7", 1, "[fc00::7]:1"},
		{"127.0.0.2", 65535, "127.0.0.2:65535"},
	} {
		said := versionTo(c.ip, c.port)
		wire := slices.Concat(v1Message(mainnet, "version", said), v1Message(mainnet, "verack", nil))
		for _, step := range []int{1, 24, 24 + 45, len(wire)} {
			t.Run(fmt.Sprintf("%s/%d/in steps of %d", c.ip, c.port, step), func(t *testing.T) {
				e := start(t, &proxy.Server{})
				e.net.tap = true
				got := e.v2Recorder(c.dest)
				client := e.dial()
				for part := range slices.Chunk(wire, step) {
					client.Write(part)
				}
				leave(t, client)
				want := []string{longContents("version", said), longContents("verack", nil)}
				if all := receive(t, got, "the peer"); !slices.Equal(all, want) {
					t.Errorf("the peer received %q, want %q", all, want)
				}
				end := e.wantEnd(client, "closed", "the client closed the connection")
				wantAttrs(t, end, logLine{"dest": c.dest, "transport": "v2", "messages_to_peer": 2.0})
				if n := e.net.dialled(c.dest); n != 1 {
					t.Errorf("dialled %d times, want 1", n)
				}
				wantNoPlaintext(t, c.dest, bytes.Join(e.net.sent(c.dest)[0], nil))
			})
		}
	}
}

// Unusable addresses are not dialled.
func TestRedirectRefused(t *testing.T) {
	t.Parallel()
	dials := make(chan string, 100)
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		dials <- addr
		return nil, io.ErrNoProgress
	}}}})
	own := netip.MustParseAddrPort(e.addr)
	other := netip.MustParseAddrPort(e.serveAnother()) // another of its listeners
	for _, c := range []struct {
		ip   string
		port uint16
		why  string
	}{
		{"0.0.0.0", 8333, "0.0.0.0:8333, is not a valid destination"},
		{"::", 8333, "[::]:8333, is not a valid destination"},
		{"::", 0, "[::]:0, is not a valid destination"},
		{"192.0.2.7", 0, "192.0.2.7:0, is not a valid destination"},
		{"224.0.0.1", 8333, "224.0.0.1:8333, is not a single host's"},
		{"239.255.255.255", 8333, "239.255.255.255:8333, is not a single host's"},
		{"ff02::1", 8333, "[ff02::1]:8333, is not a single host's"},
		{"255.255.255.255", 8333, "255.255.255.255:8333, is not a single host's"},
		{own.Addr().String(), own.Port(), own.String() + ", is the proxy's own"},
		{other.Addr().String(), other.Port(), other.String() + ", is the proxy's own"},
	} {
		t.Run(c.ip, func(t *testing.T) {
			client := e.dial()
			client.Write(v1Message(mainnet, "version", versionTo(c.ip, c.port)))
			wantClosed(t, client)
			line := e.wantEnd(client, "refused", "the client speaks v1 without SOCKS, and the address in its VERSION, "+c.why)
			if hint, _ := line["hint"].(string); !strings.Contains(hint, "set this proxy as the client's SOCKS5 proxy") || line["level"] != "WARN" {
				t.Errorf("the log says %v", line)
			}
		})
	}
	if len(dials) > 0 {
		t.Errorf("%d dials, the first to %s", len(dials), <-dials)
	}
}

// A VERSION must be long enough to have addr_recv's port.
func TestRedirectShortVersion(t *testing.T) {
	t.Parallel()
	whole := versionTo("192.0.2.7", 8333)
	for _, n := range []int{0, 1, 27, 44, 45, 46} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			e := start(t, &proxy.Server{})
			got := e.v2Recorder("192.0.2.7:8333")
			client := e.dial()
			client.Write(v1Message(mainnet, "version", whole[:n]))
			if n < 46 {
				wantClosed(t, client)
				e.wantEnd(client, "refused", fmt.Sprintf("its VERSION is too short for an address (%d bytes)", n))
				if e.net.dialled("192.0.2.7:8333") > 0 {
					t.Error("dialled, want no dial")
				}
				return
			}
			leave(t, client)
			want := []string{longContents("version", whole[:n])} // the peer decides whether that is enough
			if all := receive(t, got, "the peer"); !slices.Equal(all, want) {
				t.Errorf("the peer received %q, want %q", all, want)
			}
			e.end(client)
		})
	}
	t.Run("cut off", func(t *testing.T) {
		e := start(t, &proxy.Server{})
		client := e.dial()
		client.Write(v1Message(mainnet, "version", whole)[:24+45])
		hangUp(client)
		client.Close()
		e.wantEnd(client, "refused", "the client closed the connection")
		if e.net.dialled("192.0.2.7:8333") > 0 {
			t.Error("dialled, want no dial")
		}
	})
	t.Run("never complete", func(t *testing.T) {
		e := start(t, &proxy.Server{FirstBytesTimeout: 500 * time.Millisecond})
		client := e.dial()
		client.Write(v1Message(mainnet, "version", whole)[:24+45])
		wantClosed(t, client)
		e.wantEnd(client, "refused", "the client neither sent nor accepted data for too long")
	})
}

func TestRedirectDialFails(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	client := e.dial()
	client.Write(v1Message(mainnet, "version", versionTo("192.0.2.7", 8333)))
	wantClosed(t, client) // no bytes: a SOCKS reply would mean nothing to it
	line := e.wantEnd(client, "refused", "cannot connect")
	wantAttrs(t, line, logLine{"dest": "192.0.2.7:8333", "level": "INFO"})
	if e.net.dialled("192.0.2.7:8333") != 1 {
		t.Error("want one dial")
	}
}

// If clients need a password, a client that cannot send one is refused.
func TestRedirectWithAuth(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{Socks: socks.Config{Auth: &socks.Credentials{Username: "user", Password: "secret"}}}})
	client := e.dial()
	client.Write(v1Message(mainnet, "version", versionTo("192.0.2.7", 8333)))
	wantClosed(t, client)
	e.wantEnd(client, "refused", "this proxy asks for a user name and password")
	if e.net.dialled("192.0.2.7:8333") > 0 {
		t.Error("dialled, want no dial")
	}
}

// Plaintext needs the same permission as in other modes.
func TestRedirectFallback(t *testing.T) {
	t.Parallel()
	const dest = "192.0.2.7:8333"
	said := v1Message(mainnet, "version", versionTo("192.0.2.7", 8333))
	for mode, dials := range map[fallback.Mode]int{fallback.Never: 1, fallback.Overlay: 1, fallback.Always: 3} {
		t.Run(mode.String(), func(t *testing.T) {
			e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: mode}}})
			e.net.tap = true
			got := e.v1Node(t, dest, fin)
			client := e.dial()
			client.Write(said)
			if mode == fallback.Always {
				if name, payload, err := readV1(client); err != nil || name != "version" || string(payload) != "of the peer" {
					t.Errorf("got %s %q, %v", name, payload, err)
				}
				hangUp(client)
				if b := receive(t, got, "the peer"); !bytes.Equal(b, said) {
					t.Errorf("the peer received % x, want % x", b, said)
				}
				client.Close()
				wantAttrs(t, e.end(client), logLine{"msg": "session closed", "transport": "v1"})
			} else {
				wantClosed(t, client)
				e.wantEnd(client, "refused", "hung up during the v2 handshake without an answer")
			}
			if n := e.net.dialled(dest); n != dials {
				t.Errorf("dialled %d times, want %d", n, dials)
			}
			wantNoPlaintext(t, dest, bytes.Join(e.net.sent(dest)[0], nil))
		})
	}
}

// Clients that speak neither SOCKS5 nor v1 get the same answers as ever, and v1 without a leading
// VERSION is refused.
func TestNeitherSocksNorVersion(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	for says, why := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n":                                "the client speaks HTTP: this is a SOCKS5 proxy",
		"CONNECT node.example:8333 HTTP/1.1\r\n\r\n":            "the client speaks HTTP: this is a SOCKS5 proxy",
		"\x04\x01\x20\x8d\xc0\x00\x02\x07\x00":                  "the client speaks SOCKS4: set the client to SOCKS5",
		"\x16\x03\x01\x02\x00\x01\x00":                          "the client speaks TLS: set the client to SOCKS5 without TLS",
		"\x00garbage":                                           "its first byte is 0x00",
		"\xf9":                                                  "its first byte is 0xf9",
		"\xf9\xbe\xb4":                                          "its first byte is 0xf9",
		"\xf9\xbe\xb4\xd9":                                      "its first byte is 0xf9",
		"\xf9\xbe\xb4\xd9vers":                                  "its first byte is 0xf9",
		string(v1Message(mainnet, "verack", nil)):               "its first byte is 0xf9",
		string(v1Message(mainnet, "version1", version)):         "its first byte is 0xf9",
		string(randomBytes(200, 7)):                             "does not speak SOCKS5",
		"\x06" + string(v1Message(mainnet, "version", version)): "its first byte is 0x06",
	} {
		t.Run(fmt.Sprintf("%.8q", says), func(t *testing.T) {
			client := e.dial()
			fmt.Fprint(client, says)
			client.(*net.TCPConn).CloseWrite()
			wantClosed(t, client)
			client.Close()
			e.wantEnd(client, "refused", why)
		})
	}
}

// servePeer makes the server take a listener whose clients are connected to peer.
func (e *env) servePeer(peer string) string {
	e.t.Helper()
	l, err := listen.Open("127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.server.ServePeer(l, peer) }()
	e.t.Cleanup(func() {
		e.server.Close()
		if err := receive(e.t, served, "ServePeer to return"); err != proxy.ErrServerClosed {
			e.t.Errorf("ServePeer returned %v", err)
		}
	})
	return l.Addr().String()
}

// Clients of a static peer are connected to it whatever they send, even SOCKS.
func TestStaticPeer(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	const dest = "node.example:8333"
	addr := e.servePeer(dest)
	said := versionTo("192.0.2.7", 8333) // not where it is sent

	t.Run("v1", func(t *testing.T) {
		got := e.v2Recorder(dest)
		client := e.dialTo(addr)
		client.Write(v1Message(mainnet, "version", said))
		leave(t, client)
		want := []string{longContents("version", said)}
		if all := receive(t, got, "the peer"); !slices.Equal(all, want) {
			t.Errorf("the peer received %q, want %q", all, want)
		}
		wantAttrs(t, e.end(client), logLine{"msg": "session closed", "dest": dest, "transport": "v2"})
	})
	t.Run("v2", func(t *testing.T) {
		got := e.v2Recorder(dest)
		client := e.dialTo(addr)
		c, err := transport.Client(context.Background(), client, transport.Config{Magic: mainnet})
		if err == nil {
			err = c.WritePacket([]byte("its own"))
		}
		if err != nil {
			t.Fatal(err)
		}
		hangUp(client)
		client.Close()
		if all := receive(t, got, "the peer"); !slices.Equal(all, []string{"its own"}) {
			t.Errorf("the peer received %q", all)
		}
		wantAttrs(t, e.end(client), logLine{"msg": "session closed", "dest": dest, "transport": "passthrough"})
	})
	t.Run("SOCKS is the peer's to hear", func(t *testing.T) {
		e.net.peer(dest, echo)
		client := e.dialTo(addr)
		client.Write([]byte{5, 1, 0})
		client.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(client); !bytes.Equal(b, []byte{5, 1, 0}) || err != nil {
			t.Errorf("got % x, %v", b, err)
		}
		client.Close()
		wantAttrs(t, e.end(client), logLine{"msg": "session closed", "transport": "passthrough"})
	})
	if n := e.net.dialled(dest); n != 3 {
		t.Errorf("dialled %d times, want 1", n)
	}
	if n := e.net.dialled("192.0.2.7:8333"); n != 0 {
		t.Error("the address in VERSION was dialled")
	}
}

func TestStaticPeerUnreachable(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	client := e.dialTo(e.servePeer("nobody.example:8333"))
	wantClosed(t, client) // before the client has sent anything
	line := e.wantEnd(client, "refused", "cannot connect")
	wantAttrs(t, line, logLine{"dest": "nobody.example:8333"})
}

// A password is for SOCKS; a static peer's clients cannot send it.
func TestStaticPeerFallbackAndAuth(t *testing.T) {
	t.Parallel()
	const dest = "node.example:8333"
	for _, mode := range []fallback.Mode{fallback.Never, fallback.Always} {
		t.Run(mode.String(), func(t *testing.T) {
			e := start(t, &proxy.Server{
				Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: mode}, Socks: socks.Config{Auth: &socks.Credentials{Username: "user", Password: "secret"}}},
			})
			got := e.v1Node(t, dest, rst)
			client := e.dialTo(e.servePeer(dest))
			client.Write(v1Message(mainnet, "version", version))
			if mode == fallback.Never {
				wantClosed(t, client)
				e.wantEnd(client, "refused", "hung up during the v2 handshake without an answer")
				return
			}
			e.wantV1(t, client, dest, got)
		})
	}
}

// A static peer that is a listener of the proxy would make it connect to itself for ever.
func TestStaticPeerItself(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Dial: new(net.Dialer).DialContext}}})
	client := e.dialTo(e.servePeer(e.addr))
	wantClosed(t, client)
	e.wantEnd(client, "refused", "the destination is the proxy itself")
}
