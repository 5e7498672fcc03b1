//go:build !windows

package terminal

import "os"

// ObeysSequences reports whether the terminal obeys the control sequences of ECMA-48.
func ObeysSequences(*os.File) bool { return os.Getenv("TERM") != "dumb" }
