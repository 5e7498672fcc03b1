package test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	product "bip324proxy/proxy"
	"bip324proxy/test/hostile"
)

// Helpers of all tests with hostile ends. Each test is a table: what one end does, and what the end behind the proxy
// must then see of it.

// message is a v1 message.
type message struct {
	name    string
	payload []byte
}

func (m message) String() string { return fmt.Sprintf("%q of %d bytes", m.name, len(m.payload)) }

// numbered returns n distinct messages.
func numbered(n int) []message {
	all := make([]message, n)
	names := []string{"inv", "tx", "wtxidrelay", "ping", "twelve-chars"}
	for i := range all {
		all[i] = message{names[i%len(names)], randomPayload(uint64(i), i*37%200)}
	}
	return all
}

// randomPayload returns n bytes that are the same in every run.
func randomPayload(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1], key[2], key[3], key[4] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24), 7
	rand.NewChaCha8(key).Read(b)
	return b
}

// clearText is the part of a client's VERSION that must never be readable on the wire.
const clearText = "/clear-text-user-agent:1/"

// version is a client's first message.
var version = message{"version", append(randomPayload(1, 80), "\x19"+clearText+"\x00\x00\x00\x00\x01"...)}

// under is the proxy under test: the program, or a Server in this process where deadlines must be short.
type under struct {
	*proxyLog
	addr  string
	flags []string
	pid   int         // 0 if it is in this process
	quit  atomic.Bool // it prints its goroutines

	mu     sync.Mutex
	stages []*stage // unused stages: tens of thousands of sessions must not exhaust the ports
}

// enter returns a stage for one meeting; leave returns it to the pool.
func (u *under) enter(t *testing.T) *stage {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := len(u.stages); n > 0 {
		s := u.stages[n-1]
		u.stages = u.stages[:n-1]
		return s
	}
	return newStage(t)
}

func (u *under) leave(s *stage) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stages = append(u.stages, s)
}

// startUnder runs the program. Any line that is not a log entry, such as a panic, fails the test.
func startUnder(t *testing.T, flags ...string) *under {
	t.Helper()
	u := &under{flags: flags}
	t.Cleanup(func() { // after the program ended
		for _, line := range u.program.out.all() {
			if !u.quit.Load() && !json.Valid([]byte(line)) {
				t.Errorf("the proxy printed a line that is not a log entry: %s", line)
			}
		}
	})
	u.proxyLog = newProxyLog(start(t, "bip324-proxy", binaries.proxy,
		append([]string{"--listen", "127.0.0.1:0", "--log-level", "debug", "--log-format", "json"}, flags...)...))
	u.pid = u.program.cmd.Process.Pid
	u.addr = (&proxy{program: u.program}).await(t, "listening", func(e event) bool { return e.Msg == "listening" }).Addr
	return u
}

// startServer runs server in this process.
func startServer(t *testing.T, server *product.Server) *under {
	t.Helper()
	p := &program{name: "proxy.Server", cmd: &exec.Cmd{}, out: newLines(), done: make(chan struct{})}
	server.Log = slog.New(slog.NewJSONHandler(p.out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; err != product.ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
	})
	return &under{proxyLog: newProxyLog(p), addr: l.Addr().String()}
}

// proxyLog finds the lines of a session by its client's address.
type proxyLog struct {
	program *program
	mu      sync.Mutex
	read    int
	by      map[string][]event
}

func newProxyLog(p *program) *proxyLog { return &proxyLog{program: p, by: make(map[string][]event)} }

// of returns the lines about a client so far, and a channel that is closed when more may exist.
func (l *proxyLog) of(client string) ([]event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	more := l.program.out.more()
	all := l.program.out.all()
	for _, line := range all[l.read:] {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && e.Client != "" && !strings.HasPrefix(e.Msg, "message dropped") {
			l.by[e.Client] = append(l.by[e.Client], e)
		}
	}
	l.read = len(all)
	return l.by[client], more
}

// end waits for the last line about a client. It is "session closed" if and only if the session was open.
func (l *proxyLog) end(t *testing.T, client net.Addr) event {
	t.Helper()
	for {
		lines, more := l.of(client.String())
		if n := len(lines); n > 0 && lines[n-1].Msg != "session opened" {
			if (n == 2) != (lines[n-1].Msg == "session closed") || n > 2 {
				t.Errorf("unexpected log lines %+v", lines)
			}
			l.mu.Lock()
			delete(l.by, client.String()) // a later client may get the same port
			l.mu.Unlock()
			return lines[n-1]
		}
		select {
		case <-more:
		case <-t.Context().Done():
			t.Fatalf("no end of the session in the log: %+v", lines)
		}
	}
}

// stage is the address of a peer. Each call of arm lets a function play the next connection; further connections are
// counted and closed.
type stage struct {
	addr string
	l    net.Listener
	done sync.WaitGroup // all connections

	mu     sync.Mutex
	f      func(nc *net.TCPConn)
	played chan struct{} // closed when f has returned
	conns  int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{addr: l.Addr().String(), l: l}
	s.done.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			f, played := s.f, s.played
			s.f = nil
			s.conns++
			s.mu.Unlock()
			if f == nil {
				nc.Close()
				continue
			}
			nc.SetDeadline(time.Now().Add(patience))
			s.done.Go(func() {
				defer close(played)
				defer nc.Close()
				f(nc.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close() })
	return s
}

func (s *stage) arm(f func(nc *net.TCPConn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.f, s.played, s.conns = f, make(chan struct{}), 0
}

// over waits until the armed play ends, closes the stage and returns its number of connections.
func (s *stage) over() int {
	s.l.Close()
	s.done.Wait()
	return s.conns
}

// play returns a stage for one play.
func play(t *testing.T, f func(nc *net.TCPConn)) *stage {
	t.Helper()
	s := newStage(t)
	s.arm(f)
	return s
}

// ending is how a connection ended, as one of its ends saw it.
type ending string

const (
	fin  ending = "FIN"
	rst  ending = "RST"
	open ending = "still open"
)

// endOf reads the rest of a connection.
func endOf(r io.Reader) ending {
	_, err := io.Copy(io.Discard, r)
	return endingOf(err)
}

func endingOf(err error) ending {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return fin
	case errors.Is(err, os.ErrDeadlineExceeded):
		return open
	}
	return rst
}

// hangUp closes nc for writing and waits for the other side to do the same.
func hangUp(nc *net.TCPConn) {
	nc.CloseWrite()
	io.Copy(io.Discard, nc)
}

// reset closes a connection with a TCP reset.
func reset(nc *net.TCPConn) {
	nc.SetLinger(0)
	nc.Close()
}

// readAll reads messages until the stream ends.
func readAll(r io.Reader) (all []message, end error) {
	for {
		name, payload, err := hostile.ReadV1(r)
		if err != nil {
			return all, err
		}
		all = append(all, message{name, payload})
	}
}

// same returns an error unless got is what was to be delivered.
func same(got, want []message) error {
	for i := range min(len(got), len(want)) {
		if got[i].name != want[i].name || string(got[i].payload) != string(want[i].payload) {
			return fmt.Errorf("message %d is %v, altered or out of place; want %v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d messages delivered, want %d", len(got), len(want))
	}
	return nil
}

var each = testkit.Each

// meeting is one session between a well-behaved client and a played peer.
type meeting struct {
	got     []message     // what the client got
	end     ending        // of the client's connection
	err     error         // of the client's stream, unless it ended between messages
	log     event         // the session's last line
	dials   int           // of the peer
	elapsed time.Duration // from the client's VERSION to the end of its connection
}

// meet connects a client through the proxy to a peer that f plays. The client sends says, or VERSION if says is nil,
// and reads to the end.
func meet(t *testing.T, u *under, f func(nc *net.TCPConn), says []byte) (m meeting) {
	t.Helper()
	s := u.enter(t)
	s.arm(f)
	client, err := hostile.Connect(u.addr, s.addr, patience)
	if err != nil {
		t.Errorf("connecting through the proxy: %v", err)
		return m
	}
	defer client.Close()
	if says == nil {
		says = hostile.V1(version.name, version.payload)
	}
	began := time.Now()
	client.Write(says)
	m.got, m.err = readAll(client)
	m.end = endingOf(m.err)
	if m.err == io.EOF {
		m.err = nil
	}
	m.elapsed = time.Since(began)
	client.Close()
	m.log = u.end(t, client.LocalAddr())
	<-s.played
	s.mu.Lock()
	m.dials = s.conns
	s.mu.Unlock()
	u.leave(s)
	return m
}

// meetPrompt is meet with a peer whose first byte comes in time. On a busy host a peer may be silent for the 3 s after
// which the proxy falls back to v1; then it meets again.
func meetPrompt(t *testing.T, u *under, f func(nc *net.TCPConn)) (m meeting) {
	t.Helper()
	for range 5 {
		if m = meet(t, u, f, nil); m.dials < 2 || m.elapsed < 3*time.Second {
			break
		}
	}
	return m
}

// outcome is the expected result of a meeting.
type outcome struct {
	msg     string // "session refused" or "session closed"
	why     string // part of the reason in the log
	got     []message
	end     ending // of the client's connection; fin if empty
	dropped int64
}

// check compares a meeting with the expected outcome.
func (m meeting) check(want outcome) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := same(m.got, want.got); err != nil {
		fault("the client: %w", err)
	}
	if m.end != cmp.Or(want.end, fin) {
		fault("the client's connection: %v (%v), want %v", m.end, m.err, cmp.Or(want.end, fin))
	}
	if m.log.Msg != want.msg || !strings.Contains(m.log.Reason, want.why) {
		fault("the log: %s, %q; want %s, %q", m.log.Msg, m.log.Reason, want.msg, want.why)
	}
	if m.log.Dropped != want.dropped {
		fault("%d messages dropped, want %d", m.log.Dropped, want.dropped)
	}
	if m.dials != 1 {
		fault("%d connections to the peer", m.dials)
	}
	return errors.Join(faults...)
}
