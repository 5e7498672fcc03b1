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
func openSeccomp() (f *fence, err error) {
	f = new(fence)
	closeAll := func() {
		for _, l := range append(f.redirected, f.dnsStreams...) {
			l.Close()
		}
		for _, c := range f.dns {
			c.Close()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	var ports seccomp.Ports
	if f.redirected, ports.TCP, err = listenOnLoopback(); err != nil {
		return nil, err
	}
	if f.dnsStreams, ports.DNS, err = listenOnLoopback(); err != nil {
		return nil, err
	}
	for _, l := range f.dnsStreams {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.Addr().(*net.TCPAddr).AddrPort()))
		if err != nil {
			return nil, err
		}
		f.dns = append(f.dns, c)
	}
	s := &supervision{ready: make(chan struct{})}
	for i, l := range f.redirected {
		f.redirected[i] = supervised{l, s}
	}
	f.start = func(path string, args []string) (*os.Process, error) {
		cmd := &exec.Cmd{Path: path, Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		supervisor, err := seccomp.Start(cmd, ports)
		if err != nil {
			return nil, startError(args[0], err)
		}
		s.supervisor = supervisor
		s.begin()
		return cmd.Process, nil
	}
	f.close = func() {
		s.begin()
		if s.supervisor != nil {
			s.supervisor.Close()
		}
		closeAll()
	}
	return f, nil
}

// listenOnLoopback listens on a free port of 127.0.0.1 and, if the system has IPv6, the same of
// ::1.
func listenOnLoopback() (all []net.Listener, port uint16, err error) {
	for range 20 { // the port may be in use on ::1
		var four, six net.Listener
		if four, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			return nil, 0, err
		}
		port = four.Addr().(*net.TCPAddr).AddrPort().Port()
		if six, err = net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(int(port)))); err == nil {
			return []net.Listener{four, six}, port, nil
		}
		if isAbsent(err, "") || isNoFamily(err) {
			return []net.Listener{four}, port, nil
		}
		four.Close()
	}
	return nil, 0, err
}

// supervision has the supervisor of COMMAND once that is started.
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
