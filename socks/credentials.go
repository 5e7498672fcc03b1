package socks

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Credentials are a user name and password (RFC 1929), 0 to 255 bytes each; both empty
// counts as none. They are redacted when printed or logged, with one exception: fmt does
// not call methods of unexported fields, so a struct with Credentials in one must not be
// printed whole.
type Credentials struct {
	Username string `json:"-"`
	Password string `json:"-"`
}

const redacted = "[credentials]"

// String returns the same text for all credentials.
func (c Credentials) String() string { return redacted }

// Format prints String for every verb, %+v and %#v among them.
func (c Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue returns String.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(redacted) }

// isZero reports whether both are empty.
func (c Credentials) isZero() bool { return c == Credentials{} }

// equal compares in a time that depends neither on where they differ nor on their
// lengths.
func (c Credentials) equal(other Credentials) bool {
	same := func(a, b string) int {
		x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
		return subtle.ConstantTimeCompare(x[:], y[:])
	}
	return same(c.Username, other.Username)&same(c.Password, other.Password) == 1
}
