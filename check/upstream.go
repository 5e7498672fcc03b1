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

// upstream checks the upstream proxy, and whether it is Tor.
func (s *Subject) upstream(ctx context.Context) (r Result, isTor bool) {
	const name = "upstream"
	if s.Policy.Upstream == nil {
		return Result{name, Skipped, "none: the proxy connects to peers directly, and they see this machine's address", ""}, false
	}
	u := s.Policy.Upstream
	at, err := u.ProbeTor(ctx)
	var refused *socks.UpstreamError
	switch {
	case err == nil && !listen.IsLocal(at) && s.Policy.Dialer.Mode != fallback.Never:
		return Result{name, Warning, u.Address + ": this is Tor, but on another machine, and the connection to it is not encrypted", strings.TrimPrefix(s.onionInV1(), "; ")}, true
	case err == nil && u.Credentials != nil && s.Policy.Socks.Auth == nil:
		return Result{name, Warning, u.Address + ": this is Tor, but all clients use the user name and password in --upstream, and so share circuits",
			"Tor requires none: omit them from --upstream, and each client's own isolate its circuits"}, true
	case err == nil:
		return Result{name, OK, u.Address + ": this is Tor: it answers as only Tor does", "only a peer can show whether it is connected to its network: bip324-proxy check HOST:PORT"}, true
	case !errors.As(err, &refused):
		return Result{name, Failed, err.Error(), ""}, false
	case refused.Stage == socks.StageDial && errors.Is(err, fs.ErrPermission):
		return Result{name, Failed, u.Address + ": this user may not connect", "for Tor's socket, join its group (debian-tor on Debian)"}, false
	case refused.Stage == socks.StageDial:
		return Result{name, Failed, fmt.Sprintf("%s: nothing is listening there: %v", u.Address, reason(refused.Err)), startTor(u.Address)}, false
	case refused.Code != socks.Succeeded:
		return Result{name, Warning, fmt.Sprintf("%s: this is a SOCKS5 proxy, but not Tor (its answer to Tor's RESOLVE: %v)", u.Address, refused.Code),
			notTorHint + s.onionInV1()}, false
	case errors.As(err, new(*socks.NotSOCKS5Error)):
		return Result{name, Failed, fmt.Sprintf("%s: this is not a SOCKS5 proxy: %v", u.Address, refused.Err), notSocksHint(u.Address)}, false
	case errors.Is(err, socks.ErrCredentialsRequired), errors.Is(err, socks.ErrCredentialsRejected):
		return Result{name, Failed, fmt.Sprintf("%s: this is a SOCKS5 proxy, but %v", u.Address, refused.Err), ""}, false
	case errors.Is(err, socks.ErrCredentialsUnsupported):
		return Result{name, Failed, u.Address + ": this is a SOCKS5 proxy, but it does not support a user name and password", "omit them from --upstream"}, false
	case refused.Stage == socks.StageRequest && !errors.Is(err, context.DeadlineExceeded):
		return Result{name, Warning, fmt.Sprintf("%s: this is a SOCKS5 proxy, but not Tor (it does not answer Tor's RESOLVE: %v)", u.Address, refused.Err),
			notTorHint + s.onionInV1()}, false
	}
	return Result{name, Failed, fmt.Sprintf("%s: something is listening there, but it does not answer like a SOCKS5 proxy: %v", u.Address, reason(refused.Err)), notSocksHint(u.Address)}, false
}

const notTorHint = "everything goes through it anyway; it probably cannot reach .onion peers, and it sees whom you connect to"

// onionInV1 returns what happens to .onion peers without v2 if the upstream proxy is not
// Tor on this machine.
func (s *Subject) onionInV1() string {
	switch s.Policy.Dialer.Mode {
	case fallback.Overlay:
		return "; with --v1-fallback overlay, .onion peers without v2 are unreachable through it"
	case fallback.Always:
		return "; with --v1-fallback always, traffic with .onion peers without v2 is plaintext on the way to it"
	}
	return ""
}

// startTor returns the hint for an upstream proxy that is not running. By default Tor
// listens on port 9050, the Tor Browser on 9150.
func startTor(address string) string {
	switch _, port, _ := net.SplitHostPort(address); port {
	case "9050":
		return "start Tor (systemctl start tor); if the Tor Browser is running instead: --upstream socks5://127.0.0.1:9150"
	case "9150":
		return "start the Tor Browser, and leave it open; if Tor is running as a service instead: --upstream socks5://127.0.0.1:9050"
	}
	return "start that proxy, or correct --upstream; until then all connections fail"
}

func notSocksHint(address string) string {
	switch _, port, _ := net.SplitHostPort(address); port {
	case "9051", "9151":
		return "this is Tor's control port; its SOCKS5 port is one less: --upstream socks5://127.0.0.1:9050"
	}
	return "set --upstream to a SOCKS5 proxy, such as Tor: socks5://127.0.0.1:9050"
}
