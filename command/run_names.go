package command

import (
	"context"
	"net"
	"net/netip"

	"bip324proxy/internal/dns"
	"bip324proxy/internal/transparent"
)

// dnsPort is the port of DNS servers.
const dnsPort = 53

// serveNames answers DNS queries with what lookup finds: those that conns receive until they
// are closed, and those of connections to port 53 that the listeners accept. It returns the
// listeners, which accept the other connections.
func serveNames(lookup func(ctx context.Context, name string) ([]netip.Addr, error), conns []*net.UDPConn, listeners []net.Listener) []net.Listener {
	server := &dns.Server{Lookup: lookup}
	for _, c := range conns {
		go server.ServeUDP(c)
	}
	var others []net.Listener
	for _, l := range listeners {
		others = append(others, &withoutDNS{l, server})
	}
	return others
}

// withoutDNS is a transparent listener that does not accept connections to DNS servers:
// server serves them.
type withoutDNS struct {
	net.Listener
	server *dns.Server
}

// Accept accepts the next connection that is not for a DNS server.
func (l *withoutDNS) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if dest, err := transparent.Destination(conn); err != nil || dest.Port() != dnsPort {
			return conn, nil // the proxy says what is wrong
		}
		go l.server.ServeConn(context.Background(), conn)
	}
}
