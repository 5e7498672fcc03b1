//go:build !unix || aix || solaris

package listen

import "time"

// lockDir locks nothing here: two instances that start at the same moment with the
// same socket file are not kept apart.
func lockDir(string, time.Duration) (unlock func(), ok bool) { return func() {}, true }
