package proxy

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"bip324proxy/rules"
	"bip324proxy/socks"
)

// The words for a client that is not admitted name it, unless addresses are hidden.
func TestClientErrorHidden(t *testing.T) {
	for _, relays := range []bool{false, true} {
		e := &rules.ClientError{IP: netip.MustParseAddr("203.0.113.7"), Relays: relays}
		if !strings.HasPrefix(e.Error(), "the client 203.0.113.7 is ") || !strings.Contains(clientHint(e), "add --clients public:203.0.113.7") {
			t.Errorf("%v; %s", e, clientHint(e))
		}
		h, ok := hidden(e).(*rules.ClientError)
		if !ok || h.Relays != relays || strings.Contains(h.Error()+clientHint(h), "203.0.113.7") || !strings.Contains(clientHint(h), "--clients") {
			t.Errorf("hidden: %v", h)
		}
	}
}

// What check asks a listener that is open to others, whose rules refuse it, has no advice
// and does not count as a failure. This machine's own address, which check comes from
// there, does not either if it is not admitted.
func TestCheckIsNoFailure(t *testing.T) {
	own := &rules.ClientError{IP: netip.MustParseAddr("172.30.0.2"), Own: true, Relays: true}
	if !isOwnClient(own) || isOwnClient(&rules.ClientError{IP: own.IP}) {
		t.Error("this machine's own address is not told from others")
	}
	if hint := clientHint(own); strings.Contains(hint, "--clients 172.30.0.2") || !strings.Contains(hint, "bip324-proxy check") {
		t.Errorf("the hint for this machine's own address is %q", hint)
	}
	if got := level(kindNotAllowed, own); got != slog.LevelInfo {
		t.Errorf("the level is %v", got)
	}
	for _, err := range []error{errNotTor, errProbe} {
		if err := (&resolveError{socks.NotAllowed, err}); !isProbe(err) || level(kindResolve, err) != slog.LevelDebug {
			t.Errorf("%v is a failure", err)
		}
	}
}
