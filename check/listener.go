package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/listen"
	"bip324proxy/internal/plain"
	"bip324proxy/proxy"
	"bip324proxy/socks"
)

// listener checks whether the proxy answers at l. SOCKS has no way to identify a server,
// but few answer Tor's RESOLVE, and only Tor resolves 0.0.0.0. Neither request causes a
// look-up. If alone, it contacts only the proxy, and makes the proxy connect to nothing.
func (s *Subject) listener(ctx context.Context, l Listener, alone bool) Result {
	result := func(state State, what, hint string) Result {
		return Result{"listener", state, l.Address + ": " + what, hint}
	}
	if l.Activated {
		return result(Skipped, "systemd passes this socket to the proxy", "to test it, as the user whose connections are redirected: bip324-proxy check --redirected")
	}
	address, err := listen.Parse(l.Address)
	if err != nil {
		return Result{"listener", Failed, err.Error(), ""}
	}
	if address.AnyPort() {
		return result(Skipped, "the system chooses the port when the proxy starts", "")
	}
	if l.Peer != "" && alone {
		return result(Skipped, "the proxy would connect to "+l.Peer, "")
	}
	if l.Peer != "" || l.Transparent { // anything sent would go to the peer, or count as a mistake
		d := net.Dialer{Timeout: askTimeout}
		conn, err := d.DialContext(ctx, address.Network, address.Address)
		if err != nil {
			return notListening(l, err)
		}
		conn.Close()
		if l.Transparent {
			return result(OK, "something is listening there; it should take connections that the system redirects", "to test that, as the user whose connections are redirected: bip324-proxy check --redirected")
		}
		return result(OK, "something is listening there; it should connect clients to "+l.Peer, "to test that: bip324-proxy check "+l.Peer)
	}
	server := socks.Upstream{Network: address.Network, Address: address.Address, Credentials: s.Policy.Socks.Auth, Timeout: askTimeout}
	ip, err := server.Resolve(ctx, socks.Addr{Host: proxy.ProbeAddr.String(), IP: proxy.ProbeAddr}, socks.Credentials{})
	const stop, see = "stop that program, or choose another address with --listen", "run check with the proxy's own settings"
	other := result(Failed, "this is another SOCKS5 proxy, not bip324-proxy", stop)
	var refused *socks.UpstreamError
	switch {
	case err == nil && ip != proxy.ProbeAddr:
		return other
	case err == nil && s.Policy.Upstream == nil && !alone:
		if _, err := server.ProbeTor(ctx); err == nil {
			return result(Failed, "this is Tor, or a proxy in front of it, not bip324-proxy without --upstream",
				"choose another address with --listen; if it is bip324-proxy with --upstream, run check with its settings")
		}
		fallthrough
	case err == nil:
		return result(OK, "a SOCKS5 proxy answers, as bip324-proxy does", "")
	case !errors.As(err, &refused):
		return result(Failed, err.Error(), "")
	case refused.Stage == socks.StageDial:
		return notListening(l, refused.Err)
	case refused.Code == socks.NotAllowed:
		if l.isPublic() {
			return result(OK, "a SOCKS5 proxy answers; it refuses this test's destination, as it should: it is open to other machines", "")
		}
		return result(OK, "a SOCKS5 proxy answers; it refuses this test's destination, 192.0.2.1, which its rules deny", "")
	case refused.Code == socks.GeneralFailure:
		return result(Warning, "a SOCKS5 proxy answers with a general failure, as bip324-proxy does at its session limit",
			"see its log; run it with a higher --max-sessions")
	case refused.Code != socks.Succeeded:
		return other
	case errors.Is(err, socks.ErrCredentialsRequired) && s.Policy.Socks.Auth == nil && len(s.Policy.Clients) > 0:
		return result(OK, "a SOCKS5 proxy answers; it refuses this machine, whose address is not in --clients", "")
	case errors.Is(err, socks.ErrCredentialsRequired):
		return result(Failed, "a SOCKS5 proxy answers, but requires a user name and password, which these settings lack", see+", including --auth")
	case errors.Is(err, socks.ErrCredentialsRejected), errors.Is(err, socks.ErrCredentialsUnsupported):
		return result(Failed, "a SOCKS5 proxy answers, but rejects the user name and password in these settings", see)
	case errors.As(err, new(*socks.NotSOCKS5Error)):
		return result(Failed, fmt.Sprintf("another program is listening there: %v", refused.Err), stop)
	}
	return result(Failed, fmt.Sprintf("something is listening there, but it does not answer like a SOCKS5 proxy: %v", reason(refused.Err)),
		"if it is bip324-proxy, see its log; if it is another program, choose another address with --listen")
}

func notListening(l Listener, err error) Result {
	r := Result{"listener", Failed, fmt.Sprintf("%s: nothing is listening there: %v", l.Address, reason(err)),
		"the proxy is not running, or has other settings; start it with: bip324-proxy"}
	if l.Spare && (listen.IsNoAddress(err) || errno.Is(err, errno.ENETUNREACH)) {
		return Result{"listener", Skipped, l.Address + ": this machine has no such address", ""}
	}
	if l.Spare {
		r.State, r.Hint = Warning, "the proxy is not running, or has another --listen; clients that connect to this address fail"
	}
	if errors.Is(err, fs.ErrPermission) {
		r.What = l.Address + ": this user may not connect"
		r.Hint = "only the user who runs the proxy, and the group of its socket, may connect; run check as one of them, or run the proxy with --listen unix:/PATH?mode=0660&group=NAME"
	}
	return r
}

// reason returns the error of a connection in words, without the address.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op
	}
	return errors.New(plain.Words(err))
}
