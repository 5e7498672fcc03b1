package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// The reply code tells the client why a destination cannot be reached.
func TestDialFails(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the system has other error numbers")
	}
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	refuse := func(err error) func(context.Context) error {
		return func(context.Context) error {
			return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
		}
	}
	for name, c := range map[string]struct {
		dial func(context.Context) error
		code byte
	}{
		"no such name":        {func(context.Context) error { return &net.DNSError{Err: "no such host", IsNotFound: true} }, 4},
		"network unreachable": {refuse(syscall.ENETUNREACH), 3},
		"host unreachable":    {refuse(syscall.EHOSTUNREACH), 4},
		"refused":             {refuse(syscall.ECONNREFUSED), 5},
		"timeout":             {hang, 6},
		"timeout of theirs":   {refuse(syscall.ETIMEDOUT), 6},
		"anything else":       {refuse(syscall.EACCES), 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{
				DialTimeout: 100 * time.Millisecond,
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if network != "tcp" || addr != "node.example:8333" {
						t.Errorf("dialled %s %s", network, addr)
					}
					return nil, c.dial(ctx)
				},
			}}})
			client := e.dial()
			if code, err := ask(client, "node.example:8333"); code != c.code || err != nil {
				t.Errorf("reply %d, %v; want %d", code, err, c.code)
			}
			wantClosed(t, client)
			why := "cannot connect (the client was told"
			switch name {
			case "refused":
				why = "cannot connect: connection refused"
			case "host unreachable":
				why = "cannot connect: the host is unreachable"
			}
			line := e.wantEnd(client, "refused", why)
			level := "INFO" // dead addresses are routine
			if c.code == 1 {
				level = "WARN"
			}
			wantAttrs(t, line, logLine{"level": level, "dest": "node.example:8333"})
		})
	}
}

// The same with the system's dialer: nothing listens on that port.
func TestDialRefused(t *testing.T) {
	t.Parallel()
	nobody := testkit.Nobody(t)
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Dial: new(net.Dialer).DialContext}}})
	client := e.dial()
	if code, err := ask(client, nobody); code != 5 || err != nil {
		t.Errorf("reply %d, %v", code, err)
	}
	wantClosed(t, client)
	e.wantEnd(client, "refused", "connection refused")
}

// The zero Server works, except that it needs a log.
func TestZeroValue(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Dial: new(net.Dialer).DialContext}}})
	e.net.wg.Go(func() {
		nc, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		io.Copy(nc, nc)
	})
	client := e.connect(l.Addr().String())
	client.Write([]byte("hello"))
	hangUp(client)
	client.Close()
	e.wantEnd(client, "closed", "both sides closed the connection")
}

// Names of overlay networks are never sent, not even as a DNS query.
func TestOverlayNames(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{
		Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			t.Errorf("dialled %s", addr)
			return nil, io.EOF
		}}},
		Log: nil,
	})
	onion := strings.Repeat("a", 55) + "d"
	for _, host := range []string{onion + ".onion", onion + ".ONION", onion + ".onion.", "x." + onion + ".Onion",
		"ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p", "name.i2p", "name.I2P."} {
		client := e.dial()
		if code, err := ask(client, host+":8333"); code != 4 || err != nil {
			t.Errorf("%s: reply %d, %v", host, code, err)
		}
		wantClosed(t, client)
		e.wantEnd(client, "refused", "Tor and I2P addresses cannot be reached without an upstream proxy")
	}
}

// Commands other than CONNECT and RESOLVE are refused, and nothing is dialled.
func TestCommands(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	for _, command := range []byte{0, 2, 3, 4, 0xf1, 0xff} {
		client := e.dial()
		client.Write(append([]byte{5, 1, 0}, request(command, "node.example:8333")...))
		want := []byte{5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0}
		if b, err := io.ReadAll(client); !bytes.Equal(b, want) || err != nil {
			t.Errorf("command %#x: got % x, %v", command, b, err)
		}
		client.Close()
		e.wantEnd(client, "refused", "this proxy supports only CONNECT")
	}
	if n := e.net.dialled("node.example:8333"); n != 0 {
		t.Errorf("dialled %d times, want 0", n)
	}
}

// The success reply is ten bytes in its own write, even if the peer has already sent data, which
// follows.
func TestReplyIsAWriteOfItsOwn(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	const banner = "220 peer.example ready\r\n"
	spoken := make(chan struct{})
	e.net.hold = spoken // the peer speaks before the reply
	e.net.peer("server.example:25", func(nc *net.TCPConn, _ int) {
		fmt.Fprint(nc, banner)
		close(spoken)
		io.Copy(io.Discard, nc)
	})

	// Use a listener that records the writes to this client.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	recorded := make(chan *tapped, 1)
	served := make(chan error, 1)
	go func() { served <- e.server.Serve(&tappingListener{l, recorded}) }()
	defer func() {
		l.Close()
		receive(t, served, "Serve")
	}()

	client := e.dialTo(l.Addr().String())
	if code, err := ask(client, "server.example:25"); code != 0 || err != nil {
		t.Fatalf("reply %d, %v; want 0", code, err)
	}
	b := make([]byte, len(banner))
	if _, err := io.ReadFull(client, b); string(b) != banner || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	hangUp(client)
	client.Close()
	e.wantEnd(client, "closed", "both sides")
	writes := (<-recorded).writes
	want := [][]byte{{5, 0}, {5, 0, 0, 1, 0, 0, 0, 0, 0, 0}, []byte(banner)}
	if len(writes) != len(want) {
		t.Fatalf("writes % x", writes)
	}
	for i := range want {
		if !bytes.Equal(writes[i], want[i]) {
			t.Errorf("write %d is % x, want % x", i, writes[i], want[i])
		}
	}
}

type tappingListener struct {
	net.Listener
	taps chan *tapped
}

func (l *tappingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t := &tapped{Conn: nc}
	l.taps <- t
	return t, nil
}

// SOCKS and VERSION may arrive byte by byte or all at once.
func TestOneSegmentOrMany(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	script := append([]byte{5, 1, 0}, request(1, "node.example:8333")...)
	script = append(script, v1Message(mainnet, "version", version)...)
	for _, step := range []int{1, len(script)} {
		got := make(chan []byte, 1)
		e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
			b, _ := c.ReadPacket()
			got <- bytes.Clone(b)
		}))
		client := e.dial()
		for at := 0; at < len(script); at += step {
			client.Write(script[at : at+step])
		}
		want := append([]byte("\x00version\x00\x00\x00\x00\x00"), version...)
		if b := receive(t, got, "VERSION"); !bytes.Equal(b, want) {
			t.Errorf("in steps of %d: the peer received % x", step, b)
		}
		client.Close()
		e.end(client)
	}
}

// If credentials are configured, only they are accepted.
func TestAuth(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{Policy: proxy.Policy{Socks: socks.Config{Auth: &socks.Credentials{Username: "user", Password: "secret"}}}})
	e.net.peer("server.example:80", echo)
	for says, want := range map[string]string{
		"\x05\x01\x02\x01\x04user\x06wrong!":    "\x05\x02\x01\x01",
		"\x05\x01\x02\x01\x04USER\x06secret":    "\x05\x02\x01\x01",
		"\x05\x01\x02\x01\x04user\x00":          "\x05\x02\x01\x01",
		"\x05\x01\x02\x01\x00\x06secret":        "\x05\x02\x01\x01",
		"\x05\x02\x00\x02\x01\x04user\x05secre": "\x05\x02\x01\x01",
		"\x05\x01\x00":                          "\x05\xff",
		"\x05\x01\x00\x01\x04user\x06secret":    "\x05\xff",
		"\x05\x02\x00\x01":                      "\x05\xff",
		"\x05\x00":                              "\x05\xff",
	} {
		client := e.dial()
		fmt.Fprint(client, says)
		if b, _ := io.ReadAll(client); string(b) != want {
			t.Errorf("sent % x, got % x, want % x", says, b, want)
		}
		client.Close()
		e.wantEnd(client, "refused", "authentication")
	}
	client := e.dial()
	if code, err := askAs(client, "user", "secret", "server.example:80"); code != 0 || err != nil {
		t.Errorf("reply %d, %v", code, err)
	}
	hangUp(client)
	client.Close()
	e.wantEnd(client, "refused", "the client closed the connection before the session was open")
	if text := e.logs.text(); strings.Contains(text, "secre") || strings.Contains(text, "wrong!") {
		t.Errorf("a password is in the log:\n%s", text)
	}
}
