package command

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync"

	"bip324proxy/internal/seccomp"
)

// openSeccomp opens listeners on this machine's loopback, to which COMMAND's sockets will be
// redirected.
func openSeccomp() (*fence, error) {
	f := new(fence)
	var ports seccomp.Ports
	var err error
	if f.redirected, _, ports.TCP, err = listenOnLoopback(false); err != nil {
		return nil, err
	}
	if f.dnsStreams, f.dns, ports.DNS, err = listenOnLoopback(true); err != nil {
		closeSockets(f.redirected, nil)
		return nil, err
	}
	s := &supervision{ready: make(chan struct{})}
	for i, l := range f.redirected {
		f.redirected[i] = supervised{l, s}
	}
	f.start = func(path string, args []string) (*os.Process, error) {
		defer s.begin() // if it fails, too: sessions of other programs wait for it
		cmd := &exec.Cmd{Path: path, Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		var err error
		s.supervisor, err = seccomp.Start(cmd, ports)
		return cmd.Process, err
	}
	f.close = func() {
		s.begin()
		if s.supervisor != nil {
			s.supervisor.Close()
		}
		closeSockets(append(f.redirected, f.dnsStreams...), f.dns)
	}
	return f, nil
}

// listenOnLoopback listens on a free port of 127.0.0.1 and, if the system has IPv6, the same of
// ::1, by UDP as well if udp is true.
func listenOnLoopback(udp bool) (tcp []net.Listener, datagrams []*net.UDPConn, port uint16, err error) {
	for range 20 { // the port may be in use at ::1 or by UDP
		tcp, datagrams, port = nil, nil, 0
		for _, host := range []string{"127.0.0.1", "::1"} {
			var l net.Listener
			if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(port)))); err != nil {
				break
			}
			tcp = append(tcp, l)
			addr := l.Addr().(*net.TCPAddr).AddrPort()
			port = addr.Port()
			if udp {
				var c *net.UDPConn
				if c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr)); err != nil {
					break
				}
				datagrams = append(datagrams, c)
			}
		}
		if err == nil || len(tcp) == 1 && (isAbsent(err, "") || isNoFamily(err)) { // without IPv6
			return tcp, datagrams, port, nil
		}
		closeSockets(tcp, datagrams)
	}
	return nil, nil, 0, fmt.Errorf("cannot listen on loopback: %w", err)
}

func closeSockets(tcp []net.Listener, datagrams []*net.UDPConn) {
	for _, l := range tcp {
		l.Close()
	}
	for _, c := range datagrams {
		c.Close()
	}
}

// supervision has the supervisor of COMMAND once COMMAND has started.
type supervision struct {
	once       sync.Once
	ready      chan struct{} // closed once supervisor is set, or never will be
	supervisor *seccomp.Supervisor
}

func (s *supervision) begin() { s.once.Do(func() { close(s.ready) }) }

// supervised is a listener for redirected sockets: a proxy.Redirector.
type supervised struct {
	net.Listener
	*supervision
}

// Destination returns where COMMAND meant to connect a socket. A program that is not
// supervised connected to the listener itself.
func (s supervised) Destination(conn net.Conn) (netip.AddrPort, error) {
	<-s.ready
	remote, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("a redirected connection is TCP, not %T", conn)
	}
	if s.supervisor != nil {
		if dest, ok := s.supervisor.Destination(remote.AddrPort()); ok {
			return dest, nil
		}
	}
	return conn.LocalAddr().(*net.TCPAddr).AddrPort(), nil
}
