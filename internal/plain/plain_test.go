package plain

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
)

// jargon matches the words of Go and of system calls.
var jargon = regexp.MustCompile(`\b(read|write|dial|connect|tcp|udp|lookup|EOF|i/o|closed network|peer:|operation was)\b|->|:\d`)

// Errors of real sockets get plain words.
func TestRealErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pair := func() (client, server *net.TCPConn) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); s.Close() })
		return c.(*net.TCPConn), s.(*net.TCPConn)
	}
	read := func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	gone := testkit.Nobody(t)
	for name, c := range map[string]struct {
		err  func() error
		want string
	}{
		"refused": {func() error { _, err := net.Dial("tcp", gone); return err }, refused},
		"reset": {func() error {
			c, s := pair()
			s.SetLinger(0)
			s.Close()
			return read(c)
		}, reset},
		"closed":       {func() error { c, s := pair(); s.Close(); return read(c) }, closed},
		"closed here":  {func() error { c, _ := pair(); c.Close(); return read(c) }, "the connection was closed locally"},
		"deadline":     {func() error { c, _ := pair(); c.SetDeadline(time.Unix(1, 0)); return read(c) }, noAnswer},
		"dial timeout": {func() error { _, err := net.DialTimeout("tcp", l.Addr().String(), time.Nanosecond); return err }, noAnswer},
		"given up": {func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
			return err
		}, "canceled"},
		"no socket": {func() error { _, err := net.Dial("unix", t.TempDir()+"/none"); return err }, noSocket},
	} {
		err := c.err()
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if got := Words(err); got != c.want {
			t.Errorf("%s: %q, want %q (%v)", name, got, c.want, err)
		}
	}
}

// If a resolver says why a name has no address, Words repeats that.
func TestWhyNoAddress(t *testing.T) {
	why := errors.New("names of that kind are somewhere else")
	if got := Words(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "n", IsNotFound: true, UnwrapErr: why}}); got != why.Error() {
		t.Errorf("got %q", got)
	}
}

// Words returns no jargon for any known error.
func TestNoJargon(t *testing.T) {
	all := []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, context.Canceled, context.DeadlineExceeded,
		&net.DNSError{Err: "read udp 10.0.0.1:5->10.0.0.3:53: i/o timeout", Name: "n", IsTimeout: true},
		&net.DNSError{Err: "no such host", Name: "n", IsNotFound: true},
		&net.DNSError{Err: "no such host", Name: "n", IsNotFound: true, UnwrapErr: errors.New("it is nowhere")},
		&net.DNSError{Err: "dial udp 10.0.0.3:53: connect: network is unreachable", Name: "n"},
	}
	for errno := range errnos {
		all = append(all, errno)
	}
	for _, err := range all {
		wrapped := &net.OpError{Op: "read", Net: "tcp", Source: new(net.TCPAddr), Addr: new(net.TCPAddr), Err: os.NewSyscallError("read", err)}
		for _, err := range []error{err, wrapped} {
			if got := Words(err); jargon.MatchString(got) || got == "" {
				t.Errorf("%v: got %q", err, got)
			}
		}
	}
	if own := errors.New("already plain words"); Words(own) != own.Error() {
		t.Errorf("got %q", Words(own))
	}
}
