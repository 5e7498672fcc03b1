//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// TestMain runs the test binary also as the stage within the new process, and as the
// programs whose sockets are redirected.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == ExecCommand {
		fmt.Fprintln(os.Stderr, Exec(os.Args[2:]))
		os.Exit(1)
	}
	if len(os.Args) > 2 && os.Args[1] == "program" {
		if err := programs[os.Args[2]](os.Args[3:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// proxy stands in for the proxy: it answers a connection with its destination, then with
// what it receives.
type proxy struct {
	ports      Ports
	supervisor chan *Supervisor
}

// newProxy listens on 127.0.0.1 and ::1.
func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{supervisor: make(chan *Supervisor, 1)}
	var redirected, streams []net.Listener
	var datagrams []net.PacketConn
	for redirected == nil {
		p.ports.TCP, redirected = listenOnLoopback(t)
	}
	for datagrams == nil {
		p.ports.DNS, streams = listenOnLoopback(t)
		for _, l := range streams {
			c, err := net.ListenPacket("udp", l.Addr().String())
			if errors.Is(err, unix.EADDRINUSE) {
				datagrams = nil
				break
			} else if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			datagrams = append(datagrams, c)
		}
	}
	for i := range redirected {
		go accept(redirected[i], p.destination)
		go accept(streams[i], func(net.Conn) string { return "DNS" })
		go answerDatagrams(datagrams[i])
	}
	return p
}

// listenOnLoopback listens on a port that is free at 127.0.0.1 and ::1, or returns none.
func listenOnLoopback(t *testing.T) (port uint16, listeners []net.Listener) {
	t.Helper()
	four, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { four.Close() })
	port = netip.MustParseAddrPort(four.Addr().String()).Port()
	six, err := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", port))
	if errors.Is(err, unix.EADDRINUSE) {
		return 0, nil
	} else if err != nil {
		t.Skipf("IPv6 is missing: %v", err)
	}
	t.Cleanup(func() { six.Close() })
	return port, []net.Listener{four, six}
}

// accept answers connections with a line, then with what arrives.
func accept(l net.Listener, line func(net.Conn) string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprintln(c, line(c))
			io.Copy(struct{ io.Writer }{c}, c) // without splice(2), whose pipes would take descriptors
		}()
	}
}

// destination returns where the command meant to go.
func (p *proxy) destination(c net.Conn) string {
	s := <-p.supervisor
	p.supervisor <- s
	client := netip.MustParseAddrPort(c.RemoteAddr().String())
	destination, ok := s.Destination(client)
	if _, again := s.Destination(client); !ok || again {
		return fmt.Sprintf("known: %v, known twice: %v", ok, again)
	}
	return destination.String()
}

// answerDatagrams answers DNS queries for any name with 203.0.113.9 and 2001:db8::9, and
// other datagrams with themselves.
func answerDatagrams(c net.PacketConn) {
	b := make([]byte, 65536)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		answer := append([]byte("answer to "), b[:n]...)
		var m dnsmessage.Message
		if m.Unpack(b[:n]) == nil && len(m.Questions) == 1 {
			q := m.Questions[0]
			header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
			m.Response, m.Additionals = true, nil
			switch q.Type {
			case dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 9}}}}
			case dnsmessage.TypeAAAA:
				body := &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::9").As16()}
				m.Answers = []dnsmessage.Resource{{Header: header, Body: body}}
			}
			answer, _ = m.Pack()
		}
		c.WriteTo(answer, from)
	}
}

// start starts a command under a supervisor.
func (p *proxy) start(t *testing.T, cmd *exec.Cmd) *Supervisor {
	t.Helper()
	s, err := Start(cmd, p.ports)
	if unavailable := new(UnavailableError); errors.As(err, &unavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.supervisor <- s
	t.Cleanup(func() { s.Close() })
	return s
}

// output runs a command and returns what it writes, without the last newline. A command that
// fails fails the test.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p := newProxy(t)
	p.start(t, cmd)
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, out.Bytes())
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// program returns the command that runs one of programs.
func program(name string, args ...string) *exec.Cmd {
	return exec.Command(os.Args[0], append([]string{"program", name}, args...)...)
}

// needsNative skips the test if the system's programs may be of another architecture.
func needsNative(t *testing.T) {
	t.Helper()
	if runtime.GOARCH == "386" || runtime.GOARCH == "arm" {
		t.Skip("the system's programs may be 64-bit ones, which are killed")
	}
}

// python returns the command that runs a script.
func python(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	needsNative(t)
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is missing")
	}
	return exec.Command(path, append([]string{"-c", script}, args...)...)
}
