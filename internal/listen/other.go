//go:build !unix

package listen

// restrictNewFiles does nothing: the directory restricts access.
func restrictNewFiles() (restore func()) { return func() {} }

// Activated returns no listeners: only Linux has systemd.
func Activated() ([]ActivatedListener, error) { return nil, nil }
