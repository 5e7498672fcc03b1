//go:build !unix

package listen

import (
	"net"
)

// restrictNewFiles does nothing here: access is up to the directory.
func restrictNewFiles() (restore func()) { return func() {} }

// Activated returns no listeners: there is no systemd here.
func Activated() ([]net.Listener, error) { return nil, nil }
