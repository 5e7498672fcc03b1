package proxy_test

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// redirected is a transparent listener whose clients all meant to go to one address.
type redirected struct {
	net.Listener
	dest netip.AddrPort
}

func (r redirected) Destination(net.Conn) (netip.AddrPort, error) { return r.dest, nil }

// parseShape returns the shape that text means.
func parseShape(t *testing.T, text string) transport.Shape {
	t.Helper()
	shape, err := transport.ParseShape(text)
	if err != nil {
		t.Fatal(err)
	}
	return shape
}

// listen opens a listener, which serve serves until the test ends.
func (e *env) listen(serve func(net.Listener) error) (addr string) {
	e.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(l) }()
	e.t.Cleanup(func() {
		l.Close()
		receive(e.t, ended, "the listener's end")
	})
	return l.Addr().String()
}

// discard reads until the end.
func discard(c *transport.Conn) {
	for {
		if _, err := c.ReadPacket(); err != nil {
			return
		}
	}
}

// A session has the shape of its listener, by the policy that it began with; without one, that of
// all clients. Only v2 has a shape.
func TestShapeOfListener(t *testing.T) {
	t.Parallel()
	const node, v1node = "198.51.100.1:8333", "198.51.100.2:8333"
	known := new(fallback.Peers)
	known.Note(v1node, fallback.SpeaksV1)
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: known}}})
	e.net.peer(node, v2Peer(discard))
	e.net.peer(v1node, func(nc *net.TCPConn, _ int) { io.Copy(io.Discard, nc) })

	hello := v1Message(mainnet, "version", version)
	peer := e.listen(func(l net.Listener) error { return e.server.ServePeer(l, node) })
	transparent := e.listen(func(l net.Listener) error {
		return e.server.ServeTransparent(redirected{l, netip.MustParseAddrPort(node)})
	})
	inbound := e.listenInbound(testkit.Serve(t, func(nc net.Conn) { io.Copy(io.Discard, nc) }))
	say := func(nc net.Conn, words []byte) net.Conn {
		nc.Write(words)
		return nc
	}
	open := map[string]func() net.Conn{
		"listen":      func() net.Conn { return say(e.connect(node), hello) },
		"peer":        func() net.Conn { return say(e.dialTo(peer), hello) },
		"transparent": func() net.Conn { return say(e.dialTo(transparent), hello) },
		"inbound":     func() net.Conn { nc, _ := e.peer(inbound); return nc },
		"v1":          func() net.Conn { return say(e.connect(v1node), hello) },
		"passthrough": func() net.Conn { return say(e.connect(v1node), []byte("neither SOCKS nor Bitcoin")) },
	}
	opened := 0
	addrs := map[string]string{"listen": e.addr, "peer": peer, "transparent": transparent, "inbound": inbound}
	for _, c := range []struct {
		clients   string
		listeners map[string]string
		want      map[string]string
	}{
		{"off", nil, nil},
		{"pad", nil, map[string]string{"listen": "pad", "peer": "pad", "transparent": "pad"}},
		{"core", map[string]string{"peer": "off", "inbound": "pad"}, map[string]string{"listen": "core", "transparent": "core", "inbound": "pad"}},
		{"off", map[string]string{"listen": "core", "peer": "pad", "transparent": "tunnel", "inbound": "cover"},
			map[string]string{"listen": "core", "peer": "pad", "transparent": "tunnel", "inbound": "cover"}},
		{"pad", map[string]string{"inbound": "tunnel"}, map[string]string{"listen": "pad", "peer": "pad", "transparent": "pad"}}, // this peer does not ask for a tunnel
	} {
		p := e.server.Policy
		p.Shape, p.Shapes = parseShape(t, c.clients), make(map[string]transport.Shape)
		for name, text := range c.listeners {
			p.Shapes[addrs[name]] = parseShape(t, text)
		}
		e.server.SetPolicy(p)
		for name, open := range open {
			client := open()
			opened++
			now := e.until("the session", func(s proxy.Snapshot) bool {
				return len(s.Sessions) == 1 && s.Sessions[0].State == proxy.StateOpen &&
					strings.Count(e.logs.text(), `"session opened"`) == opened
			})
			s := now.Sessions[0]
			inForce := c.want[name]
			if inForce == "cover" || inForce == "tunnel" {
				inForce = "pad" // until cells begin
			}
			logged, _ := e.lastLine("session opened")["shape"].(string)
			if logged != c.want[name] || s.Shape != inForce {
				t.Errorf("%s, %v: the log of %s has the shape %q, want %q; in force is %q", c.clients, c.listeners, name, logged, c.want[name], s.Shape)
			}
			e.server.SetPolicy(e.server.Policy)
			if again := e.server.Snapshot().Sessions; len(again) == 1 && again[0].Shape != s.Shape {
				t.Errorf("%s: the shape of an open session changes to %q", name, again[0].Shape)
			}
			e.server.SetPolicy(p)
			reset(client)
			e.until("the end", func(s proxy.Snapshot) bool { return len(s.Sessions) == 0 })
		}
	}
}

// Without a shape the writes to a peer are those of the handshake and of the messages, to the byte;
// with pad all after the first are powers of two.
func TestShapeOfWrites(t *testing.T) {
	t.Parallel()
	const node = "192.0.2.1:8333"
	for _, text := range []string{"off", "pad", "pad,bucket=256"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			shape := parseShape(t, text)
			e := start(t, &proxy.Server{Policy: proxy.Policy{Shape: shape}})
			e.net.tap = true
			got := make(chan int, 10)
			e.net.peer(node, v2Peer(func(c *transport.Conn) {
				for {
					contents, err := c.ReadPacket()
					if err != nil {
						return
					}
					got <- len(contents)
				}
			}))
			client := e.connect(node)
			want := []int{16 + 20 + 20} // the garbage terminator, and the version packet and VERSION without contents
			for i, m := range []struct {
				name string
				size int
			}{{"version", len(version)}, {"ping", 8}, {"tx", 225}, {"tx", 15_000}, {"block", 100_000}} {
				client.Write(v1Message(mainnet, m.name, randomBytes(m.size, 1)))
				contents := receive(t, got, m.name)
				n := 20 + contents
				if i == 0 {
					want[0] += contents
					continue
				}
				if whole := n / (16 << 10) * (16 << 10); shape.Mode == transport.ShapePad && whole > 0 {
					want = append(want, whole) // what is not copied
					n -= whole
				}
				want = append(want, n)
			}
			var sizes []int
			for _, w := range e.net.sent(node)[0][1:] {
				sizes = append(sizes, len(w))
			}
			if text == "off" && !slices.Equal(sizes, want) {
				t.Errorf("writes of %v bytes, want %v", sizes, want)
			}
			inBucket := func(n int) bool { return n >= cmp.Or(shape.Bucket, 1024) && n&(n-1) == 0 || n%(16<<10) == 0 }
			for _, n := range sizes {
				if text != "off" && !inBucket(n) {
					t.Errorf("writes of %v bytes; %d is not a bucket", sizes, n)
				}
			}
			reset(client)
			line := e.end(client)
			if filler, shaped := line["filler"]; shaped != (text != "off") || shaped && filler.(float64) == 0 {
				t.Errorf("the log says %v", line)
			}
		})
	}
}

// manyMessages of 15,000 bytes are more than a session sends before its cells begin at once.
const manyMessages = 6

// inCells is a client's session whose messages wait for cells, since it is old enough. The peer
// tells the types of the messages that it has received, until the stream ends.
func (e *env) inCells(node string) (client net.Conn, got <-chan string) {
	e.t.Helper()
	types := make(chan string, 100)
	e.net.peer(node, v2Peer(func(c *transport.Conn) {
		defer close(types)
		stop := make(chan struct{})
		defer close(stop)
		go func() { // so that the client has something to take
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("ping"), randomBytes(8, 1)))
				}
			}
		}()
		conn := v1v2.NewConn(c, mainnet)
		for {
			name, _, err := readV1(conn)
			if err != nil {
				if err != io.EOF {
					e.t.Errorf("the peer's stream ends with %v", err)
				}
				return
			}
			types <- name
		}
	}))
	client = e.connect(node)
	client.Write(v1Message(mainnet, "version", version))
	for range manyMessages {
		client.Write(v1Message(mainnet, "tx", randomBytes(15_000, 1)))
	}
	for range 1 + manyMessages {
		receive(e.t, types, "a message")
	}
	before := e.server.Snapshot().Sessions[0].FillerToPeer
	e.until("cells", func(s proxy.Snapshot) bool { return len(s.Sessions) == 1 && s.Sessions[0].FillerToPeer > before })
	client.Write(v1Message(mainnet, "tx", randomBytes(3000, 1)))
	e.until("the last message", func(s proxy.Snapshot) bool {
		return len(s.Sessions) == 1 && s.Sessions[0].MessagesToPeer == 2+manyMessages
	})
	return client, types
}

// What a client has sent reaches the peer, however the client ends, and after the server stops.
func TestShapeEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		shape string
		end   func(e *env, client net.Conn)
	}{
		"the client closes its side": {"cover,every=100ms,cell=512", func(_ *env, client net.Conn) { client.(*net.TCPConn).CloseWrite() }},
		"the client closes":          {"cover,every=100ms,cell=512", func(_ *env, client net.Conn) { client.Close() }},
		"the client resets":          {"cover,every=100ms,cell=512", func(_ *env, client net.Conn) { reset(client) }},
		"the client breaks the protocol": {"tunnel,every=100ms,cell=512", func(_ *env, client net.Conn) {
			client.Write(make([]byte, 24))
		}},
		"the server stops": {"cover,every=1s,cell=256", func(e *env, _ net.Conn) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			e.server.Shutdown(ctx)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, &proxy.Server{Policy: proxy.Policy{Shape: parseShape(t, c.shape)}})
			client, got := e.inCells("192.0.2.1:8333")
			c.end(e, client)
			if last := receive(t, got, "the last message"); last != "tx" {
				t.Errorf("got %q", last)
			}
			if more := receive(t, got, "the end"); more != "" {
				t.Errorf("got %q", more)
			}
			client.Close()
			if s := e.until("the end", func(s proxy.Snapshot) bool { return len(s.Sessions) == 0 }); s.Filler.ToPeer == 0 || s.ShapeOverflows > 0 {
				t.Errorf("got %+v", s.ShapingTotals)
			}
		})
	}
}

// Both ends of a tunnel log that it is agreed, once, after the session has opened.
func TestTunnelIsLogged(t *testing.T) {
	t.Parallel()
	far := start(t, &proxy.Server{})
	agreed := make(chan struct{})
	to := far.listenInbound(testkit.Serve(t, func(nc net.Conn) {
		select {
		case <-agreed:
		case <-t.Context().Done():
			return
		}
		for range manyMessages {
			nc.Write(v1Message(mainnet, "tx", randomBytes(15_000, 1)))
		}
		io.Copy(io.Discard, nc)
	}))
	tunnel := parseShape(t, "tunnel,every=100ms")
	far.server.SetPolicy(proxy.Policy{Shapes: map[string]transport.Shape{to: tunnel}})
	near := start(t, &proxy.Server{Policy: proxy.Policy{Shape: tunnel, Dialer: fallback.Dialer{Dial: new(net.Dialer).DialContext}}})
	client := near.connect(to)
	client.Write(v1Message(mainnet, "version", version))
	for range manyMessages { // so that cells begin, as those of the node
		client.Write(v1Message(mainnet, "tx", randomBytes(15_000, 1)))
	}
	far.until("the agreement", func(proxy.Snapshot) bool { return strings.Contains(far.logs.text(), "agreed") })
	close(agreed)
	for name, e := range map[string]*env{"near": near, "far": far} {
		e.until("the tunnel at the "+name+" end", func(s proxy.Snapshot) bool {
			return len(s.Sessions) == 1 && s.Sessions[0].Shape == "tunnel" && strings.Contains(e.logs.text(), "agreed")
		})
	}
	reset(client)
	for name, e := range map[string]*env{"near": near, "far": far} {
		e.until("its end", func(proxy.Snapshot) bool { return strings.Contains(e.logs.text(), `"session closed"`) })
		lines := e.logs.all()
		if len(lines) != 3 || lines[0]["msg"] != "session opened" || lines[1]["msg"] != "tunnel agreed" ||
			lines[1]["cause"] != "agreed" || lines[1]["session"] != lines[0]["session"] || lines[2]["shape"] != "tunnel" {
			t.Errorf("the log at the %s end says %v", name, lines)
		}
	}
}
