package check

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/internal/errno"
	"bip324proxy/internal/hints"
	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// Inbound is a listener of the proxy for peers.
type Inbound struct {
	Address   string // HOST:PORT or unix:/PATH; or systemd:NAME
	Activated bool   // the address is systemd's
	Node      *inbound.Node
	Magic     [4]byte
}

// v1Patience is how long a listener that refuses v1 may take to close the connection.
const v1Patience = 2 * time.Second

// inbound checks, as a peer, whether a listener speaks v2 and refuses v1; and whether the node
// is there. No VERSION is sent, so the proxy lists no session, and connects to no node.
func (s *Subject) inbound(ctx context.Context, in Inbound) []Result {
	ctx, cancel := context.WithTimeout(ctx, 4*askTimeout)
	defer cancel()
	if in.Activated {
		return []Result{{"inbound", Skipped, in.Address + ": systemd opens it", "run check with that address: --inbound HOST:PORT=" + in.Node.String()}, s.node(ctx, in)}
	}
	address, err := listen.Parse(in.Address)
	switch {
	case err != nil:
		return []Result{{"inbound", Failed, err.Error(), ""}}
	case address.AnyPort():
		return []Result{{"inbound", Skipped, in.Address + ": the system chooses the port when the proxy starts", ""}, s.node(ctx, in)}
	}
	node, v2 := s.node(ctx, in), s.inboundV2(ctx, in, address)
	if v2.State == Failed {
		return []Result{v2, node}
	}
	return []Result{v2, s.inboundV1(ctx, in, address), node}
}

// dialInbound connects to the listener; to loopback, if it is on all addresses.
func dialInbound(ctx context.Context, address listen.Address) (net.Conn, error) {
	d := net.Dialer{Timeout: askTimeout}
	to := []string{address.Address}
	if addr, err := netip.ParseAddrPort(address.Address); err == nil && addr.Addr().IsUnspecified() {
		port := strconv.Itoa(int(addr.Port()))
		to = []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
	}
	conn, err := d.DialContext(ctx, address.Network, to[0])
	if err != nil && len(to) > 1 {
		if other, err := d.DialContext(ctx, address.Network, to[1]); err == nil {
			return other, nil
		}
	}
	return conn, err
}

// inboundV2 performs a v2 handshake with the listener.
func (s *Subject) inboundV2(ctx context.Context, in Inbound, address listen.Address) Result {
	result := func(state State, what, hint string) Result {
		return Result{"inbound", state, in.Address + ": " + what, hint}
	}
	conn, err := dialInbound(ctx, address)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return result(Failed, "this user may not connect", "run check as the proxy's user, or give the socket a mode and a group")
	case err != nil:
		return result(Failed, fmt.Sprintf("nothing is listening there: %v", reason(err)), "the proxy is not running, or has other settings; start it with --inbound")
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	v2, err := transport.Client(ctx, conn, transport.Config{Magic: in.Magic})
	var e *transport.HandshakeError
	switch {
	case err == nil:
	case errors.As(err, &e) && e.HungUp():
		return result(Failed, "the v2 handshake was cut off", "the proxy closes connections of peers while the node is down, and when there are too many: see its log; "+
			"or another program is listening there, such as the node itself")
	default:
		return result(Failed, fmt.Sprintf("it does not speak v2 on %s: %v", transport.NetworkName(in.Magic), err), "another program may be listening there; or the proxy has another --inbound-network")
	}
	id := v2.SessionID()
	v2.Wipe()
	who := "other machines can reach it, if firewalls and routers allow it"
	if address.Network == "unix" || !isPublic(in.Address) {
		who = "only programs on this machine can reach it, such as Tor"
	}
	hint := ""
	if len(s.Policy.Announce) == 0 {
		hint = "Bitcoin Core's automatic connections do not use v2 unless --announce-v2 has the address where peers reach it"
	}
	return result(OK, fmt.Sprintf("it speaks v2, on %s; the session id was %s; %s", transport.NetworkName(in.Magic), hex.EncodeToString(id[:]), who), hint)
}

// inboundV1 begins as a peer that speaks v1, which is to be refused unless --inbound-v1 allows
// it: the listener closes after the first 16 bytes, and sends nothing.
func (s *Subject) inboundV1(ctx context.Context, in Inbound, address listen.Address) Result {
	result := func(state State, what, hint string) Result {
		return Result{"inbound_v1", state, in.Address + ": " + what, hint}
	}
	conn, err := dialInbound(ctx, address)
	if err != nil {
		return result(Failed, fmt.Sprintf("cannot connect again: %v", reason(err)), "see the proxy's log")
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(v1Patience))
	if _, err := conn.Write(append(in.Magic[:len(in.Magic):len(in.Magic)], v1v2.VersionPrefix...)); err != nil {
		return result(Failed, fmt.Sprintf("closed at once: %v", reason(err)), "see the proxy's log")
	}
	n, err := conn.Read(make([]byte, 1))
	open := errors.Is(err, os.ErrDeadlineExceeded)
	local := true
	if from, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		local = from.IP.IsLoopback()
	}
	const other = "the running proxy has other settings, or another program is listening there; compare bip324-proxy status"
	switch mode := s.Policy.InboundV1; {
	case n > 0:
		return result(Failed, "it answers in plaintext before it has a VERSION; bip324-proxy does not", "another program is listening there, perhaps the node itself")
	case !open && err != io.EOF:
		return result(Failed, fmt.Sprintf("the connection broke: %v", reason(err)), "see the proxy's log")
	case open && mode == fallback.Never, open && mode == fallback.Overlay && !local:
		return result(Failed, "it accepts v1, which --inbound-v1 "+mode.String()+" forbids", other)
	case open && mode == fallback.Overlay:
		return result(OK, "v1 is allowed from loopback addresses, which Tor and this check use; from others it is refused", "the connections are encrypted only if Tor makes them")
	case open:
		return result(Warning, "v1 is allowed: connections of peers without v2 are plaintext", "to refuse them, set --inbound-v1 never")
	case mode == fallback.Always, mode == fallback.Overlay && local:
		return result(Warning, "it refuses v1, which --inbound-v1 "+mode.String()+" allows here", other)
	}
	return result(OK, "it refuses v1, and sends nothing", "")
}

// node checks whether the node behind a listener answers a VERSION of its network, as that of
// a peer, and accepts connections from this machine only.
func (s *Subject) node(ctx context.Context, in Inbound) Result {
	const name = "node"
	conn, _, err := in.Node.Dial(ctx, netip.Addr{})
	if err != nil {
		hint := hints.For(proxy.Failure{Kind: proxy.KindNode, Inbound: true, Err: err})
		if errno.Is(err, errno.ECONNREFUSED, syscall.ENOENT) {
			hint = "start it, and let it listen there, in v1" + nodeSettings(in.Node.Network, in.Node.Address)
		}
		why := errors.Unwrap(err) // of *inbound.NodeError
		return Result{name, Failed, fmt.Sprintf("%v: cannot connect to the node: %v", in.Node, reason(why)), hint}
	}
	conn.SetDeadline(time.Now().Add(askTimeout))
	version, err := introduce(conn, in.Magic, maxMessagesToAnswer)
	goodbye(conn)
	conn.Close()
	network := transport.NetworkName(in.Magic)
	if err != nil {
		return Result{name, Failed, fmt.Sprintf("%v: the node accepts connections, but does not answer a VERSION of %s: %v", in.Node, network, reason(err)),
			"it may be on another network than --inbound-network says, be full, or not be a Bitcoin node; see its log"}
	}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		if public := alsoAt(ctx, tcp.Port); public != "" {
			return Result{name, Warning, fmt.Sprintf("%v: the node accepts connections, also on %s, where other machines may reach it in plaintext", in.Node, public),
				"let it listen on a loopback address only" + nodeSettings(in.Node.Network, in.Node.Address)}
		}
	}
	return Result{name, OK, fmt.Sprintf("%v: the node answers: %s, on %s, at block %d", in.Node, cmp.Or(version.UserAgent, "no user agent"), network, version.Height), ""}
}

// nodeSettings says which settings let nodes listen at an address, if it is one of a socket that
// they can have.
func nodeSettings(network, address string) string {
	if network != "tcp" {
		return ""
	}
	return fmt.Sprintf(": Bitcoin Core has bind=%[1]s, btcd listen=%[1]s", address)
}

// alsoAt returns where on this machine, besides loopback, something listens on a port, or "".
func alsoAt(ctx context.Context, port int) string {
	addrs, _ := net.InterfaceAddrs()
	d := net.Dialer{Timeout: time.Second}
	for _, addr := range addrs {
		own, ok := addr.(*net.IPNet)
		if !ok || !own.IP.IsGlobalUnicast() {
			continue
		}
		address := net.JoinHostPort(own.IP.String(), strconv.Itoa(port))
		if conn, err := d.DialContext(ctx, "tcp", address); err == nil {
			conn.Close()
			return address
		}
	}
	return ""
}
