package fallback

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"bip324proxy/internal/dial"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

var errConfig = errors.New("Config.First and Config.Received must be empty; what the program writes is sent")

// DialContext connects to the peer at addr, "host:port", like net.Dialer's DialContext.
// The network is tcp, tcp4 or tcp6. It returns a *v1v2.Conn: the program speaks v1 to
// it, and the peer gets v2, or v1 where Mode allows that.
//
// If Config.Magic is zero, the network is learnt from the VERSION message that the
// program writes first; Write then performs the handshake, and returns its error.
// Otherwise DialContext does. The error is Dial's, or Upgrade's with addr before it. ctx has
// no effect on the connection that was returned: closing that ends a handshake in Write, and
// nothing is dialled any more; a deadline that passes ends only the call.
//
// One handshake may take several connections, to the same peer or other addresses of
// its name, so that Conn.RemoteAddr may change until it is done; a name is looked up
// once.
//
// The zero Dialer never speaks v1, and nothing is sent in plaintext that Mode does not
// allow. If Dial goes through a proxy, nothing is looked up or connected to directly.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	one, err := d.forOne(network, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	nc, err := one.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn := v1v2.Later(nc, one.decide(nc, addr))
	if one.Config.Magic == [4]byte{} {
		return conn, nil
	}
	if err := conn.Handshake(ctx, one.Config.Magic); err != nil {
		return nil, err
	}
	return conn, nil
}

// forOne returns a copy of d for one connection.
func (d *Dialer) forOne(network, addr string) (*Dialer, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil && !suits(network, ip) {
		return nil, wrongFamily(host)
	}
	one := *d
	one.network = network
	if len(one.Config.First) > 0 || len(one.Config.Received) > 0 {
		return nil, errConfig
	}
	if one.Resolve == nil && one.Dial == nil {
		one.Resolve = dial.Lookup
	}
	if one.Resolve != nil {
		one.Resolve = dial.Once(one.Resolve)
	}
	return &one, nil
}

// decide returns what decides the protocol on nc, a connection to addr.
func (d *Dialer) decide(nc net.Conn, addr string) v1v2.Decide {
	return func(ctx context.Context, magic [4]byte, first []byte) (*transport.Conn, net.Conn, error) {
		cfg := d.Config
		if cfg.Magic = magic; first != nil {
			cfg.First = [][]byte{first}
		}
		link, err := d.Upgrade(ctx, nc, addr, cfg)
		d.Resolve = nil // frees the addresses that it remembers
		switch {
		case err != nil:
			return nil, nil, withAddr(addr, err)
		case link.V2 != nil:
			reached := link.V2.NetConn()
			context.AfterFunc(ctx, func() { d.NoteV2(addr, reached) }) // known for 30 days from then on
			return link.V2, nil, nil
		}
		if d.OnV1 != nil {
			d.OnV1(addr, link)
		}
		return nil, newV1Conn(link.V1, magic, func() { d.NoteV1(addr, link) }), nil
	}
}
