//go:build !linux && !windows

package journal

import "io"

// Is reports false: systemd runs only on Linux.
func Is(io.Writer) bool { return false }
