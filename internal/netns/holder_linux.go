package netns

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Hold is the process inside. It returns when the process outside has ended.
func Hold() error {
	// Capabilities are a thread's; the command is started from this one.
	runtime.LockOSThread()
	c, err := controlOn(os.NewFile(3, "control"))
	if err != nil {
		return err
	}
	if err := setUp(c); err != nil {
		return c.fail(err)
	}
	for {
		var m message
		if _, err := c.receive(&m); err != nil {
			return nil // the process outside has ended
		}
		switch {
		case m.Start != nil:
			err = start(c, m)
		default:
			err = dial(c, m.Port)
		}
		if err != nil {
			c.fail(err)
		}
	}
}

// fail tells the process outside what failed.
func (c *control) fail(err error) error {
	m := message{Err: new(Error), Text: err.Error()}
	if e := (*Error)(nil); errors.As(err, &e) {
		m.Err.Step, m.Text = e.Step, e.Err.Error()
	}
	var number unix.Errno
	if errors.As(err, &number) {
		m.Errno = int(number)
	}
	return c.send(m)
}

// setUp sets up the namespace and sends its sockets.
func setUp(c *control) error {
	var files []*os.File
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"set up the loopback interface", setUpLoopback},
		{"open sockets in the namespace", func() (err error) { files, err = openSockets(); return err }},
		{"replace the system's name lookup in the namespace", replaceLookup},
	} {
		if err := step.do(); err != nil {
			return &Error{step.name, err}
		}
	}
	listeners := len(files) / 2
	addr, err := net.FileListener(files[0])
	if err != nil {
		return err
	}
	port := addr.Addr().(*net.TCPAddr).Port
	addr.Close()
	if err := redirect(uint16(port)); err != nil {
		return &Error{"redirect connections with nftables", err}
	}
	return c.send(message{Listeners: listeners}, files...)
}

// openSockets opens the listeners and then the sockets for DNS, one for each family.
func openSockets() (files []*os.File, err error) {
	four, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tcp := []net.Listener{four}
	port := strconv.Itoa(four.Addr().(*net.TCPAddr).Port)
	six, err := net.Listen("tcp6", "[::1]:"+port)
	if err == nil {
		tcp = append(tcp, six)
	} else if !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EAFNOSUPPORT) {
		return nil, err
	}
	for _, l := range tcp {
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	for i, spec := range []string{"0.0.0.0:53", "[::]:53"}[:len(tcp)] {
		c, err := net.ListenPacket([]string{"udp4", "udp6"}[i], spec)
		if err != nil {
			return nil, err
		}
		f, err := c.(*net.UDPConn).File()
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// start starts the command, without capabilities and as a child of the process outside.
func start(c *control, m message) error {
	if err := dropCapabilities(); err != nil {
		return &Error{"drop capabilities", err}
	}
	process, err := os.StartProcess(m.Start[0], m.Start, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT, Setpgid: true, Pgid: m.Group},
	})
	if err != nil {
		return &Error{"start " + m.Start[0], err}
	}
	return c.send(message{PID: process.Pid})
}

// dropCapabilities drops what the command must not have: the ways to change its namespaces.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	for _, c := range []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_SYS_MODULE, unix.CAP_BPF} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return nil
}

// dial connects to a port of loopback, and sends the connection.
func dial(c *control, port uint16) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("localhost", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	defer f.Close()
	return c.send(message{}, f)
}
