package netns

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// control is one end of a socket pair between this program and the holder. The holder says
// that the namespace is set up, and passes its sockets; it gets the command to execute. The
// end of the stream then says that it has executed it.
type control struct{ *net.UnixConn }

// controlTimeout is the longest that a message may take. Steps take milliseconds.
const controlTimeout = time.Minute

// report is what the holder says. Files come with it, in this order.
type report struct {
	Redirected, DNS  int  // how many
	Sockets          int  // the id of the process that makes sockets, or 0
	Failed           bool // and why:
	Step, Text, Help string
	Errno            unix.Errno
}

// holderError is an error of the holder, with its number.
type holderError struct {
	text string
	unix.Errno
}

func (e holderError) Error() string { return e.text }
func (e holderError) Unwrap() error { return e.Errno }

// order is the path of the command to execute, and its arguments. Each ends with a zero byte: as
// in execve(2), they may have any others, not only those of UTF-8.
type order []string

func (o order) encode() []byte { return []byte(strings.Join(o, "\x00") + "\x00") }

// decodeOrder returns nothing if b is not a whole order: the process outside has ended.
func decodeOrder(b []byte) order {
	text, whole := strings.CutSuffix(string(b), "\x00")
	if !whole {
		return nil
	}
	return strings.Split(text, "\x00")
}

// socketPair returns the ends of a control.
func socketPair(kind int) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// newControl returns this process's end of a stream, and the other.
func newControl() (*control, *os.File, error) {
	ours, theirs, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		return nil, nil, err
	}
	c, err := controlOn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c, theirs, nil
}

// controlOn takes over f.
func controlOn(f *os.File) (*control, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	unixConn, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a unix socket")
	}
	return &control{unixConn}, nil
}

func (c *control) send(b []byte, files ...*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	_, _, err := c.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
	return err
}

// receive receives a message and its files.
func (c *control) receive(b []byte) (n int, files []*os.File, err error) {
	c.SetReadDeadline(time.Now().Add(controlTimeout))
	oob := make([]byte, unix.CmsgSpace(16*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	switch {
	case errors.Is(err, io.EOF):
		return 0, nil, io.EOF
	case err != nil:
		return 0, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return 0, nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return 0, nil, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	if flags&unix.MSG_CTRUNC != 0 { // there is no room for more files
		closeAll(files)
		return 0, nil, unix.EMFILE
	}
	return n, files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// sendReport sends what the holder says.
func (c *control) sendReport(r report, files ...*os.File) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return c.send(b, files...)
}

// fail reports err.
func (c *control) fail(err error) error {
	r := report{Failed: true, Step: "set up the network namespace", Text: err.Error()}
	if e := (*Error)(nil); errors.As(err, &e) {
		r.Step, r.Text, r.Help = e.Step, e.Err.Error(), e.Help
	}
	errors.As(err, &r.Errno)
	return c.sendReport(r)
}

// receiveReport receives what the holder says. The error is the holder's, or io.EOF.
func (c *control) receiveReport() (r report, files []*os.File, err error) {
	b := make([]byte, 16<<10)
	n, files, err := c.receive(b)
	switch {
	case err != nil:
		return r, nil, err
	case n == 0:
		return r, nil, io.EOF
	}
	if err := json.Unmarshal(b[:n], &r); err != nil {
		closeAll(files)
		return r, nil, err
	}
	if r.Failed {
		closeAll(files)
		return r, nil, &Error{Step: r.Step, Err: holderError{r.Text, r.Errno}, Help: r.Help}
	}
	return r, files, nil
}
