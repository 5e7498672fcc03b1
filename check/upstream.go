package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"bip324proxy/internal/hints"
	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// upstreams checks all upstream proxies. isTor is about the one of connections without a route.
func (s *Subject) upstreams(ctx context.Context) (all []Result, isTor bool) {
	for _, route := range s.Policy.Routes {
		r, _ := s.upstream(ctx, route)
		all = append(all, r)
	}
	r := Result{"upstream", Skipped, "none: the proxy connects to peers directly, and they see this machine's address", ""}
	switch {
	case s.Policy.Upstream != nil:
		r, isTor = s.upstream(ctx, proxy.Route{To: rules.Any, Upstream: s.Policy.Upstream})
	case len(all) > 0:
		r.What = "none for all others: the proxy connects to these peers directly, and they see this machine's address"
	}
	if s.Policy.OnlyOnion() {
		r.Hint = "keep Bitcoin Core's -onion= at Tor itself: its private broadcast goes to clearnet, too, through the proxy that has reached an onion peer"
	}
	return append(all, r), isTor
}

// upstream checks an upstream proxy, and whether it is Tor.
func (s *Subject) upstream(ctx context.Context, route proxy.Route) (r Result, isTor bool) {
	at, err := route.Upstream.ProbeTor(ctx)
	state, what, hint := s.describeUpstream(route, at, err)
	where := route.Upstream.Address + ": "
	if len(s.Policy.Routes) > 0 {
		where = route.To.String() + " through " + where
	}
	return Result{"upstream", state, where + what, hint}, err == nil
}

// describeUpstream explains the result of ProbeTor.
func (s *Subject) describeUpstream(route proxy.Route, at net.Addr, err error) (state State, what, hint string) {
	u, inV1 := route.Upstream, onionInV1[s.Policy.Dialer.Mode]
	notTor := "everything goes through it anyway; it probably cannot reach .onion peers, and it sees whom you connect to"
	isOther := Warning // than Tor
	switch {
	case !route.To.MatchesUnder(".onion"):
		notTor, isOther, inV1 = "", OK, ""
	case len(s.Policy.Routes) > 0:
		notTor = "these connections go through it anyway; it probably cannot reach .onion peers, and it sees whom you connect to"
	}
	if inV1 != "" {
		notTor += "; " + inV1
	}
	var refused *socks.UpstreamError
	switch {
	case err == nil && !listen.IsLocal(at) && inV1 != "":
		return Warning, "this is Tor, but on another machine, and the connection to it is not encrypted", inV1
	case err == nil && u.Credentials != nil && s.Policy.Socks.Auth == nil:
		return Warning, "this is Tor, but all clients use the user name and password in --upstream, and so share circuits",
			"Tor requires none: omit them from --upstream, and each client's own isolate its circuits"
	case err == nil:
		return OK, "this is Tor: it answers as only Tor does", "only a peer can show whether it is connected to its network: bip324-proxy check HOST:PORT"
	case !errors.As(err, &refused):
		return Failed, err.Error(), ""
	case refused.Stage == socks.StageDial && errors.Is(err, fs.ErrPermission):
		return Failed, "this user may not connect", "for Tor's socket, join its group (debian-tor on Debian)"
	case refused.Stage == socks.StageDial:
		return Failed, fmt.Sprintf("nothing is listening there: %v", reason(refused.Err)), hints.For(proxy.Failure{Kind: proxy.KindUpstream, Err: err})
	case refused.Code != socks.Succeeded:
		return isOther, fmt.Sprintf("this is a SOCKS5 proxy, but not Tor (its answer to Tor's RESOLVE: %v)", refused.Code), notTor
	case errors.As(err, new(*socks.NotSOCKS5Error)):
		return Failed, fmt.Sprintf("this is not a SOCKS5 proxy: %v", refused.Err), notSocksHint(u.Address)
	case errors.Is(err, socks.ErrCredentialsRequired), errors.Is(err, socks.ErrCredentialsRejected):
		return Failed, fmt.Sprintf("this is a SOCKS5 proxy, but %v", refused.Err), ""
	case errors.Is(err, socks.ErrCredentialsUnsupported):
		return Failed, "this is a SOCKS5 proxy, but it does not support a user name and password", "omit them from --upstream"
	case refused.Stage == socks.StageRequest && !errors.Is(err, context.DeadlineExceeded):
		return isOther, fmt.Sprintf("this is a SOCKS5 proxy, but not Tor (it does not answer Tor's RESOLVE: %v)", refused.Err), notTor
	}
	return Failed, fmt.Sprintf("something is listening there, but it does not answer like a SOCKS5 proxy: %v", reason(refused.Err)), notSocksHint(u.Address)
}

// onionInV1 says what happens to .onion peers without v2 if the upstream proxy is not Tor
// on this machine.
var onionInV1 = map[fallback.Mode]string{
	fallback.Overlay: "with --v1-fallback overlay, .onion peers without v2 are unreachable through it",
	fallback.Always:  "with --v1-fallback always, traffic with .onion peers without v2 is plaintext on the way to it",
}

func notSocksHint(address string) string {
	switch _, port, _ := net.SplitHostPort(address); port {
	case "9051", "9151":
		return "this is Tor's control port; its SOCKS5 port is one less: --upstream socks5://127.0.0.1:" + port[:3] + "0"
	}
	return "set --upstream to a SOCKS5 proxy, such as Tor: socks5://127.0.0.1:9050"
}
