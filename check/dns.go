package check

import (
	"bufio"
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

// unansweredBy queries each DNS server in resolv.conf for name and returns those that do
// not answer, not even with an error, and the number of servers. Without a resolv.conf
// there are none.
func unansweredBy(ctx context.Context, name string) (silent []string, all int) {
	servers := nameservers(resolvConf)
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	answered := make([]bool, len(servers))
	var asked sync.WaitGroup
	for i, server := range servers {
		asked.Go(func() { answered[i] = serverAnswers(ctx, server, name) })
	}
	asked.Wait()
	for i, server := range servers {
		if !answered[i] {
			silent = append(silent, server)
		}
	}
	return silent, len(servers)
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
	packets net.PacketConn
}

func (c *observedPacketConn) ReadFrom(b []byte) (int, net.Addr, error) { return c.packets.ReadFrom(b) }

func (c *observedPacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	return c.packets.WriteTo(b, to)
}

// nameservers returns the DNS servers in a resolv.conf(5) file.
func nameservers(path string) (all []string) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "nameserver" && len(all) < 3 { // MAXNS
			all = append(all, words[1])
		}
	}
	return all
}

// watchLookup records how long the look-up of the peer's name took, and its error.
type watchLookup struct {
	took time.Duration
	err  error
}

// dns reports which DNS servers do not answer, if the look-up of name failed or was slow.
func (p *prober) dns(ctx context.Context, name string) {
	if p.lookup.err == nil && p.lookup.took < slowLookup || dial.IsMulticast(name) {
		return
	}
	silent, all := unansweredBy(ctx, name)
	if len(silent) == 0 {
		return
	}
	state, which := Warning, "DNS server "+silent[0]
	if len(silent) > 1 {
		which = "DNS servers " + strings.Join(silent, " and ")
	}
	if len(silent) == all {
		state = Failed
	}
	hint := fmt.Sprintf("repair it, or remove it from %s; every look-up waits for it", resolvConf)
	if state == Failed {
		hint = fmt.Sprintf("no server in %s answers: check this machine's network, and that file", resolvConf)
	}
	p.report.add(Result{"names", state, fmt.Sprintf("the %s did not answer a query for %s within %v", which, name, serverTimeout), hint})
}
