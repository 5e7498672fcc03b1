//go:build !unix || aix || solaris

package listen

import "time"

// lockDir does nothing: two instances that start at the same moment with the same socket file
// may conflict.
func lockDir(string, time.Duration) (unlock func(), ok bool) { return func() {}, true }
