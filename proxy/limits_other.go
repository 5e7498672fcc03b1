//go:build !unix

package proxy

// descriptorLimit is how many files and sockets this process may have open: here
// memory is the only limit.
func descriptorLimit() int { return 1 << 20 }
