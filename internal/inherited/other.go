//go:build !linux

package inherited

// Release does nothing: only Linux runs commands.
func Release() error { return nil }
