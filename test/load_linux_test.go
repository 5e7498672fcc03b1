package test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/transport"
)

// The load tests check correctness and recovery, and print times. docs/reliability.md has the figures of their long
// forms.

// startLimitedProxy is startProxy with a descriptor limit.
func startLimitedProxy(t *testing.T, descriptors int, flags ...string) *proxy {
	t.Helper()
	args := append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, descriptors), binaries.proxy,
		"--listen", "127.0.0.1:0", "--log-format", "json", "--grace", "0"}, flags...)
	p := &proxy{program: start(t, "bip324-proxy", "/bin/sh", args...)}
	p.addr = p.await(t, "listening", func(e event) bool { return e.Msg == "listening" }).Addr
	return p
}

// descriptors returns the descriptor limit of this process and its children.
func descriptors() int {
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Cur, 1<<20))
}

// usage is the resource use of a process.
type usage struct {
	cpu         time.Duration // since start
	rss         int64         // bytes
	descriptors int
	threads     int
}

// usage reads the process's resource use from the system.
func (p *program) usage(t *testing.T) usage {
	t.Helper()
	pid := p.cmd.Process.Pid
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return usage{cpuTime(pid), procStatus(pid, "VmRSS") << 10, len(open), int(procStatus(pid, "Threads"))}
}

// awaitDescriptors waits until a process has at most n descriptors open.
func (p *program) awaitDescriptors(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has %d descriptors open, it has %d", p.name, n, p.usage(t).descriptors), func() bool { return p.usage(t).descriptors == n })
}

// startV2Peer starts a node that answers VERSION with VERACK and PING with PONG.
func startV2Peer(t *testing.T) (addr string) {
	return listen(t, func(nc *net.TCPConn) {
		c, err := transport.Server(context.Background(), nc, transport.Config{Magic: regtestMagic})
		if err != nil {
			return
		}
		for {
			contents, err := c.ReadPacket()
			if err != nil {
				return
			}
			switch {
			case contents[0] == 18: // ping
				c.WritePacket(append([]byte{19}, contents[1:]...))
			case bytes.HasPrefix(contents, []byte("\x00version\x00")):
				c.WritePacket([]byte("\x00verack\x00\x00\x00\x00\x00\x00"))
			}
		}
	})
}

// v1Bytes returns a message as a v1 client on regtest sends it.
func v1Bytes(m wire.Message) []byte {
	var b bytes.Buffer
	if err := wire.WriteMessage(&b, m, wire.ProtocolVersion, wire.TestNet); err != nil {
		panic(err)
	}
	return b.Bytes()
}

var (
	versionBytes = v1Bytes(wire.NewMsgVersion(noAddr, noAddr, 1, 0))
	pingBytes    = v1Bytes(wire.NewMsgPing(1))
	verackSize   = len(v1Bytes(wire.NewMsgVerAck()))
	pongSize     = len(v1Bytes(wire.NewMsgPong(1)))
)

// socksConnectTo returns greeting and request for dest, an IPv4 address.
func socksConnectTo(dest string) (greeting, request []byte) {
	host, portText, _ := net.SplitHostPort(dest)
	n, _ := strconv.Atoi(portText)
	request = append([]byte{5, 1, 0, 1}, net.ParseIP(host).To4()...)
	return []byte{5, 1, 0}, binary.BigEndian.AppendUint16(request, uint16(n))
}

// connectThrough connects to dest through the proxy and returns the code of the reply.
func connectThrough(proxy, dest string) (nc net.Conn, code byte, err error) {
	nc, err = net.Dial("tcp", proxy)
	if err != nil {
		return nil, 0, err
	}
	nc.SetDeadline(time.Now().Add(patience))
	greeting, request := socksConnectTo(dest)
	if err = exchange(nc, greeting, []byte{5, 0}); err == nil {
		_, err = nc.Write(request)
	}
	var reply [10]byte
	if err == nil {
		_, err = io.ReadFull(nc, reply[:])
	}
	if err != nil || reply[1] != 0 {
		nc.Close()
		return nil, reply[1], err
	}
	return nc, 0, nil
}

// upgradeThrough is connectThrough that also waits for the peer's VERACK.
func upgradeThrough(proxy, dest string) (nc net.Conn, code byte, err error) {
	nc, code, err = connectThrough(proxy, dest)
	if err != nil || code != 0 {
		return nil, code, err
	}
	nc.Write(versionBytes)
	if _, err = io.ReadFull(nc, make([]byte, verackSize)); err != nil {
		nc.Close()
		return nil, 0, fmt.Errorf("after VERSION: %w", err)
	}
	return nc, 0, nil
}

// requireGood checks that a client reaches its peer, and returns how long it took.
func requireGood(t *testing.T, proxy, dest string) (took time.Duration) {
	t.Helper()
	began := time.Now()
	nc, code, err := upgradeThrough(proxy, dest)
	if err != nil || code != 0 {
		t.Fatalf("well-behaved client: reply %d, %v", code, err)
	}
	nc.Close()
	return time.Since(began)
}

// durations collects measurements.
type durations struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *durations) add(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, took)
}

// at returns a quantile.
func (d *durations) at(share float64) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return 0
	}
	slices.Sort(d.all)
	return d.all[int(share*float64(len(d.all)-1))]
}

func (d *durations) String() string {
	at := func(share float64) time.Duration { return d.at(share).Round(time.Millisecond) }
	d.mu.Lock()
	n := len(d.all)
	d.mu.Unlock()
	return fmt.Sprintf("%d: median %v, p99 %v, most %v", n, at(0.5), at(0.99), at(1))
}

// settled returns the number of open descriptors of a proxy without sessions.
func (p *proxy) settled(t *testing.T) (n int) {
	t.Helper()
	eventually(t, "the proxy has no session", func() bool {
		n = 0
		sockets := 0
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
		for _, l := range links {
			to, err := os.Readlink(l)
			if err != nil {
				continue // closed since listed
			}
			n++
			if strings.HasPrefix(to, "socket:") {
				sockets++
			}
		}
		return sockets == 1
	})
	return n
}
