//go:build amd64 || arm64 || 386 || arm

package seccomp

import "testing"

// A connection of a program in Go arrives with its destination.
func TestRedirect(t *testing.T) {
	const want = "203.0.113.7:8333\n[2001:db8::7]:18444\n203.0.113.7:53"
	got := output(t, program("dial", "203.0.113.7:8333", "[2001:db8::7]:18444", "203.0.113.7:53"))
	if got != want {
		t.Errorf("the proxy saw\n%s\nwant\n%s", got, want)
	}
}

// A blocking socket blocks no longer than the connection to loopback takes; IPv4 in IPv6
// arrives as IPv4.
func TestRedirectBlocking(t *testing.T) {
	for _, c := range []struct{ domain, addr, want string }{
		{"4", "203.0.113.7:8333", "203.0.113.7:8333"},
		{"6", "[2001:db8::7]:8333", "[2001:db8::7]:8333"},
		{"6", "[::ffff:203.0.113.7]:8333", "203.0.113.7:8333"},
	} {
		if got := output(t, program("blocking", c.domain, c.addr)); got != c.want {
			t.Errorf("the proxy saw %s, want %s", got, c.want)
		}
	}
}
