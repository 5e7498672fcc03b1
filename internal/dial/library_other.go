//go:build !cgo || netgo

package dial

// hasLibrary says that the program has the system's C library, and its name service.
const hasLibrary = false
