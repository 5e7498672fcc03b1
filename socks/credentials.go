package socks

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Credentials are RFC 1929's, 0 to 255 bytes each; both empty counts as none.
// Printing or logging them shows nothing, with one exception: fmt does not call
// methods in unexported fields, so a struct that keeps Credentials in one must
// not be printed whole.
type Credentials struct {
	Username string `json:"-"`
	Password string `json:"-"`
}

const hidden = "[credentials]"

// String is the same for all credentials.
func (c Credentials) String() string { return hidden }

// Format prints String for every verb, %+v and %#v among them.
func (c Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// LogValue is String.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(hidden) }

// none says that there is nothing in c.
func (c Credentials) none() bool { return c == Credentials{} }

// matches compares in a time that tells nothing of where they differ, nor of
// how long they are.
func (c Credentials) matches(other Credentials) bool {
	equal := func(a, b string) int {
		x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
		return subtle.ConstantTimeCompare(x[:], y[:])
	}
	return equal(c.Username, other.Username)&equal(c.Password, other.Password) == 1
}
