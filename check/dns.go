package check

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bip324proxy/internal/dial"
)

const (
	// slowLookup is how long a look-up may take before its servers are checked.
	slowLookup = 2 * time.Second

	// serverTimeout is how long a DNS server may take to answer.
	serverTimeout = 3 * time.Second

	resolvConf = "/etc/resolv.conf"
)

// dns queries each DNS server in resolv.conf, if the look-up of name failed or was slow, and
// reports those that do not answer, not even with an error. Without a resolv.conf there are none.
func (p *prober) dns(ctx context.Context, name string) {
	if p.lookupErr == nil && p.lookupTook < slowLookup || dial.IsMulticast(name) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	servers := nameservers()
	answered := make([]bool, len(servers))
	var queries sync.WaitGroup
	for i, server := range servers {
		queries.Go(func() { answered[i] = serverAnswers(ctx, server, name) })
	}
	queries.Wait()
	var silent []string
	for i, server := range servers {
		if !answered[i] {
			silent = append(silent, server)
		}
	}
	if len(silent) == 0 {
		return
	}
	which := "DNS server"
	if len(silent) > 1 {
		which = "DNS servers"
	}
	r := Result{"names", Warning, fmt.Sprintf("the %s %s did not answer a query for %s within %v", which, strings.Join(silent, " and "), name, serverTimeout),
		fmt.Sprintf("repair it, or remove it from %s; every look-up waits for it", resolvConf)}
	if len(silent) == len(servers) {
		r.State, r.Hint = Failed, fmt.Sprintf("no server in %s answers: check this machine's network, and that file", resolvConf)
	}
	p.report.add(r)
}

// serverAnswers reports whether a DNS server answers a query for name.
func serverAnswers(ctx context.Context, server, name string) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var heard atomic.Bool
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(server, "53"))
		if err != nil {
			return nil, err
		}
		observed := observedConn{c, func() { heard.Store(true); cancel() }}
		if p, ok := c.(net.PacketConn); ok { // the resolver recognizes UDP by it
			return &observedPacketConn{observed, p}, nil
		}
		return &observed, nil
	}}
	r.LookupNetIP(ctx, "ip4", strings.TrimSuffix(name, ".")+".") // without search domains
	return heard.Load()
}

// observedConn calls heard when something arrives.
type observedConn struct {
	net.Conn
	heard func()
}

func (c *observedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard()
	}
	return n, err
}

// observedPacketConn is an observedConn on UDP.
type observedPacketConn struct {
	observedConn
	net.PacketConn
}

// nameservers returns the DNS servers in resolv.conf(5), if there is one.
func nameservers() (all []string) {
	b, _ := os.ReadFile(resolvConf)
	for line := range strings.Lines(string(b)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "nameserver" && len(all) < 3 { // MAXNS
			all = append(all, words[1])
		}
	}
	return all
}
