package command

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	socksclient "golang.org/x/net/proxy"

	"bip324proxy/internal/stream"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

var demoMagic = transport.Networks[0].Magic // mainnet

// genesis is the first block, which the client requests and checks.
const genesis = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a" +
	"29ab5f49ffff001d1dac2b7c0101000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d6573" +
	"2030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a010000" +
	"00434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"

const (
	demoBlockSize = 1_500_000 // bytes
	demoBlocks    = 200
	demoBatch     = 10              // blocks that the client requests at a time
	demoTime      = 5 * time.Second // for blocks: a slow machine sends fewer
	demoTimeout   = time.Minute
)

func demoCommand() *cli.Command {
	return command(&cli.Command{
		Name:   "demo",
		Usage:  "show what it does, with a v1 client, the proxy and a v2 node on loopback",
		Action: func(c *cli.Context) error { return demo(c.Context, c.App.Writer) },
	})
}

// demo runs a v2 node, the proxy and a v1 client on loopback, then a v1 node and a v2 peer, and
// prints what they send.
func demo(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()

	nodeListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer nodeListener.Close()
	var nodeID string
	node := make(chan error, 1)
	go func() {
		id, err := runNode(ctx, nodeListener)
		nodeID = id
		node <- err
	}()

	wire := new(wiretap)
	ids := make(chan string, 1)
	log := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "session_id" {
			ids <- a.Value.String()
		}
		return a
	}}))
	server := &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Dial: wire.dial}}, Log: log}
	proxyListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go server.Serve(proxyListener)
	defer server.Close()

	proxyAddr, nodeAddr := proxyListener.Addr().String(), nodeListener.Addr().String()
	fmt.Fprintf(out, "A v1 client, this proxy (SOCKS5 on %s) and a v2 node (on %s), all on loopback.\n", proxyAddr, nodeAddr)
	client, err := runClient(ctx, proxyAddr, nodeAddr)
	if err != nil {
		return fmt.Errorf("the client failed: %w", err)
	}
	if err := <-node; err != nil {
		return fmt.Errorf("the node failed: %w", err)
	}
	if err := client.tell(out, wire, <-ids, nodeID); err != nil {
		return err
	}
	return demoInbound(ctx, out, server, ids)
}

// clientReport has what the client sent and received.
type clientReport struct {
	said      []byte // its VERSION message in v1
	userAgent string // the node's
	block     []byte
	bytes     int // of blocks, for the throughput
	took      time.Duration
}

// runClient runs a Bitcoin client that speaks only v1 and SOCKS5.
func runClient(ctx context.Context, proxyAddr, nodeAddr string) (*clientReport, error) {
	dialer, err := socksclient.SOCKS5("tcp", proxyAddr, nil, nil)
	if err != nil {
		return nil, err
	}
	conn, err := dialer.(socksclient.ContextDialer).DialContext(ctx, "tcp", nodeAddr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)

	r := &clientReport{said: v1v2.AppendMessage(nil, demoMagic, v1v2.TypeOf("version"), versionPayload("/unpatched-v1-client:1.0/"))}
	if _, err := conn.Write(r.said); err != nil {
		return nil, err
	}
	messages := v1v2.NewReader(stream.NewReader(conn), demoMagic)
	started := time.Now()
	for {
		m, ok, err := messages.Next()
		if err == nil && !ok {
			err = errors.New("a message has an invalid checksum")
		}
		if err != nil {
			return nil, err
		}
		var answer []byte
		switch m.Type.String() {
		case "version":
			r.userAgent = v1v2.UserAgent(m.Payload())
			answer = v1v2.AppendMessage(nil, demoMagic, v1v2.TypeOf("verack"), nil)
		case "verack":
			answer = v1v2.AppendMessage(nil, demoMagic, v1v2.TypeOf("getdata"), []byte("the first block"))
		case "block":
			if r.block == nil {
				r.block = slices.Clone(m.Payload())
				answer = v1v2.AppendMessage(nil, demoMagic, v1v2.TypeOf("getdata"), []byte("many blocks"))
				started = time.Now()
				break
			}
			if r.bytes += len(m.Payload()); r.bytes%(demoBatch*demoBlockSize) > 0 {
				break
			}
			if r.took = time.Since(started); r.took > demoTime || r.bytes >= demoBlocks*demoBlockSize {
				return r, nil
			}
			answer = v1v2.AppendMessage(nil, demoMagic, v1v2.TypeOf("getdata"), []byte("many blocks"))
		}
		if _, err := conn.Write(answer); err != nil {
			return nil, err
		}
	}
}

// runNode runs a node that speaks only v2, until its one client leaves.
func runNode(ctx context.Context, l net.Listener) (sessionID string, err error) {
	nc, err := l.Accept()
	if err != nil {
		return "", err
	}
	conn, err := transport.Server(ctx, nc, transport.Config{Magic: demoMagic})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	first, _ := hex.DecodeString(genesis)
	filler := make([]byte, demoBlockSize)
	rand.Read(filler)
	send := func(name string, payload []byte) {
		if err == nil {
			err = conn.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf(name), payload))
		}
	}
	for err == nil {
		contents, end := conn.ReadPacket()
		if end != nil {
			break
		}
		t, payload, _ := v1v2.Decode(contents)
		switch {
		case t.String() == "version":
			send("version", versionPayload("/v2-node:1.0/"))
			send("verack", nil)
		case t.String() == "getdata" && string(payload) == "the first block":
			send("block", first)
		case t.String() == "getdata":
			for range demoBatch {
				send("block", filler)
			}
		}
	}
	id := conn.SessionID()
	return hex.EncodeToString(id[:]), err
}

// tell prints the report, and fails if plaintext left or the session ids differ.
func (r *clientReport) tell(out io.Writer, wire *wiretap, proxyID, nodeID string) error {
	sent := wire.bytes()
	fmt.Fprintf(out, `
The client said, in v1 plaintext (magic, "version", length, checksum, ...):
%s
What left the proxy for the node instead (the first bytes of %d):
%s`, hexdump(r.said, 112), len(sent), hexdump(sent, 112))
	for _, clear := range [][]byte{demoMagic[:], []byte("version"), []byte("verack"), []byte("unpatched-v1-client")} {
		if bytes.Contains(sent, clear) {
			return fmt.Errorf("%q left in plaintext", clear)
		}
	}
	fmt.Fprintf(out, "The magic %x, the words \"version\" and \"verack\" and the client's name are not in it.\n", demoMagic)

	if err := tellSession(out, proxyID, "node", nodeID); err != nil {
		return err
	}

	once := sha256.Sum256(r.block[:80])
	hash := sha256.Sum256(once[:])
	slices.Reverse(hash[:])
	fmt.Fprintf(out, "\nThe node called itself %s and sent a block that the client got in v1:\n  %x\n  which says %q\n",
		r.userAgent, hash, r.block[131:200])
	fmt.Fprintf(out, "\nThroughput: %d blocks, %d MB, in %v: %.0f MB/s through client, proxy and node on this machine.\n",
		r.bytes/demoBlockSize, r.bytes/1e6, r.took.Round(time.Millisecond), float64(r.bytes)/1e6/r.took.Seconds())
	return nil
}

// tellSession prints the session id as the proxy and the other end have it, and fails if they differ.
func tellSession(out io.Writer, proxyID, other, otherID string) error {
	fmt.Fprintf(out, "\nSession id, as the proxy has it: %s\n            as the %s has it:  %s\n", proxyID, other, otherID)
	if otherID != proxyID {
		return errors.New("the session ids differ: there is a man in the middle")
	}
	return nil
}

// versionPayload returns the payload of a VERSION message.
func versionPayload(userAgent string) []byte {
	return v1v2.AppendVersion(nil, v1v2.Version{Protocol: 70016, UserAgent: userAgent}, 0)
}

// hexdump returns at most n bytes of b in hexadecimal.
func hexdump(b []byte, n int) (s string) {
	for line := range slices.Chunk(b[:min(n, len(b))], 28) {
		s += fmt.Sprintf("  %x\n", line)
	}
	return s
}

// wiretap records what is sent on the connection that it dials: a few kilobytes.
type wiretap struct {
	net.Conn
	mu   sync.Mutex
	sent []byte
}

func (w *wiretap) dial(ctx context.Context, network, addr string) (_ net.Conn, err error) {
	w.Conn, err = new(net.Dialer).DialContext(ctx, network, addr)
	return w, err
}

// bytes returns a copy of what was sent so far.
func (w *wiretap) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

func (w *wiretap) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.sent = append(w.sent, p...)
	w.mu.Unlock()
	return w.Conn.Write(p)
}
