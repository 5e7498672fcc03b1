package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// obeySequences makes a console obey control sequences, which not all do unasked.
func obeySequences(out *os.File) (restore func()) {
	console := windows.Handle(out.Fd())
	var mode uint32
	if windows.GetConsoleMode(console, &mode) != nil {
		return func() {}
	}
	windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING)
	return func() { windows.SetConsoleMode(console, mode) }
}
