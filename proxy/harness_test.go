package proxy_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bip324proxy/internal/hints"
	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
)

var (
	mainnet  = [4]byte{0xf9, 0xbe, 0xb4, 0xd9}
	signet   = [4]byte{0x0a, 0x03, 0xcf, 0x40}
	nameless = [4]byte{1, 2, 3, 4} // of a custom signet
)

// patience bounds what must happen in a moment. Only a failing test waits for it.
const patience = time.Minute

// env is a running proxy and the network that it dials into.
type env struct {
	t      *testing.T
	server *proxy.Server
	addr   string
	logs   *logBook
	net    *fakeNet
}

// start runs server on loopback. When the test ends, all sessions must have ended by themselves,
// and nothing may remain after the server is closed.
func start(t *testing.T, server *proxy.Server) *env {
	t.Helper()
	return startOn(t, server, true)
}

// startDirect is start with the system's network behind the proxy. It counts the sockets of the
// whole process: a test that calls it must not run in parallel.
func startDirect(t *testing.T, server *proxy.Server) *env {
	t.Helper()
	return startOn(t, server, false)
}

func startOn(t *testing.T, server *proxy.Server, fake bool) *env {
	t.Helper()
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels("test", t.Name())))
	e := &env{t: t, server: server, logs: newLogBook(), net: newFakeNet(t)}
	t.Cleanup(e.net.close)
	if server.Hint == nil {
		server.Hint = hints.For
	}
	if server.Log == nil {
		server.Log = slog.New(slog.NewJSONHandler(e.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if fake && server.Dialer.Dial == nil {
		server.Dialer.Dial = e.net.dial
	}
	server.Dialer.DialTimeout = cmp.Or(server.Dialer.DialTimeout, patience) // the fake network connects one at a time
	server.Dialer.RetryAfter = cmp.Or(server.Dialer.RetryAfter, 10*time.Millisecond)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = l.Addr().String()
	mine := func(string) bool { return true }
	if fake {
		ends := []string{e.addr, e.net.l.Addr().String()}
		for _, r := range server.UpstreamRoutes() {
			ends = append(ends, r.Upstream.Address)
		}
		mine = func(addr string) bool { return slices.Contains(ends, addr) }
	}
	back := remember(t, mine)
	t.Cleanup(func() { back("after Close") })
	e.serve(l)
	idle := remember(t, mine)
	t.Cleanup(func() { idle("with the server still running") })
	return e
}

// serve makes the server accept from l until the test ends.
func (e *env) serve(l net.Listener) {
	served := make(chan error, 1)
	go func() { served <- e.server.Serve(l) }()
	e.t.Cleanup(func() {
		e.server.Close()
		if err := receive(e.t, served, "Serve to return"); err != proxy.ErrServerClosed {
			e.t.Errorf("Serve returned %v", err)
		}
	})
	e.until("the listener", func(s proxy.Snapshot) bool { return slices.Contains(s.Listeners, l.Addr().String()) })
}

// serveAnother makes the server accept from another listener and returns its address.
func (e *env) serveAnother() string {
	e.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	e.serve(l)
	return l.Addr().String()
}

// remember counts this test's goroutines and the sockets with an end that is mine. The function it
// returns fails the test unless the counts fall back to these.
func remember(t *testing.T, mine func(addr string) bool) func(when string) {
	goroutines, sockets := labelled(t), openSockets(mine)
	return func(when string) {
		t.Helper()
		for end := time.Now().Add(patience); labelled(t) > goroutines || openSockets(mine) > sockets; {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%s: %d goroutines instead of %d, %d sockets instead of %d\n%s", when,
					labelled(t), goroutines, openSockets(mine), sockets, stacks[:runtime.Stack(stacks, true)])
				return
			}
			<-time.After(time.Millisecond)
		}
	}
}

// labelled counts the goroutines of the test t: a goroutine inherits the label of the one that
// started it.
func labelled(t *testing.T) (n int) {
	var profile bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&profile, 1)
	label := fmt.Sprintf("%q:%q", "test", t.Name())
	count := 0
	for line := range strings.Lines(profile.String()) {
		if k, _, ok := strings.Cut(line, " @ "); ok {
			count, _ = strconv.Atoi(k)
		} else if strings.HasPrefix(line, "# labels: ") && strings.Contains(line, label) {
			n += count
		}
	}
	return n
}

// receive receives from c, or fails the test.
func receive[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Errorf("timed out after %v waiting for %s", patience, what)
	}
	return v
}

// logBook is a searchable JSON log.
type logBook struct {
	mu    sync.Mutex
	raw   bytes.Buffer
	lines []logLine
	more  chan struct{} // closed at the next line
}

type logLine map[string]any

func newLogBook() *logBook { return &logBook{more: make(chan struct{})} }

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.raw.Write(p)
	var line logLine
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	b.lines = append(b.lines, line)
	close(b.more)
	b.more = make(chan struct{})
	return len(p), nil
}

func (b *logBook) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.raw.String()
}

// all returns the lines so far.
func (b *logBook) all() []logLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.lines)
}

// of returns the lines about the client with that address.
func (b *logBook) of(client net.Addr) (of []logLine, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		if l["client"] == client.String() {
			if len(of) > 0 && of[0]["session"] != l["session"] {
				of = nil // an earlier client had the same port
			}
			of = append(of, l)
		}
	}
	return of, b.more
}

// end waits for the line that ends the client's session. Apart from lines about dropped messages,
// "session closed" must follow "session opened", and "session refused" must be the only line.
func (e *env) end(client net.Conn) logLine {
	e.t.Helper()
	timeout := time.After(patience)
	for {
		all, more := e.logs.of(client.LocalAddr())
		lines := slices.DeleteFunc(all, func(l logLine) bool { return strings.HasPrefix(l["msg"].(string), "message dropped") })
		if len(lines) > 0 {
			switch last := lines[len(lines)-1]; {
			case last["msg"] == "session closed" && len(lines) == 2 && lines[0]["msg"] == "session opened",
				last["msg"] == "session refused" && len(lines) == 1:
				return last
			case last["msg"] != "session opened":
				e.t.Errorf("lines of one session: %v", lines)
				return last
			}
		}
		select {
		case <-more:
		case <-timeout:
			e.t.Errorf("the session did not end: %v", lines)
			return logLine{}
		}
	}
}

// wantEnd checks that a session was "closed" or "refused", for a reason that contains why.
func (e *env) wantEnd(client net.Conn, how, why string) logLine {
	e.t.Helper()
	line := e.end(client)
	if reason, _ := line["reason"].(string); line["msg"] != "session "+how || !strings.Contains(reason, why) || reason == "" {
		e.t.Errorf("got %v, want session %s because %q", line, how, why)
	}
	return line
}

// dial connects to the proxy.
func (e *env) dial() net.Conn { return e.dialTo(e.addr) }

func (e *env) dialTo(addr string) net.Conn {
	e.t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		panic(err) // the machine cannot run the test
	}
	nc.SetDeadline(time.Now().Add(patience))
	e.t.Cleanup(func() { nc.Close() })
	return nc
}

// connect connects to dest through the proxy.
func (e *env) connect(dest string) net.Conn {
	e.t.Helper()
	nc := e.dial()
	if code, err := ask(nc, dest); err != nil || code != 0 {
		e.t.Errorf("connect to %s: reply %d, %v", dest, code, err)
	}
	return nc
}

// ask requests a connection to dest and returns the reply's code.
func ask(nc net.Conn, dest string) (code byte, err error) {
	if _, err := nc.Write([]byte{5, 1, 0}); err != nil {
		return 0, err
	}
	var method [2]byte
	if _, err := io.ReadFull(nc, method[:]); err != nil {
		return 0, err
	}
	if method != [2]byte{5, 0} {
		return 0, fmt.Errorf("method reply % x", method)
	}
	if _, err := nc.Write(request(1, dest)); err != nil {
		return 0, err
	}
	var reply [10]byte
	if _, err := io.ReadFull(nc, reply[:]); err != nil {
		return 0, err
	}
	if want := [10]byte{5, reply[1], 0, 1}; reply != want {
		return 0, fmt.Errorf("reply % x", reply)
	}
	return reply[1], nil
}

// request returns a SOCKS request for "host:port", with the host as a name.
func request(command byte, dest string) []byte {
	host, port, _ := net.SplitHostPort(dest)
	n, _ := strconv.Atoi(port)
	b := append([]byte{5, command, 0, 3, byte(len(host))}, host...)
	return binary.BigEndian.AppendUint16(b, uint16(n))
}

// readV1 reads a v1 message of mainnet. The error is io.EOF only between messages.
func readV1(r io.Reader) (name string, payload []byte, err error) {
	var head [24]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", nil, err
	}
	size := int64(binary.LittleEndian.Uint32(head[16:])) // may be part of a v2 key: any value
	payload, err = io.ReadAll(io.LimitReader(r, size))
	if err == nil && int64(len(payload)) < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", nil, fmt.Errorf("after %d of %d bytes: %v", len(payload), size, err)
	}
	name = strings.TrimRight(string(head[4:16]), "\x00")
	if !bytes.Equal(v1Message(mainnet, name, payload)[:24], head[:]) {
		return name, payload, fmt.Errorf("header % x", head)
	}
	return name, payload, nil
}

// version is the payload of a client's VERSION.
var version = append(randomBytes(80, 1), "\x18/clear-text-user-agent:1/\x00\x00\x00\x00\x01"...)

var (
	each        = testkit.Each
	v1Message   = testkit.V1Message
	randomBytes = testkit.RandomBytes
)

// wantClosed checks that nc ends without data: the proxy closes, or resets if nc sent more.
func wantClosed(t *testing.T, nc net.Conn) {
	t.Helper()
	b, err := io.ReadAll(nc)
	if len(b) > 0 {
		t.Errorf("got %d bytes before the end, want none: % x", len(b), b[:min(len(b), 32)])
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
}

// reset closes nc with a reset.
func reset(nc net.Conn) {
	nc.(*net.TCPConn).SetLinger(0)
	nc.Close()
}

// hangUp half-closes nc and reads until the other side closes.
func hangUp(nc net.Conn) {
	nc.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, nc)
}

// wantNoPlaintext checks that b, which was sent to dest, has nothing of v1.
func wantNoPlaintext(t *testing.T, dest string, b []byte) {
	t.Helper()
	for _, clear := range []string{string(mainnet[:]) + "ver", "version\x00", "clear-text-user-agent"} {
		if bytes.Contains(b, []byte(clear)) {
			t.Errorf("%q was sent in plaintext to %s", clear, dest)
		}
	}
}
