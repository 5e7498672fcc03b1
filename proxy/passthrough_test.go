package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/transport"
)

// A client that speaks v2 itself shares its session id with the peer.
func TestV2Client(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	id := make(chan [32]byte, 1)
	e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
		id <- c.SessionID()
		for {
			contents, err := c.ReadPacket()
			if err != nil {
				return
			}
			c.WritePacket(contents)
		}
	}))
	nc := e.connect("node.example:8333")
	client, err := transport.Client(context.Background(), nc, transport.Config{Magic: mainnet})
	if err != nil {
		t.Fatal(err)
	}
	if theirs := receive(t, id, "the peer"); client.SessionID() != theirs {
		t.Error("the session ids differ")
	}
	for _, n := range []int{0, 1, 1000, 4_000_013} {
		want := randomBytes(n, 1)
		sent := make(chan error, 1)
		go func() { sent <- client.WritePacket(want) }()
		if got, err := client.ReadPacket(); !bytes.Equal(got, want) || err != nil {
			t.Errorf("%d bytes instead of %d, %v", len(got), n, err)
		}
		if err := receive(t, sent, "the write"); err != nil {
			t.Error(err)
		}
	}
	hangUp(nc)
	nc.Close()
	line := e.wantEnd(nc, "closed", "both sides closed the connection")
	wantAttrs(t, line, logLine{"transport": "passthrough"})
}

// streams are first bytes of clients that do not speak v1.
func streams() map[string][]byte {
	all := map[string][]byte{
		"TLS":    append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, randomBytes(506, 1)...),
		"HTTP":   []byte("GET / HTTP/1.1\r\nHost: node.example\r\n\r\n"),
		"BOLT 8": append([]byte{0}, randomBytes(49, 2)...),
		"JSON":   []byte("{\"id\": 0, \"method\": \"server.version\"}\n"),
		"large":  randomBytes(1<<20+1, 3),
	}
	for name, magic := range map[string][4]byte{"nameless": nameless, "mainnet": mainnet} {
		for same := 4; same < 16 && name == "nameless"; same++ {
			differs := v1Message(magic, "version", version)
			differs[same] ^= 0x20
			all[fmt.Sprintf("%s differs at %d", name, same)] = differs
		}
		for n := 1; n < 4; n++ {
			all[fmt.Sprintf("%s ends after %d", name, n)] = magic[:n]
		}
	}
	all["nameless ends after 4"] = nameless[:]
	return all
}

// brokenV1 are streams that begin like v1 and then violate it.
func brokenV1() map[string][]byte {
	all := map[string][]byte{"verack": v1Message(mainnet, "verack", nil)}
	for name, magic := range map[string][4]byte{"nameless": nameless, "mainnet": mainnet} {
		v := v1Message(magic, "version", version)
		for same := 4; same < 16 && name == "mainnet"; same++ {
			differs := bytes.Clone(v)
			differs[same] ^= 0x20
			all[fmt.Sprintf("%s differs at %d", name, same)] = differs
		}
		for n := 5; n < len(v); n++ {
			all[fmt.Sprintf("%s ends after %d", name, n)] = v[:n]
		}
	}
	all["mainnet ends after 4"] = mainnet[:]
	return all
}

// A broken v1 stream is not passed through: it would be sent in plaintext.
func TestBrokenV1(t *testing.T) {
	t.Parallel()
	for _, deny := range []bool{false, true} {
		e := start(t, &proxy.Server{Policy: proxy.Policy{DenyPassthrough: deny}})
		for name, says := range brokenV1() {
			got := make(chan []byte, 1)
			e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) {
				b, _ := io.ReadAll(nc)
				got <- b
			})
			client := e.connect("node.example:8333")
			client.Write(says)
			client.(*net.TCPConn).CloseWrite()
			wantClosed(t, client)
			if b := receive(t, got, "the peer"); len(b) > 0 {
				t.Errorf("%s: the peer received %d bytes, want none", name, len(b))
			}
			e.wantEnd(client, "refused", "the client")
		}
	}
}

// A client that leaves before its session is open does not count as passed through.
func TestClientLeavesDuringTheDial(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	var e *env
	server := &proxy.Server{}
	server.Dialer.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		<-left
		return e.net.dial(ctx, network, addr)
	}
	e = start(t, server)
	e.net.peer("node.example:8333", echo)
	client := e.dial()
	client.Write(append([]byte{5, 1, 0}, request(1, "node.example:8333")...))
	client.Close()
	close(left)
	wantAttrs(t, e.wantEnd(client, "refused", "the client closed the connection before the session was open"), logLine{"level": "DEBUG"})
	if now := server.Snapshot(); now.Opened["passthrough"] != 0 || now.Refused["client_left"] != 1 || len(now.Refusals) != 0 {
		t.Errorf("opened %v, refused %v, %d refusals to show", now.Opened, now.Refused, len(now.Refusals))
	}
}

// If a peer hangs up at once, it is the cause, even if the client then does the same.
func TestPeerHangsUpAtOnce(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	e.net.peer("node.example:8333", func(*net.TCPConn, int) {})
	client := e.connect("node.example:8333")
	wantClosed(t, client)
	client.Close()
	line := e.wantEnd(client, "refused", "the peer closed the connection before anything was said")
	wantAttrs(t, line, logLine{"level": "INFO"})
}

// A client may half-close without sending, and read: the session opens with the peer's first bytes.
func TestClientThatListens(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	said := make(chan struct{})
	e.net.peer("server.example:80", func(nc *net.TCPConn, _ int) {
		io.Copy(io.Discard, nc) // the end has been passed on
		nc.Write([]byte("for hours"))
		<-said
	})
	client := e.connect("server.example:80")
	client.(*net.TCPConn).CloseWrite()
	e.until("the session", func(now proxy.Snapshot) bool {
		return len(now.Sessions) == 1 && now.Sessions[0].Transport == "passthrough" && now.Sessions[0].BytesToClient == 9
	})
	close(said)
	if b, err := io.ReadAll(client); string(b) != "for hours" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	wantAttrs(t, e.wantEnd(client, "closed", "both sides closed the connection"), logLine{"transport": "passthrough", "bytes_to_client": 9.})
}

// Anything but v1 is passed on unchanged, in any chunks, with its end; the other direction goes on
// afterwards.
func TestPassthrough(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	answer := randomBytes(1<<20, 7)
	var wg sync.WaitGroup
	defer wg.Wait()
	all := streams()
	all["nothing"] = nil
	for name, says := range all {
		for _, step := range []int{1, 16, 1 << 30} {
			if step == 1 && len(says) > 1000 {
				continue
			}
			dest := fmt.Sprintf("%s.%d.example:80", strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ",", ""), step)
			got := make(chan []byte, 1)
			e.net.peer(dest, func(nc *net.TCPConn, _ int) {
				b, _ := io.ReadAll(nc)
				got <- b
				nc.Write(answer)
			})
			wg.Go(func() {
				client := e.connect(dest)
				for part := range slices.Chunk(says, step) {
					client.Write(part)
				}
				client.(*net.TCPConn).CloseWrite()
				if b := receive(t, got, dest); !bytes.Equal(b, says) {
					t.Errorf("%s: the peer received %d bytes, want %d", dest, len(b), len(says))
				}
				if b, err := io.ReadAll(client); !bytes.Equal(b, answer) || err != nil {
					t.Errorf("%s: the client received %d bytes, %v; want %d", dest, len(b), err, len(answer))
				}
				line := e.wantEnd(client, "closed", "both sides closed the connection")
				wantAttrs(t, line, logLine{"transport": "passthrough", "bytes_to_peer": float64(len(says)), "bytes_to_client": float64(len(answer))})
			})
		}
	}
}

// The peer's end is passed on as well, and the client's direction goes on.
func TestPeerHalfClose(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	says := randomBytes(1<<20, 7)
	got := make(chan []byte, 1)
	e.net.peer("server.example:80", func(nc *net.TCPConn, _ int) {
		fmt.Fprint(nc, "bye")
		nc.CloseWrite()
		b, _ := io.ReadAll(nc)
		got <- b
	})
	client := e.connect("server.example:80")
	if b, err := io.ReadAll(client); string(b) != "bye" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	client.Write(says)
	client.Close()
	if b := receive(t, got, "the peer"); !bytes.Equal(b, says) {
		t.Errorf("the peer received %d bytes", len(b))
	}
	e.wantEnd(client, "closed", "both sides closed the connection")
}

// The first byte that differs from v1 decides: nothing waits for more.
func TestFirstDifferenceDecides(t *testing.T) {
	t.Parallel()
	v := v1Message(nameless, "version", version)
	for same := 4; same < 16; same++ {
		e := start(t, &proxy.Server{})
		e.net.peer("server.example:80", echo)
		client := e.connect("server.example:80")
		says := append(bytes.Clone(v[:same]), v[same]^1)
		client.Write(says)
		got := make([]byte, len(says))
		if _, err := io.ReadFull(client, got); !bytes.Equal(got, says) || err != nil {
			t.Errorf("after %d bytes: got % x, %v", same, got, err)
		}
		client.Close()
		e.end(client)
	}
}

func echo(nc *net.TCPConn, _ int) { io.Copy(nc, nc) }

// If the server speaks first, the client may stay silent indefinitely.
func TestServerSpeaksFirst(t *testing.T) {
	t.Parallel()
	server := &proxy.Server{FirstBytesTimeout: time.Second}
	e := start(t, server)
	e.net.peer("server.example:25", func(nc *net.TCPConn, _ int) {
		fmt.Fprint(nc, "220 ready\r\n")
		<-time.After(3 * server.FirstBytesTimeout)
		fmt.Fprint(nc, "221 still here\r\n")
		io.Copy(nc, nc)
	})
	client := e.connect("server.example:25")
	want := "220 ready\r\n221 still here\r\n"
	b := make([]byte, len(want))
	if _, err := io.ReadFull(client, b); string(b) != want || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	fmt.Fprint(client, "QUIT\r\n")
	client.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(client); string(b) != "QUIT\r\n" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	e.wantEnd(client, "closed", "both sides closed the connection")
}

// One message from the server does not exempt a session from the timeout.
func TestServerSpeaksOnce(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{FirstBytesTimeout: 500 * time.Millisecond, IdleTimeout: time.Second})
	e.net.peer("server.example:25", func(nc *net.TCPConn, _ int) {
		fmt.Fprint(nc, "220 ready\r\n")
		io.Copy(io.Discard, nc)
	})
	client := e.connect("server.example:25")
	if b, err := io.ReadAll(client); string(b) != "220 ready\r\n" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	client.Close()
	e.wantEnd(client, "refused", "nothing was sent or received for too long")
}

// If a peer leaves before the client has sent anything, it is the cause, not the proxy's closing.
func TestPeerResetsFirst(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	granted := make(chan struct{})
	e.net.peer("server.example:25", func(nc *net.TCPConn, _ int) {
		<-granted
		reset(nc)
	})
	client := e.connect("server.example:25")
	close(granted)
	wantClosed(t, client)
	e.wantEnd(client, "refused", "the connection was reset")
}

// A client that half-closes while the server is silent does not exempt a session from the timeout, either.
func TestServerNeverEnds(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{IdleTimeout: time.Second})
	release := make(chan struct{})
	defer close(release)
	e.net.peer("server.example:80", func(nc *net.TCPConn, _ int) {
		io.Copy(io.Discard, nc)
		<-release // after it has read the end, it stays open
	})
	client := e.connect("server.example:80")
	client.Write(randomBytes(1000, 1))
	client.Write(randomBytes(100_000, 1))
	client.(*net.TCPConn).CloseWrite()
	wantClosed(t, client)
	e.wantEnd(client, "closed", "nothing was sent or received for too long")
}

// A session without data in either direction ends, and the log gives the idle timeout as the
// reason.
func TestPassthroughIdle(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{IdleTimeout: time.Second})
	e.net.peer("server.example:80", echo)
	client := e.connect("server.example:80")
	client.Write([]byte("hello"))
	if b, err := io.ReadAll(client); string(b) != "hello" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	client.Close()
	e.wantEnd(client, "closed", "nothing was sent or received for too long")
}

// The log names the end that broke a session, not the proxy's closing that followed.
func TestPassthroughReset(t *testing.T) {
	t.Parallel()
	for _, byPeer := range []bool{false, true} {
		e := start(t, &proxy.Server{})
		now, done := make(chan struct{}), make(chan struct{})
		e.net.peer("server.example:80", func(nc *net.TCPConn, _ int) {
			defer close(done)
			nc.Read(make([]byte, 5))
			nc.Write([]byte("hello"))
			if byPeer {
				<-now
				reset(nc)
				return
			}
			io.Copy(io.Discard, nc)
		})
		client := e.connect("server.example:80")
		client.Write([]byte("hello"))
		io.ReadFull(client, make([]byte, 5))
		if byPeer {
			close(now)
			wantClosed(t, client)
		} else {
			reset(client)
		}
		receive(t, done, "the end at the peer")
		e.wantEnd(client, "closed", "the connection was reset")
	}
}

// With --passthrough=deny only v1 reaches a peer.
func TestPassthroughDenied(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{DenyPassthrough: true}})
	for name, says := range streams() {
		got := make(chan []byte, 1)
		e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) {
			fmt.Fprint(nc, "not for the client")
			b, _ := io.ReadAll(nc)
			got <- b
		})
		client := e.connect("node.example:8333")
		client.Write(says)
		client.(*net.TCPConn).CloseWrite()
		wantClosed(t, client)
		if b := receive(t, got, "the peer"); len(b) > 0 {
			t.Errorf("%s: the peer received %d bytes, want none", name, len(b))
		}
		line := e.wantEnd(client, "refused", "passthrough is denied")
		if line["hint"] == nil {
			t.Error("no hint in the line")
		}
	}
}

// A silent client is closed after FirstBytesTimeout.
func TestSilentClient(t *testing.T) {
	t.Parallel()
	for _, deny := range []bool{false, true} {
		e := start(t, &proxy.Server{Policy: proxy.Policy{DenyPassthrough: deny}, FirstBytesTimeout: 2 * time.Second}) // limits the greeting, too
		e.net.peer("node.example:8333", echo)
		client := e.connect("node.example:8333")
		wantClosed(t, client)
		e.wantEnd(client, "refused", "the client said nothing after its connection was granted")
	}
}
