//go:build !unix

package listen

import "net"

// restrictNewFiles does nothing: the directory restricts access.
func restrictNewFiles() (restore func()) { return func() {} }

// Activated returns no listeners: only Linux has systemd.
func Activated() ([]net.Listener, error) { return nil, nil }
