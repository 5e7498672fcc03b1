package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// New makes a namespace. Its listeners accept already; connections wait until they are served.
func New(o Options) (*Namespace, error) {
	ours, theirs, err := newControl()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	holder, err := startHolder(theirs, role{Dial: o.Dial, IPv6: reachesIPv6()})
	if err != nil {
		ours.Close()
		return nil, explain(stepCreate, err)
	}
	theirs.Close() // or the end of the holder would not end the stream
	n := &Namespace{holder: holder, control: ours}
	if err := n.takeSockets(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// reachesIPv6 reports whether the system has a route to IPv6 addresses elsewhere. It sends
// nothing.
func reachesIPv6() bool {
	c, err := net.Dial("udp6", "[2001:db8::1]:9")
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// takeSockets receives the sockets of the namespace once it is set up.
func (n *Namespace) takeSockets() error {
	r, files, err := n.control.receiveReport()
	if err == io.EOF {
		state, err := n.holder.Wait()
		if err != nil {
			return os.NewSyscallError("wait", err)
		}
		return fmt.Errorf("the process that sets up the network namespace ended: %v", state)
	}
	if err != nil {
		return err
	}
	defer closeAll(files)
	next := func() (f *os.File) {
		f, files = files[0], files[1:]
		return f
	}
	if len(files) < r.Redirected+r.DNS {
		return errors.New("the network namespace's sockets are missing")
	}
	for range r.Redirected {
		if n.Redirected, err = appendListener(n.Redirected, next()); err != nil {
			return err
		}
	}
	for range r.DNS {
		f := next()
		c, err := net.FilePacketConn(f)
		f.Close()
		if err != nil {
			return err
		}
		n.DNS = append(n.DNS, c.(*net.UDPConn))
	}
	if r.Sockets != 0 && len(files) > 0 {
		n.sockets, err = newSocketMaker(next(), r.Sockets)
	}
	return err
}

// appendListener appends the listener f, which it takes over.
func appendListener(all []net.Listener, f *os.File) ([]net.Listener, error) {
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return all, err
	}
	return append(all, l), nil
}

// Start starts the command at path inside; args begin with its name. It can be called once.
// The command is a child of this process.
func (n *Namespace) Start(path string, args []string) (*os.Process, error) {
	if n.holder == nil {
		return nil, errors.New("the command has already been started")
	}
	n.control.SetWriteDeadline(time.Now().Add(controlTimeout))
	if _, err := n.control.Write(append(order{path}, args...).encode()); err != nil {
		return nil, err
	}
	if err := n.control.CloseWrite(); err != nil {
		return nil, err
	}
	if _, _, err := n.control.receiveReport(); err != io.EOF {
		return nil, err
	}
	process := n.holder
	n.holder = nil
	return process, nil
}

// Dial connects to a port of the namespace's loopback.
func (n *Namespace) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	if n.sockets == nil {
		return nil, errors.New("the namespace was made without Options.Dial")
	}
	return n.sockets.dial(ctx, port)
}

// Close closes the sockets of the namespace, and ends the holder if it has not become the
// command. The namespace itself lasts as long as processes in it.
func (n *Namespace) Close() error {
	for _, l := range n.Redirected {
		l.Close()
	}
	for _, c := range n.DNS {
		c.Close()
	}
	n.control.Close()
	if n.sockets != nil {
		n.sockets.close()
	}
	if n.holder != nil {
		n.holder.Kill() // it may hang
		n.holder.Wait()
		n.holder = nil
	}
	return nil
}
