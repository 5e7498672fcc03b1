//go:build !windows

package terminal

import "os"

// obeySequences has nothing to do where terminals do so by themselves.
func obeySequences(*os.File) (restore func()) { return func() {} }
