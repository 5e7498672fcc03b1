package command

import (
	"os"
	"syscall"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/terminal"
)

// userTerminal is what ties the program to the terminal of the user who started it. Its
// zero value is that of a service.
type userTerminal struct {
	interactive bool // stdin or stderr is a terminal
	controlling bool // the program's session has one
}

// findTerminal looks for the terminal that the program is started in.
func findTerminal() userTerminal {
	return userTerminal{
		interactive: terminal.Is(os.Stdin) || terminal.Is(os.Stderr),
		controlling: openTerminal() == nil,
	}
}

// isClosed reports whether a SIGHUP that has come means that the terminal was closed. With
// stdin or stderr on a terminal it always does: some shells send it when they end, before
// the terminal closes.
func (u userTerminal) isClosed() bool {
	return u.interactive || u.controlling && errno.Is(openTerminal(), syscall.ENXIO, syscall.EIO)
}

// openTerminal opens the controlling terminal and closes it again.
func openTerminal() error {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
