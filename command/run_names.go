package command

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"

	"bip324proxy/internal/dns"
	"bip324proxy/internal/transparent"
)

// serveNames answers the DNS queries that the fence takes with what lookup finds. It returns
// listeners that accept its other connections.
func serveNames(lookup func(ctx context.Context, name string) ([]netip.Addr, error), f *fence, log *slog.Logger) (others []net.Listener) {
	server := &dns.Server{Lookup: lookup}
	for _, c := range f.dns {
		go func() {
			if err := server.ServeUDP(c); !errors.Is(err, net.ErrClosed) {
				log.Error("the command cannot look up names", "err", err)
			}
		}()
	}
	for _, l := range f.dnsStreams {
		go accept(l, func(conn net.Conn) { go server.ServeConn(context.Background(), conn) })
	}
	if f.dnsStreams != nil {
		return f.redirected
	}
	for _, l := range f.redirected {
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
		if dest, err := transparent.Destination(conn); err != nil || dest.Port() != 53 { // of DNS
			return conn, nil // the proxy says what is wrong
		}
		go l.server.ServeConn(context.Background(), conn)
	}
}
