package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"bip324proxy/transport/fallback"

	"bip324proxy/internal/listen"
	"bip324proxy/socks"
)

// upstream says what the upstream proxy is.
func (s *Subject) upstream(ctx context.Context) (r Result, isTor bool) {
	const name = "upstream"
	if s.Policy.Upstream == nil {
		return Result{name, Skipped, "there is none: peers are connected to directly, and see this machine's address", ""}, false
	}
	u := s.Policy.Upstream
	at, err := u.ProbeTor(ctx)
	var refused *socks.UpstreamError
	switch {
	case err == nil && !listen.IsLocal(at) && s.Policy.Dialer.Mode != fallback.Never:
		return Result{name, Warning, u.Address + ": this is Tor, but not on this machine, and the way to it is not encrypted", strings.TrimPrefix(s.onionInV1(), "; ")}, true
	case err == nil && u.Credentials != nil && s.Policy.Socks.Auth == nil:
		return Result{name, Warning, u.Address + ": this is Tor, but all clients get the user name and password of --upstream, and so share circuits",
			"Tor asks for none: leave them out of --upstream, and each client's own keep its circuits apart"}, true
	case err == nil:
		return Result{name, OK, u.Address + ": this is Tor: it answers as only Tor does", "that it has a connection to its network, only a peer can show: bip324-proxy check HOST:PORT"}, true
	case !errors.As(err, &refused):
		return Result{name, Failed, err.Error(), ""}, false
	case refused.Stage == socks.StageDial && errors.Is(err, fs.ErrPermission):
		return Result{name, Failed, u.Address + ": this user may not connect to it", "for Tor's socket, join its group (debian-tor on Debian)"}, false
	case refused.Stage == socks.StageDial:
		return Result{name, Failed, fmt.Sprintf("%s: nobody listens there: %v", u.Address, reason(refused.Err)), startTor(u.Address)}, false
	case refused.Code != socks.Succeeded:
		return Result{name, Warning, fmt.Sprintf("%s: this is a SOCKS5 proxy, but not Tor (asked for what Tor knows, it says: %v)", u.Address, refused.Code),
			notTorHint + s.onionInV1()}, false
	case errors.As(err, new(*socks.NotSOCKS5Error)):
		return Result{name, Failed, fmt.Sprintf("%s: this is no SOCKS5 proxy: %v", u.Address, refused.Err), notSocksHint(u.Address)}, false
	case errors.Is(err, socks.ErrWantsCredentials), errors.Is(err, socks.ErrWrongCredentials):
		return Result{name, Failed, fmt.Sprintf("%s: this is a SOCKS5 proxy, but %v", u.Address, refused.Err), ""}, false
	case errors.Is(err, socks.ErrTakesNoCredentials):
		return Result{name, Failed, u.Address + ": this is a SOCKS5 proxy, but it takes no user name and password", "leave them out of --upstream"}, false
	case refused.Stage == socks.StageRequest && !errors.Is(err, context.DeadlineExceeded):
		return Result{name, Warning, fmt.Sprintf("%s: this is a SOCKS5 proxy, but not Tor (asked for what Tor knows, it gives no answer: %v)", u.Address, refused.Err),
			notTorHint + s.onionInV1()}, false
	}
	return Result{name, Failed, fmt.Sprintf("%s: somebody listens there, but does not answer as a SOCKS5 proxy: %v", u.Address, reason(refused.Err)), notSocksHint(u.Address)}, false
}

const notTorHint = "everything goes through it all the same; .onion peers are likely out of reach, and whom you connect to, it sees"

// onionInV1 says what becomes of .onion peers without v2 where the upstream proxy is no
// Tor on this machine.
func (s *Subject) onionInV1() string {
	switch s.Policy.Dialer.Mode {
	case fallback.Overlay:
		return "; with --v1-fallback overlay .onion peers without v2 are not reached through it"
	case fallback.Always:
		return "; with --v1-fallback always .onion peers without v2 are spoken to in plaintext on the way to it"
	}
	return ""
}

// startTor is the hint for an upstream proxy that is not there. Tor has its ports
// by default: 9050 by itself, 9150 with the Tor Browser.
func startTor(address string) string {
	switch _, port, _ := net.SplitHostPort(address); port {
	case "9050":
		return "start Tor (systemctl start tor); where it is the Tor Browser that runs: --upstream socks5://127.0.0.1:9150"
	case "9150":
		return "start the Tor Browser, and leave it open; where Tor runs by itself: --upstream socks5://127.0.0.1:9050"
	}
	return "start that proxy, or correct --upstream; until then nobody is connected to"
}

func notSocksHint(address string) string {
	switch _, port, _ := net.SplitHostPort(address); port {
	case "9051", "9151":
		return "this is where Tor is controlled; its SOCKS5 port is one less, as in --upstream socks5://127.0.0.1:9050"
	}
	return "give a SOCKS5 proxy's address in --upstream, such as Tor's, socks5://127.0.0.1:9050"
}
