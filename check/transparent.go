package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"bip324proxy/internal/errno"
	"bip324proxy/proxy"
)

// probePort is the port to which Redirected connects: rules for Bitcoin cover it.
const probePort = 8333

// Redirected checks whether the system redirects the connections of the user that runs it to
// the proxy. It connects to addresses reserved for documentation (RFC 5737, RFC 3849), where the
// proxy itself answers. Connections that are not redirected leave this machine.
func Redirected(ctx context.Context) Report {
	r := Report{OK: true}
	var tcp [2]Result
	var both sync.WaitGroup // each waits for a time limit if its rule is missing
	both.Go(func() { tcp[0] = redirected(ctx, "IPv4", proxy.ProbeAddr) })
	both.Go(func() { tcp[1] = redirected(ctx, "IPv6", proxy.ProbeAddr6) })
	both.Wait()
	r.add(tcp[:]...)
	if tcp[0].State == Skipped && tcp[1].State == Skipped {
		r.add(Result{"redirected", Failed, "this machine has no route by IPv4 or IPv6, so no connection gets as far as the rules", "connect it to a network"})
		return r
	}
	r.add(blocked(proxy.ProbeAddr))
	return r
}

// redirected checks whether a connection to a probe address is answered by the proxy.
func redirected(ctx context.Context, family string, to netip.Addr) Result {
	result := func(state State, what, hint string) Result {
		return Result{"redirected", state, family + ": " + what, hint}
	}
	const rules = "load the rules that bip324-proxy transparent-rules prints, and run this check as the user that they name"
	d := net.Dialer{Timeout: askTimeout}
	conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(to, probePort).String())
	switch {
	case errno.Is(err, unreachable...) && !routed(to):
		return result(Skipped, fmt.Sprintf("nothing can leave: %v", reason(err)), "")
	case errno.Is(err, errno.ECONNREFUSED):
		return result(Failed, "the connection is refused: nothing leaves, but the proxy does not take it", "start the proxy with the --transparent that the rules have; if it is running, a firewall refuses the connection")
	case errno.Is(err, errno.EACCES, syscall.EPERM):
		return result(Failed, "a firewall refuses the connection before it is redirected", rules)
	case err != nil:
		return result(Failed, fmt.Sprintf("the connection is not redirected: it left this machine, or tried to (%v)", reason(err)), rules)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(askTimeout))
	answer, err := io.ReadAll(io.LimitReader(conn, int64(len(proxy.TransparentAnswer))))
	switch {
	case string(answer) == proxy.TransparentAnswer:
		return result(OK, "connections are redirected to the proxy", "")
	case len(answer) == 0 && errno.Is(err, errno.ECONNRESET):
		return result(Failed, "something takes the connection and resets it, as the proxy does with clients that it does not admit", "see its log")
	case len(answer) == 0 && err == nil, strings.HasPrefix(proxy.TransparentAnswer, string(answer)):
		return result(Failed, "something other than the proxy takes the connection, and says nothing", rules)
	}
	return result(Failed, fmt.Sprintf("something other than the proxy takes the connection, and answers %q", answer), rules)
}

// blocked checks whether UDP, which no listener takes, is refused. It sends two of a few
// bytes: the answer to the first may come back with the second.
func blocked(to netip.Addr) Result {
	result := func(state State, what, hint string) Result {
		return Result{"udp", state, what, hint}
	}
	const hint = "the rules that bip324-proxy transparent-rules --user prints refuse them, except for DNS"
	conn, err := net.Dial("udp", netip.AddrPortFrom(to, probePort).String())
	if err == nil {
		defer conn.Close()
		for range 2 {
			if _, sent := conn.Write([]byte("probe")); sent != nil {
				err = errors.Join(err, sent)
			}
		}
	}
	switch {
	case err == nil:
		return result(Warning, "packets leave this machine; the proxy takes TCP only", hint)
	case errno.Is(err, errno.ECONNREFUSED, errno.EACCES, syscall.EPERM):
		return result(OK, "packets are refused", "")
	}
	if errno.Is(err, unreachable...) && routed(to) {
		return result(Warning, "packets leave this machine: a router answers that it cannot forward them", hint)
	}
	return result(Skipped, fmt.Sprintf("nothing can leave: %v", reason(err)), "")
}

// unreachable are the errors of a destination without a route. A router's answer is one of them,
// too, and it answers only what has left this machine.
var unreachable = []syscall.Errno{errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

// routed reports whether this machine has a route to an address. It sends no packet.
func routed(to netip.Addr) bool {
	_, err := systemRoute("udp", netip.AddrPortFrom(to, probePort).String())
	return err == nil
}
