package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// ObeysSequences reports whether the console obeys the control sequences of ECMA-48, and makes
// it do so if it can.
func ObeysSequences(console *os.File) bool {
	handle := windows.Handle(console.Fd())
	var mode uint32
	return os.Getenv("TERM") != "dumb" && windows.GetConsoleMode(handle, &mode) == nil &&
		windows.SetConsoleMode(handle, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
