package netns

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/seccomp"
)

// Hold runs the process inside. It becomes the command, or returns why it cannot. Its role is
// the program's second argument.
func Hold() error {
	// Capabilities are a thread's. This one executes the command.
	runtime.LockOSThread()
	var r role
	if len(os.Args) != 3 || json.Unmarshal([]byte(os.Args[2]), &r) != nil || r.Control <= 0 {
		return errors.New(HolderCommand + ": this command is internal")
	}
	unix.CloseOnExec(r.Control)
	c, err := controlOn(os.NewFile(uintptr(r.Control), "control"))
	if err != nil {
		return err
	}
	if r.Sockets {
		return makeSockets(c)
	}
	if err := c.setUp(r); err != nil {
		return c.fail(err)
	}
	b, err := io.ReadAll(c) // the order, or nothing, if the process outside has ended
	if err != nil {
		return err
	}
	o := decodeOrder(b)
	if len(o) < 2 {
		return errors.New("there is no command to execute")
	}
	return c.fail(execute(o[0], o[1:]))
}

// setUp sets up the namespace and passes its sockets.
func (c *control) setUp(r role) error {
	six, err := setUpLoopback(r.IPv6)
	if err != nil {
		return explain("set up the loopback interface of a network namespace", err)
	}
	families := []family{{"4", "127.0.0.1", "0.0.0.0"}, {"6", "::1", "::"}}
	if !six {
		families = families[:1]
	}
	said := report{Redirected: len(families), DNS: len(families)}
	var files []*os.File
	for _, open := range []func(family) (*os.File, error){family.listen, family.packets} {
		for _, family := range families {
			f, err := open(family)
			if err != nil {
				return explain("open sockets in a network namespace", err)
			}
			files = append(files, f)
		}
	}
	if err := redirect(); err != nil {
		return explain(stepRedirect, err)
	}
	if err := replaceLookup(); err != nil {
		return explain("replace the system's name lookup", err)
	}
	if r.Dial {
		f, pid, err := startSocketMaker()
		if err != nil {
			return explain("start a process in a network namespace", err)
		}
		files, said.Sockets = append(files, f), pid
	}
	if err := seccomp.RefuseFamilies(); err != nil { // this thread, and so the command
		return explain(stepFamilies, err)
	}
	c.SetWriteDeadline(time.Now().Add(controlTimeout))
	defer closeAll(files)
	return c.sendReport(said, files...)
}

// execute executes the command in this process. Like execvp(3), it lets sh run what has no
// format.
func execute(path string, args []string) error {
	err := dropCapabilities(isDenied)
	if err != nil {
		return explain("drop capabilities", err)
	}
	err = syscall.Exec(path, args, os.Environ())
	if err == unix.ENOEXEC {
		err = syscall.Exec("/bin/sh", append([]string{"sh", path}, args[1:]...), os.Environ())
	}
	return &Error{Step: "execute " + path, Err: err}
}

// family is IPv4 or IPv6.
type family struct{ version, loopback, any string }

// listen returns the listener of redirected connections. It is not for Multipath TCP, of which the
// kernel does not tell where a connection was meant to go.
func (f family) listen() (*os.File, error) {
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp"+f.version, net.JoinHostPort(f.loopback, strconv.Itoa(redirectPort)))
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.(*net.TCPListener).File()
}

// packets returns the socket for DNS queries.
func (f family) packets() (*os.File, error) {
	c, err := net.ListenPacket("udp"+f.version, net.JoinHostPort(f.any, strconv.Itoa(dnsPort)))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(*net.UDPConn).File()
}
