package transport

import (
	"crypto/cipher"
	"reflect"
	"runtime"
)

// scrubStack zeroes the stack below its caller, where functions that have returned, also
// of other packages, left secrets. A call beforehand grows the stack, so that it is not
// moved meanwhile, which would leave a copy.
//
//go:noinline
func scrubStack() {
	var below [8 << 10]byte
	runtime.KeepAlive(&below)
}

// aroundAEAD is called before an AEAD, to grow the stack so that it is not moved, and
// after it, to zero the key that it left there.
//
//go:noinline
func aroundAEAD(after bool) {
	if !after {
		return // the frame has grown the stack
	}
	var below [1 << 10]byte
	runtime.KeepAlive(&below)
}

// wipeAEAD zeroes what aead points to, and so its key. golang.org/x/crypto has no
// function for that.
func wipeAEAD(aead cipher.AEAD) {
	if v := reflect.ValueOf(aead); v.Kind() == reflect.Pointer && !v.IsNil() {
		v.Elem().SetZero()
	}
}
