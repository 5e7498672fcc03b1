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

// listener says who answers at l. SOCKS servers do not say what they are, and this
// one does not either; but few answer Tor's RESOLVE, and Tor alone says that
// 0.0.0.0 is an address. Neither question leads to a look-up.
func (s *Subject) listener(ctx context.Context, l Listener) Result {
	const name = "listener"
	address, err := listen.Parse(l.Address)
	if err != nil {
		return Result{name, Failed, err.Error(), ""}
	}
	if address.AnyPort() {
		return Result{name, Skipped, l.Address + ": the port is chosen when the proxy starts", ""}
	}
	if l.Peer != "" {
		return s.peerListener(ctx, l, address)
	}
	who := socks.Upstream{Network: address.Network, Address: address.Address, Credentials: s.Policy.Socks.Auth, Timeout: askTimeout}
	known := proxy.ProbeAddr
	ip, err := who.Resolve(ctx, socks.Addr{Host: known.String(), IP: known}, socks.Credentials{})
	other := Result{name, Failed, l.Address + ": this is another SOCKS5 proxy, and not bip324-proxy",
		"stop that program, or choose another address with --listen"}
	var refused *socks.UpstreamError
	switch {
	case err == nil && ip != known:
		return other
	case err == nil && s.Policy.Upstream == nil:
		if _, err := who.ProbeTor(ctx); err == nil {
			other.What = l.Address + ": this is Tor, or a proxy in front of it, and not bip324-proxy without an upstream proxy"
			other.Hint = "choose another address with --listen; if it is bip324-proxy with --upstream, check it with the settings that it runs with"
			return other
		}
		fallthrough
	case err == nil:
		return Result{name, OK, l.Address + ": a SOCKS5 proxy answers, as bip324-proxy does", ""}
	case !errors.As(err, &refused):
		return Result{name, Failed, fmt.Sprintf("%s: %v", l.Address, err), ""}
	case refused.Stage == socks.StageDial:
		return notListening(l, refused.Err)
	case refused.Code == socks.NotAllowed:
		return Result{name, OK, l.Address + ": a SOCKS5 proxy answers; its rules refused the question", ""}
	case refused.Code == socks.GeneralFailure:
		return Result{name, Warning, l.Address + ": a SOCKS5 proxy answers with a general failure, as bip324-proxy does when it has as many sessions as it may",
			"look into its log; run it with a higher --max-sessions"}
	case refused.Code != socks.Succeeded:
		return other
	case errors.Is(err, socks.ErrWantsCredentials) && s.Policy.Socks.Auth == nil && len(s.Policy.Clients) > 0:
		return Result{name, OK, l.Address + ": a SOCKS5 proxy answers; it does not admit this machine, whose address --clients does not list", ""}
	case errors.Is(err, socks.ErrWantsCredentials):
		return Result{name, Failed, l.Address + ": a SOCKS5 proxy answers, but wants a user name and password, and these settings have none",
			"check it with the settings that it runs with, --auth among them"}
	case errors.Is(err, socks.ErrWrongCredentials), errors.Is(err, socks.ErrTakesNoCredentials):
		return Result{name, Failed, l.Address + ": a SOCKS5 proxy answers, but does not take the user name and password of these settings",
			"check it with the settings that it runs with"}
	case errors.As(err, new(*socks.NotSOCKS5Error)):
		return Result{name, Failed, fmt.Sprintf("%s: another program listens there: %v", l.Address, refused.Err),
			"stop that program, or choose another address with --listen"}
	}
	return Result{name, Failed, fmt.Sprintf("%s: somebody listens there, but does not answer as a SOCKS5 proxy: %v", l.Address, reason(refused.Err)),
		"if it is bip324-proxy, look into its log; if it is another program, choose another address with --listen"}
}

// peerListener only connects: whatever else is said there is for the peer.
func (s *Subject) peerListener(ctx context.Context, l Listener, address listen.Address) Result {
	d := net.Dialer{Timeout: askTimeout}
	conn, err := d.DialContext(ctx, address.Network, address.Address)
	if err != nil {
		return notListening(l, err)
	}
	conn.Close()
	return Result{"listener", OK, fmt.Sprintf("%s: somebody listens there; its clients should get to %s", l.Address, l.Peer), "to test that: bip324-proxy check " + l.Peer}
}

func notListening(l Listener, err error) Result {
	address := l.Address
	r := Result{"listener", Failed, fmt.Sprintf("%s: nobody listens there: %v", address, reason(err)),
		"the proxy does not run, or with other settings; start it with: bip324-proxy"}
	if l.Spare && (listen.IsNoAddress(err) || errno.Is(err, errno.ENETUNREACH)) {
		return Result{"listener", Skipped, address + ": this machine has no such address", ""}
	}
	if l.Spare {
		r.State, r.Hint = Warning, "the proxy does not run, or with an older or another --listen; clients that connect to this address fail"
	}
	if errors.Is(err, fs.ErrPermission) {
		r.What = address + ": this user may not connect to it"
		r.Hint = "only who runs the proxy, and the group of its socket, may use it; check it as such a user, or run the proxy with --listen unix:/PATH?mode=0660&group=NAME"
	}
	return r
}

// reason is an error of a connection without the address, which is known.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op
	}
	return errors.New(plain.Words(err))
}
