package netns

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// message is what the two processes tell each other; files may come with it.
type message struct {
	Err       *Error   `json:",omitempty"`
	Text      string   `json:",omitempty"` // of Err's cause
	Errno     int      `json:",omitempty"` // of Err's cause
	Listeners int      `json:",omitempty"` // of the files with it, the others are DNS sockets
	Start     []string `json:",omitempty"` // the command to start
	Group     int      `json:",omitempty"` // its process group
	PID       int      `json:",omitempty"`
	Port      uint16   `json:",omitempty"` // to connect to
}

// control is one end of a socket pair. A message is at most maxMessage long.
type control struct{ *net.UnixConn }

const maxMessage = 2 << 20 // more than the arguments of a command may have

// newControl returns the end of this process, and that of the holder.
func newControl() (*control, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "control")
	defer ours.Close()
	c, err := controlOn(ours)
	return c, os.NewFile(uintptr(fds[1]), "control"), err
}

func controlOn(f *os.File) (*control, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return &control{c.(*net.UnixConn)}, nil
}

func (c *control) send(m message, files ...*os.File) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	_, _, err = c.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
	return err
}

// receive receives a message and its files. The error is also that of the other process.
func (c *control) receive(m *message) (files []*os.File, err error) {
	b, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(8*4))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return nil, err
	}
	all, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		fds, err := unix.ParseUnixRights(&one)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	if err := json.Unmarshal(b[:n], m); err != nil {
		return files, err
	}
	if m.Err != nil {
		m.Err.Err = errors.New(m.Text)
		if m.Errno != 0 {
			m.Err.Err = unix.Errno(m.Errno)
		}
		return files, m.Err
	}
	return files, nil
}
