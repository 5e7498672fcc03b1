package command

import (
	"context"
	"net"
	"net/netip"

	"bip324proxy/internal/dns"
)

// dnsPort is the port of DNS servers.
const dnsPort = 53

// serveNames answers the DNS queries that the fence takes with what lookup finds: those by UDP,
// and those of connections to port 53. It returns listeners that accept the other connections.
func serveNames(lookup func(ctx context.Context, name string) ([]netip.Addr, error), f *fence) (others []net.Listener) {
	server := &dns.Server{Lookup: lookup}
	for _, c := range f.dns {
		go server.ServeUDP(c)
	}
	for _, l := range f.redirected {
		others = append(others, &withoutDNS{l, server, f.destination})
	}
	return others
}

// withoutDNS is a transparent listener that does not accept connections to DNS servers:
// server serves them.
type withoutDNS struct {
	net.Listener
	server      *dns.Server
	destination func(net.Conn) (netip.AddrPort, error)
}

// Accept accepts the next connection that is not for a DNS server.
func (l *withoutDNS) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if dest, err := l.destination(conn); err != nil || dest.Port() != dnsPort {
			return conn, nil // the proxy says what is wrong
		}
		go l.server.ServeConn(context.Background(), conn)
	}
}
