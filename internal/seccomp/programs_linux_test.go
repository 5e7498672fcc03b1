//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// programs run with their sockets redirected.
var programs = map[string]func(args []string) error{
	"dial":        dial,
	"many":        dialMany,
	"blocking":    connectBlocking,
	"full":        connectToFullQueue,
	"repeat":      connectRepeatedly,
	"swap":        swapAddress,
	"swap-fd":     swapDescriptor,
	"leak":        leak,
	"lookup":      lookup,
	"untraceable": superviseUntraceable,
	"calls":       tryCalls,
	"datagrams":   tryDatagrams,
	"supervise":   supervise,
	"dial-after":  dialAfter,
}

// dial connects through package net, which does not block, and writes the first line that
// it receives from each address.
func dial(args []string) error {
	for _, addr := range args {
		line, err := firstLine(addr)
		if err != nil {
			return err
		}
		fmt.Println(line)
	}
	return nil
}

func firstLine(addr string) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// dialMany opens 1000 connections to as many addresses at once, and checks that each
// arrived as meant.
func dialMany([]string) error {
	const n = 1000
	var all sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		all.Go(func() {
			addr := fmt.Sprintf("203.0.%d.%d:%d", 100+i/250, 1+i%250, 1000+i)
			if line, err := firstLine(addr); err != nil || line != addr {
				errs <- fmt.Errorf("%s arrived as %q: %v", addr, line, err)
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}

// connected returns a blocking socket that is connected to addr.
func connected(domain int, addr string) (int, error) {
	fd, err := unix.Socket(domain, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Connect(fd, sockaddrOf(domain, addr))
	}
	return fd, err
}

func sockaddrOf(domain int, addr string) unix.Sockaddr {
	a := netip.MustParseAddrPort(addr)
	if domain == unix.AF_INET6 {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// connectBlocking connects a blocking socket of the domain args[0] to args[1] and writes
// what it receives.
func connectBlocking(args []string) error {
	domain := map[string]int{"4": unix.AF_INET, "6": unix.AF_INET6}[args[0]]
	fd, err := connected(domain, args[1])
	if err != nil {
		return err
	}
	b := make([]byte, 100)
	n, err := unix.Read(fd, b)
	fmt.Print(string(b[:max(n, 0)]))
	return err
}

// connectToFullQueue connects blocking sockets to a listener of its own that accepts none,
// waits until stdin ends, and runs dial.
func connectToFullQueue(args []string) error {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(l, sockaddrOf(unix.AF_INET, "127.0.0.1:0"))
	}
	if err == nil {
		err = unix.Listen(l, 0)
	}
	if err != nil {
		return err
	}
	bound, err := unix.Getsockname(l)
	if err != nil {
		return err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", bound.(*unix.SockaddrInet4).Port)
	for range 5 {
		go connected(unix.AF_INET, addr)
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return dial(args)
}

// connectRepeatedly writes what connect(2) returns for a socket in each of its states.
func connectRepeatedly(args []string) error {
	to := sockaddrOf(unix.AF_INET, args[0])
	fd, err := connected(unix.AF_INET, args[0])
	if err != nil {
		return err
	}
	fmt.Println("again:", name(unix.Connect(fd, to)))
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&[16]byte{})), 16)
	fmt.Println("disconnect:", name(errno))
	fmt.Println("after that:", name(unix.Connect(fd, to)))

	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	fmt.Println("without blocking:", name(unix.Connect(fd, to)))
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1); err != nil {
		return err
	}
	fmt.Println("then:", name(unix.Connect(fd, to)))
	fmt.Println("and then:", name(unix.Connect(fd, to)))
	_, _, errno = unix.Syscall(unix.SYS_CONNECT, uintptr(fd), 0, 16)
	fmt.Println("no address:", name(errno))
	fmt.Println("no socket:", name(unix.Connect(int(os.Stdin.Fd()), to)))
	fmt.Println("no descriptor:", name(unix.Connect(1000, to)))
	return nil
}

// swapAddress connects while another thread changes the address between args[0] and
// args[1], and writes each address that the proxy saw, once.
func swapAddress(args []string) error {
	var addrs [2][16]byte
	for i := range addrs {
		a := netip.MustParseAddrPort(args[i])
		four := a.Addr().As4()
		copy(addrs[i][:], []byte{unix.AF_INET, 0, byte(a.Port() >> 8), byte(a.Port())})
		copy(addrs[i][4:], four[:])
	}
	to := addrs[0]
	var stop atomic.Bool
	defer stop.Store(true)
	go func() {
		for i := 0; !stop.Load(); i++ {
			to[7] = addrs[i%2][7] // the last byte: there is no torn address
		}
	}()
	for range 300 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to)), 16); errno != 0 {
			return errno
		}
		b := make([]byte, 100)
		n, err := unix.Read(fd, b)
		if line := strings.TrimSpace(string(b[:max(n, 0)])); line != args[0] && line != args[1] {
			return fmt.Errorf("the proxy saw %q: %v", line, err)
		}
		unix.Close(fd)
	}
	return nil
}

// swapDescriptor connects a unix socket to the address args[0], in place of which another
// thread puts a TCP socket.
func swapDescriptor(args []string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	var stop atomic.Bool
	swapped := make(chan struct{})
	fd, other := pair[0], pair[1]
	go func() {
		defer close(swapped)
		for !stop.Load() {
			tcp, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				return
			}
			unix.Dup3(tcp, fd, 0)
			unix.Close(tcp)
			unix.Dup3(other, fd, 0)
		}
	}()
	for range 5000 {
		unix.Connect(fd, sockaddrOf(unix.AF_INET, args[0]))
	}
	stop.Store(true)
	<-swapped
	return nil
}

// leak sends a datagram to args[0].
func leak(args []string) error {
	c, err := net.Dial("udp", args[0])
	if err == nil {
		_, err = c.Write([]byte("data"))
	}
	return err
}

// lookup writes the addresses of args[0], by Go's own resolver.
func lookup(args []string) error {
	addrs, err := (&net.Resolver{PreferGo: true}).LookupNetIP(context.Background(), "ip", args[0])
	slices.SortFunc(addrs, netip.Addr.Compare)
	fmt.Println(addrs)
	return err
}

// superviseUntraceable runs supervise where pidfd_getfd(2) is forbidden, as it is by
// Docker's default profile.
func superviseUntraceable(args []string) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	f := join(load(dataNumber), is(unix.SYS_PIDFD_GETFD, refuse(unix.EPERM)), allow)
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return supervise(args)
}

// tryCalls writes the result of calls that could go around the proxy.
func tryCalls([]string) error {
	try := func(what string, domain, kind, protocol int) {
		fd, err := unix.Socket(domain, kind, protocol)
		fmt.Println(what+":", name(err))
		if err == nil {
			unix.Close(fd)
		}
	}
	try("tcp", unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	try("udp", unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	try("unix", unix.AF_UNIX, unix.SOCK_STREAM, 0)
	try("netlink", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	try("raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP)
	try("raw IPv6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
	try("ping", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	try("SCTP", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
	try("UDP-Lite", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE)
	try("packet", unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	try("old packet", unix.AF_INET, unix.SOCK_PACKET, 0)
	try("vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	try("SMC", unix.AF_SMC, unix.SOCK_STREAM, 0)
	_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&[120]byte{})), 0)
	fmt.Println("io_uring:", name(errno))
	if interfaces, err := net.Interfaces(); err != nil || len(interfaces) == 0 {
		return fmt.Errorf("interfaces: %v, %w", interfaces, err)
	}
	for _, call := range []string{"sendto", "sendmsg"} {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		to := sockaddrOf(unix.AF_INET, "203.0.113.7:8333")
		if call == "sendto" {
			err = unix.Sendto(fd, []byte("data"), unix.MSG_FASTOPEN, to)
		} else {
			err = unix.Sendmsg(fd, []byte("data"), nil, to, unix.MSG_FASTOPEN)
		}
		fmt.Println("fast open by "+call+":", name(err))
	}
	return nil
}

// supervise runs dial-after under a supervisor, which never ends by itself. The ports are
// args[0].
func supervise(args []string) error {
	var ports Ports
	if _, err := fmt.Sscan(args[0], &ports.TCP); err != nil {
		return err
	}
	cmd := program("dial-after", args[1])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if _, err := Start(cmd, ports); err != nil {
		return err
	}
	return cmd.Wait()
}

// dialAfter writes a line, waits until stdin ends, and connects to args[0].
func dialAfter(args []string) error {
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	_, err := net.Dial("tcp", args[0])
	fmt.Println(name(err))
	child := exec.Command(os.Args[0], "program", "dial", args[0])
	out, _ := child.CombinedOutput()
	fmt.Print(string(out))
	return nil
}

// name returns the name of the errno in err, ok if there is none.
func name(err error) string {
	errno := syscall.Errno(0)
	if err == nil || errors.As(err, &errno) && errno == 0 {
		return "ok"
	}
	return unix.ErrnoName(errno)
}
