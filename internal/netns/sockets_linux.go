package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/inherited"
)

// socketMaker is the process outside of one that stays in the namespace to make sockets. A
// message to it is a family; it answers with an error number, and a socket if that is 0.
type socketMaker struct {
	control *control
	process *os.Process
	turn    sync.Mutex // for a request and its answer
}

// dialTimeout is the longest that a connection to the namespace's loopback may take.
const dialTimeout = 10 * time.Second

// startSocketMaker starts the process, with no capability and as a child of the process
// outside. It returns the other end of its control.
func startSocketMaker() (ours *os.File, pid int, err error) {
	ours, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, 0, err
	}
	defer theirs.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // a thread that ends here, since it has no capabilities any more
		if err = dropCapabilities(func(uintptr) bool { return true }); err == nil {
			pid, err = startSelf(theirs, role{Sockets: true}, false, &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_PARENT,
				Setpgid:    true, // the signals of the terminal are not for it
			})
		}
	}()
	<-done
	if err != nil {
		ours.Close()
	}
	return ours, pid, err
}

// makeSockets is the process. It ends with the one outside.
func makeSockets(c *control) error {
	// The command may have the same user: it cannot trace this process.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	if err := inherited.Release(); err != nil {
		return err
	}
	b := make([]byte, 1)
	for {
		if n, err := c.Read(b); err != nil || n == 0 {
			return err
		}
		if err := c.makeSocket(int(b[0])); err != nil {
			return err
		}
	}
}

// makeSocket makes a socket and passes it.
func (c *control) makeSocket(family int) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		number, _ := err.(unix.Errno)
		return c.send([]byte{byte(number)})
	}
	defer unix.Close(fd)
	_, _, err = c.WriteMsgUnix([]byte{0}, unix.UnixRights(fd), nil)
	return err
}

// newSocketMaker takes over the control. It returns when the process is ready.
func newSocketMaker(f *os.File, pid int) (*socketMaker, error) {
	c, err := controlOn(f)
	if err != nil {
		return nil, err
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		c.Close()
		return nil, err
	}
	s := &socketMaker{control: c, process: process}
	first, err := s.socket(unix.AF_INET)
	if err != nil {
		return s, fmt.Errorf("the process that makes sockets in the network namespace: %w", err)
	}
	return s, first.Close()
}

// socket returns a new socket of the namespace.
func (s *socketMaker) socket(family int) (*os.File, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.control.SetWriteDeadline(time.Now().Add(controlTimeout))
	if err := s.control.send([]byte{byte(family)}); err != nil {
		return nil, err
	}
	b := make([]byte, 1)
	n, files, err := s.control.receive(b)
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return nil, net.ErrClosed
	case len(files) != 1:
		closeAll(files)
		return nil, unix.Errno(b[0])
	}
	return files[0], nil
}

// dial connects to a port of loopback, by IPv4 or else by IPv6.
func (s *socketMaker) dial(ctx context.Context, port uint16) (net.Conn, error) {
	conn, err := s.connect(ctx, unix.AF_INET, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		return conn, nil
	}
	if conn, err := s.connect(ctx, unix.AF_INET6, &unix.SockaddrInet6{Port: int(port), Addr: [16]byte{15: 1}}); err == nil {
		return conn, nil
	}
	return nil, fmt.Errorf("port %d of the command: %w", port, err)
}

func (s *socketMaker) connect(ctx context.Context, family int, to unix.Sockaddr) (net.Conn, error) {
	f, err := s.socket(family)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	f.SetWriteDeadline(time.Now().Add(dialTimeout))
	defer context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Unix(1, 0)) })()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	waited := raw.Write(func(fd uintptr) bool {
		err = unix.Connect(int(fd), to)
		return err != unix.EINPROGRESS && err != unix.EALREADY && err != unix.EINTR
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case waited != nil:
		return nil, waited
	case err != nil && err != unix.EISCONN:
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}

// close ends the process, even if the command has stopped it.
func (s *socketMaker) close() {
	s.control.Close()
	s.process.Kill()
	s.process.Wait()
}
