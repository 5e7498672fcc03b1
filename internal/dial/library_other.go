//go:build !cgo || netgo

package dial

// hasLibrary is whether the program uses the system's C library to resolve names.
const hasLibrary = false
