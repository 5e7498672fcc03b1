//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/dns"
)

// arguments are those of a call on a socket.
type arguments [6]uint64

// handle answers a call.
func (s *Supervisor) handle(c *call) {
	number, args := uint64(c.number), c.args
	if runtime.GOARCH == "386" && number == socketcall {
		var errno unix.Errno
		if number, args, errno = c.unpack(); errno != 0 {
			c.answer(0, errno)
			return
		}
	}
	if number == unix.SYS_SOCKET { // only within socketcall(2)
		if socketAllowed(args) {
			c.pass()
		} else {
			c.answer(0, unix.EPERM)
		}
		return
	}
	sock, errno := c.socket(args[0])
	if errno != 0 {
		c.answer(0, errno)
		return
	}
	keep := false
	defer func() {
		if !keep {
			sock.close()
		}
	}()
	domain, err := sock.option(unix.SO_DOMAIN)
	switch {
	case err != nil:
		c.answer(0, errnoFrom(err)) // not a socket
	case domain == unix.AF_UNIX && number == unix.SYS_CONNECT && c.isDaemon(args):
		c.answer(0, unix.ENOENT) // libc then asks DNS servers
	case domain != unix.AF_INET && domain != unix.AF_INET6:
		c.pass()
	case number == unix.SYS_CONNECT:
		keep = s.connect(c, sock, args)
	case number == unix.SYS_SENDTO && args[4] != 0 && !sock.stream():
		c.answer(c.sendto(sock, args))
	default:
		if errno := c.checkMessages(sock, number, args); errno != 0 {
			c.answer(0, errno)
		} else {
			c.pass()
		}
	}
}

// isDaemon reports whether a unix socket is to be connected to one of dns.Daemons, which would
// look names up outside.
func (c *call) isDaemon(args arguments) bool {
	to, errno := c.sockaddr(args[1], args[2])
	if errno != 0 || to.family() != unix.AF_UNIX {
		return false
	}
	path, _, _ := strings.Cut(string(to[2:]), "\x00")
	path = strings.TrimPrefix(path, "/var")
	return slices.ContainsFunc(dns.Daemons, func(dir string) bool { return strings.HasPrefix(path, dir+"/") })
}

// unpack returns the call that a socketcall(2) makes.
func (c *call) unpack() (number uint64, args arguments, errno unix.Errno) {
	n := 0
	switch c.args[0] {
	case socketcallSocket:
		number, n = unix.SYS_SOCKET, 3
	case socketcallConnect:
		number, n = unix.SYS_CONNECT, 3
	case socketcallSendto:
		number, n = unix.SYS_SENDTO, 6
	case socketcallSendmsg:
		number, n = unix.SYS_SENDMSG, 3
	case socketcallSendmmsg:
		number, n = unix.SYS_SENDMMSG, 4
	}
	b, errno := c.read(c.args[1], 4*n)
	for i := range len(b) / 4 {
		args[i] = uint64(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return number, args, errno
}

// connect connects a socket to where it is to be redirected. It reports whether it keeps
// the duplicate, to wait for the connection.
func (s *Supervisor) connect(c *call, sock socket, args arguments) (kept bool) {
	asked, errno := c.sockaddr(args[1], args[2])
	if errno != 0 {
		c.answer(0, errno)
		return false
	}
	to, destination, errno := s.redirect(sock, asked)
	if errno != 0 || !c.valid() {
		c.answer(0, errno)
		return false
	}
	flags, err := unix.FcntlInt(uintptr(sock), unix.F_GETFL, 0)
	blocks := err == nil && flags&unix.O_NONBLOCK == 0
	if blocks { // this process handles other calls meanwhile
		unix.FcntlInt(uintptr(sock), unix.F_SETFL, flags|unix.O_NONBLOCK)
	}
	errno = s.connectTo(sock, to, asked, destination)
	if blocks {
		if errno == unix.EINPROGRESS { // on loopback it is connected by now
			errno = sock.connect(to)
		}
		unix.FcntlInt(uintptr(sock), unix.F_SETFL, flags)
	}
	if !blocks || errno != unix.EALREADY && errno != unix.EINPROGRESS {
		s.finish(c, sock, asked, errno)
		return false
	}
	select {
	case s.blocking <- struct{}{}:
	default:
		s.finish(c, sock, asked, unix.ENOBUFS)
		return false
	}
	go func() { // a listener on loopback whose queue is full
		errno := sock.connect(to)
		for errno == unix.EINTR {
			errno = sock.connect(to)
		}
		s.finish(c, sock, asked, errno)
		sock.close()
		<-s.blocking
	}()
	return true
}

// redirect returns the address to connect a socket to, and for a TCP connection that goes
// elsewhere than asked, its destination.
func (s *Supervisor) redirect(sock socket, asked sockaddr) (to sockaddr, destination netip.AddrPort, errno unix.Errno) {
	addr, ok := asked.addrPort()
	switch {
	case asked.family() == unix.AF_UNSPEC: // disconnect
		return asked, destination, 0
	case !ok:
		return nil, destination, unix.EINVAL
	case sock.boundToDevice():
		return nil, destination, unix.ENETUNREACH
	case isLocal(addr):
		return asked, destination, 0
	case addr.Port() == dnsPort && s.ports.DNS != 0:
		return asked.onLoopback(s.ports.DNS), destination, 0
	case sock.stream():
		return asked.onLoopback(s.ports.TCP), addr, 0
	}
	return nil, destination, unix.ENETUNREACH
}

const dnsPort = 53

// isLocal reports whether sockets are connected to addr as they are: on loopback,
// but not the system's resolver, which would look names up outside.
func isLocal(addr netip.AddrPort) bool {
	return (addr.Addr().IsLoopback() || addr.Addr().IsUnspecified()) && addr.Port() != dnsPort
}

// connectTo connects a socket and records where the connection was meant to go.
func (s *Supervisor) connectTo(sock socket, to, asked sockaddr, destination netip.AddrPort) unix.Errno {
	s.mu.Lock() // until recorded, Destination waits
	defer s.mu.Unlock()
	errno := sock.connect(to)
	if errno != 0 && errno != unix.EINPROGRESS {
		return errno
	}
	if len(s.unanswered) >= maxUnanswered {
		clear(s.unanswered)
	}
	s.unanswered[sock.cookie()] = string(asked)
	if local, ok := sock.local(); ok && destination.IsValid() {
		s.destinations[local] = destination
	}
	return errno
}

// finish answers a connect(2). If a signal interrupted an earlier one, which has connected the
// socket nevertheless, this one repeats it and succeeds.
func (s *Supervisor) finish(c *call, sock socket, asked sockaddr, errno unix.Errno) {
	cookie := sock.cookie()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unanswered[cookie] == string(asked) {
		switch errno {
		case unix.EISCONN:
			errno = 0
		case unix.EALREADY:
			errno = unix.EINPROGRESS
		}
	}
	if c.answer(0, errno) {
		delete(s.unanswered, cookie)
	}
}

// sendto sends a datagram to an address on loopback.
func (c *call) sendto(sock socket, args arguments) (sent int, errno unix.Errno) {
	to, errno := c.sockaddr(args[4], args[5])
	if errno != 0 {
		return 0, errno
	}
	if addr, ok := to.addrPort(); !ok || !isLocal(addr) || sock.boundToDevice() {
		return 0, unix.ENETUNREACH
	}
	if args[2] > maxDatagram {
		return 0, unix.EMSGSIZE
	}
	data, errno := c.read(args[1], int(args[2]))
	if errno != 0 || !c.valid() {
		return 0, errno
	}
	return sock.sendto(data, int(int32(args[3]))|unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, to)
}

const (
	maxDatagram = 65535
	maxMessages = 1024 // of one sendmmsg(2): UIO_MAXIOV
)

// checkMessages refuses datagrams that name an address, which the kernel would read after
// this process, and TCP Fast Open, whose flag the filter does not see in a socketcall(2).
func (c *call) checkMessages(sock socket, number uint64, args arguments) unix.Errno {
	flags, messages, stride := args[2], uint64(1), int(unsafe.Sizeof(unix.Msghdr{}))
	switch number {
	case unix.SYS_SENDTO:
		flags, messages = args[3], 0
	case unix.SYS_SENDMMSG:
		flags, messages = args[3], min(args[2]&0xffff_ffff, maxMessages)
		stride = int(unsafe.Sizeof(struct {
			unix.Msghdr
			sent uint32
		}{}))
	}
	if flags&unix.MSG_FASTOPEN != 0 {
		return unix.EOPNOTSUPP
	}
	if sock.stream() { // without that flag the kernel ignores the address
		return 0
	}
	b, errno := c.read(args[1], int(messages)*stride)
	for ; errno == 0 && len(b) > 0; b = b[stride:] {
		const pointer = int(unsafe.Sizeof(uintptr(0)))
		name, length := b[:pointer], b[pointer:pointer+4] // msg_name, msg_namelen
		if slices.Max(name) > 0 && slices.Max(length) > 0 {
			return unix.ENETUNREACH
		}
	}
	return errno
}
