//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"errors"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supervisor redirects the sockets of a command.
type Supervisor struct {
	ports    Ports
	listener *os.File
	ended    chan struct{}
	blocking chan struct{} // a semaphore: connections that are waited for in goroutines

	mu           sync.Mutex
	destinations map[netip.AddrPort]netip.AddrPort // by the address that the listener on loopback sees
	unanswered   map[uint64]string                 // by socket: what it was connected to for a call without an answer yet
}

// Connections that are waited for are to loopback: each takes a thread. Calls remain without
// an answer when a signal interrupts them, and matter only until they are repeated.
const (
	maxBlocking   = 256
	maxUnanswered = 4096
)

// notification is struct seccomp_notif.
type notification struct {
	id         uint64
	pid, flags uint32 // pid is the thread
	number     int32
	arch       uint32
	ip         uint64
	args       arguments
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

func newSupervisor(listener *os.File, ports Ports) *Supervisor {
	s := &Supervisor{
		ports: ports, listener: listener,
		ended: make(chan struct{}), blocking: make(chan struct{}, maxBlocking),
		destinations: make(map[netip.AddrPort]netip.AddrPort),
		unanswered:   make(map[uint64]string),
	}
	go s.serve()
	return s
}

// Destination returns the address to which the command meant to connect the socket whose
// address is client, as a connection accepted on Ports.TCP shows it, and forgets it.
func (s *Supervisor) Destination(client netip.AddrPort) (netip.AddrPort, bool) {
	client = unmap(client)
	s.mu.Lock() // connectTo holds it, so a connection that was accepted is known
	defer s.mu.Unlock()
	destination, ok := s.destinations[client]
	delete(s.destinations, client)
	return destination, ok
}

// Close stops redirecting: from now on the command cannot connect. It waits until no call
// is being handled but those that wait for a connection to loopback.
func (s *Supervisor) Close() error {
	err := s.listener.Close()
	<-s.ended
	return err
}

// serve handles calls, one after the other, until Close or until no process is left.
func (s *Supervisor) serve() {
	defer close(s.ended)
	defer s.listener.Close()
	raw, err := s.listener.SyscallConn()
	if err != nil {
		return
	}
	raw.Read(func(fd uintptr) (done bool) {
		for {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if n, err := unix.Poll(poll, 0); err == unix.EINTR {
				continue
			} else if err != nil || n == 0 {
				return err != nil
			}
			if poll[0].Revents&unix.POLLIN == 0 {
				return true // no process is left
			}
			c := &call{listener: raw}
			switch ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&c.notification)) {
			case 0:
				s.handle(c)
			case unix.EINTR, unix.ENOENT: // the thread was interrupted, or has ended
			default:
				return true
			}
		}
	})
}

func ioctl(fd uintptr, request uintptr, data unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(data))
	return errno
}

// call is a call that waits for its answer.
type call struct {
	notification
	listener syscall.RawConn
}

// ioctl reports whether the request to the listener succeeded.
func (c *call) ioctl(request uintptr, data unsafe.Pointer) (ok bool) {
	c.listener.Control(func(fd uintptr) { ok = ioctl(fd, request, data) == 0 })
	return ok
}

// valid reports whether the thread still waits: if so, its number was not reused.
func (c *call) valid() bool { return c.ioctl(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&c.id)) }

// answer ends the call with value, or with errno if that is not 0. It reports whether the
// thread still waited.
func (c *call) answer(value int, errno unix.Errno) bool {
	r := response{id: c.id, value: int64(value), errno: -int32(errno)}
	return c.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
}

// pass has the kernel execute the call as it is.
func (c *call) pass() {
	r := response{id: c.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	c.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
}

// read returns n bytes of the process's memory. Podman's profile forbids
// process_vm_readv(2), hence the file.
func (c *call) read(address uint64, n int) ([]byte, unix.Errno) {
	b := make([]byte, n)
	if n == 0 {
		return b, 0
	}
	if address > math.MaxInt64 {
		return nil, unix.EFAULT
	}
	memory, err := os.Open("/proc/" + strconv.Itoa(int(c.pid)) + "/mem")
	if err != nil {
		return nil, errnoFrom(err)
	}
	defer memory.Close()
	if _, err := memory.ReadAt(b, int64(address)); err != nil {
		return nil, unix.EFAULT
	}
	return b, 0
}

// socket returns a duplicate of a socket of the process.
func (c *call) socket(fd uint64) (socket, unix.Errno) {
	process, err := leader(int(c.pid))
	if err != nil {
		return -1, errnoFrom(err)
	}
	s, err := duplicate(process, int(int32(fd)))
	return socket(s), errnoFrom(err)
}

// leader returns the number of the process that the thread is of.
func leader(thread int) (int, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(thread) + "/status")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "\nTgid:")
	line, _, _ := strings.Cut(after, "\n")
	return strconv.Atoi(strings.TrimSpace(line))
}

// errnoFrom returns the errno to answer with for an error of this process, 0 if it is nil.
func errnoFrom(err error) unix.Errno {
	errno := unix.EPERM
	switch {
	case err == nil:
		return 0
	case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE): // it is not the command's limit
		return unix.ENOBUFS // EAGAIN means in progress to some
	}
	errors.As(err, &errno)
	return errno
}
