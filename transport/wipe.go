package transport

import (
	"crypto/cipher"
	"reflect"
	"runtime"
)

// scrubStack zeroes the stack below its caller, where functions that have
// returned, those of other packages among them, leave what they computed with.
// A call beforehand makes the stack large enough for it not to be moved in
// between, which would leave a copy behind.
//
//go:noinline
func scrubStack() {
	var below [8 << 10]byte
	runtime.KeepAlive(&below)
}

// aroundAEAD is called before an AEAD, to make the stack large enough for it not
// to be moved in between, and after it, to zero what it left there: the key.
//
//go:noinline
func aroundAEAD(after bool) {
	if !after {
		return // the frame was made
	}
	var below [1 << 10]byte
	runtime.KeepAlive(&below)
}

// wipeAEAD zeroes what aead points to, and so its key: golang.org/x/crypto has
// no way to ask for that.
func wipeAEAD(aead cipher.AEAD) {
	if v := reflect.ValueOf(aead); v.Kind() == reflect.Pointer && !v.IsNil() {
		v.Elem().SetZero()
	}
}
