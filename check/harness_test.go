package check

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/armon/go-socks5"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// startProxy runs bip324-proxy's server.
func startProxy(t *testing.T, server *proxy.Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if server.Log == nil {
		server.Log = slog.New(slog.DiscardHandler)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return l.Addr().String()
}

// plainSOCKS5 starts an independent SOCKS5 proxy that is not Tor.
func plainSOCKS5(t *testing.T) (addr string) {
	server, err := socks5.New(new(socks5.Config))
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Serve(t, func(nc net.Conn) { server.ServeConn(nc) })
}

// fakeTor answers RESOLVE as Tor does. All names resolve to loopback.
type fakeTor struct {
	addr string

	mu    sync.Mutex
	asked []string // destinations of its CONNECT requests
}

func newFakeTor(t *testing.T) *fakeTor {
	tor := new(fakeTor)
	tor.addr = testkit.Serve(t, func(nc net.Conn) {
		in := bufio.NewReader(nc)
		request, err := socks.Config{}.Negotiate(nc, in)
		if err != nil {
			return
		}
		if request.Command == socks.CommandResolve {
			request.ReplyAddr(netip.MustParseAddr(request.Dest.Host))
			return
		}
		dest := request.Dest.String()
		tor.mu.Lock()
		tor.asked = append(tor.asked, dest)
		tor.mu.Unlock()
		_, port, _ := net.SplitHostPort(dest)
		out, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			request.Reply(socks.HostUnreachable)
			return
		}
		defer out.Close()
		request.Reply(socks.Succeeded)
		go func() {
			io.Copy(out, in)
			out.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(nc, out)
	})
	return tor
}

func (f *fakeTor) upstream() *socks.Upstream {
	return &socks.Upstream{Network: "tcp", Address: f.addr}
}

var mainnet = [4]byte{0xf9, 0xbe, 0xb4, 0xd9}

// theirVersion is the VERSION that the peers in these tests send.
var theirVersion = v1v2.AppendVersion(nil, v1v2.Version{Protocol: 70016, Services: 1 | 1<<3 | 1<<10 | 1<<11, UserAgent: "/Satoshi:30.0.0/", Height: 917_231}, 1)

// v2Peer speaks v2. It answers a VERSION with other messages and its own VERSION, and sends what it
// received to seen.
type v2Peer struct {
	magic   [4]byte
	version []byte // nil: hang up instead
	shape   transport.Shape
	seen    chan seen
}

type seen struct {
	sessionID [32]byte
	messages  []string
	version   []byte
	err       error // the read error that ended the session
}

func newV2Peer(magic [4]byte) *v2Peer {
	return &v2Peer{magic: magic, version: theirVersion, seen: make(chan seen, 1)}
}

func (p *v2Peer) handle(nc net.Conn) {
	c, err := transport.Server(context.Background(), nc, transport.Config{Magic: p.magic, Decoys: []int{100}, Shape: p.shape})
	if err != nil {
		p.seen <- seen{err: err}
		return
	}
	s := seen{sessionID: c.SessionID()}
	for {
		contents, err := c.ReadPacket()
		if err != nil {
			s.err = err
			p.seen <- s
			return
		}
		name, payload, _ := v1v2.Decode(contents)
		s.messages = append(s.messages, name.String())
		if name.String() != "version" {
			continue
		}
		s.version = append([]byte{}, payload...)
		if p.version == nil {
			s.err = io.EOF
			p.seen <- s
			return
		}
		c.WritePacket([]byte{0xff, 1, 2, 3}) // an unassigned id
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("version"), p.version))
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("verack"), nil))
	}
}

// v1Peer speaks v1 only: it hangs up unless it receives a v1 header of its network.
func v1Peer(nc net.Conn) {
	var header [v1v2.HeaderSize]byte
	if _, err := io.ReadFull(nc, header[:]); err != nil || [4]byte(header[:]) != mainnet {
		return
	}
	nc.Write(v1v2.AppendMessage(nil, mainnet, v1v2.TypeOf("version"), theirVersion))
	io.Copy(io.Discard, nc)
}

// closing reads once and hangs up.
func closing(nc net.Conn) {
	var b [8192]byte
	nc.Read(b[:])
}

func silent(nc net.Conn) { io.Copy(io.Discard, nc) }

// says returns a handler that writes text and waits for the other side to hang up.
func says(text string) func(net.Conn) {
	return func(nc net.Conn) {
		io.WriteString(nc, text)
		io.Copy(io.Discard, nc)
	}
}

var (
	times     = regexp.MustCompile(`\b\d+(\.\d+)?(µs|ms|s)\b`)
	ids       = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	addresses = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	spaces    = regexp.MustCompile(`\s+`)
)

// text returns the report as text on one line, with times, ids and addresses replaced.
func text(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(line); n > width+1 && !ids.MatchString(line) {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	s := times.ReplaceAllString(b.String(), "TIME")
	s = addresses.ReplaceAllString(ids.ReplaceAllString(s, "ID"), "ADDR")
	return strings.TrimSpace(spaces.ReplaceAllString(s, " "))
}

// within returns a context that ends after a minute, longer than any check may take.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
