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
	// slowLookup is how long a look-up may take before its servers are suspected.
	slowLookup = 2 * time.Second

	// serverTimeout is how long a DNS server may take to answer.
	serverTimeout = 3 * time.Second

	resolvConf = "/etc/resolv.conf"
)

// unansweredBy asks each DNS server of this machine for name and returns those that
// do not answer, and how many there are in all. Any answer is one. Where there is no
// resolv.conf there are none.
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

// serverAnswers reports whether the DNS server at that address answers a question for name.
func serverAnswers(ctx context.Context, server, name string) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var heard atomic.Bool
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(server, "53"))
		if err != nil {
			return nil, err
		}
		listen := listener{c, func() { heard.Store(true); cancel() }}
		if p, ok := c.(net.PacketConn); ok { // by which the resolver knows UDP
			return &packetListener{listen, p}, nil
		}
		return &listen, nil
	}}
	r.LookupNetIP(ctx, "ip4", strings.TrimSuffix(name, ".")+".") // without search domains
	return heard.Load()
}

// listener tells when something has come.
type listener struct {
	net.Conn
	heard func()
}

func (l *listener) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.heard()
	}
	return n, err
}

// packetListener is a listener on UDP.
type packetListener struct {
	listener
	packets net.PacketConn
}

func (l *packetListener) ReadFrom(b []byte) (int, net.Addr, error) { return l.packets.ReadFrom(b) }

func (l *packetListener) WriteTo(b []byte, to net.Addr) (int, error) { return l.packets.WriteTo(b, to) }

// nameservers are the DNS servers in a file of resolv.conf(5).
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

// watchLookup keeps how the look-up of the peer's name went.
type watchLookup struct {
	took time.Duration
	err  error
}

// dns adds, if the look-up of name failed or was slow, which DNS servers do not answer.
func (p *prober) dns(ctx context.Context, name string) {
	if p.lookup.err == nil && p.lookup.took < slowLookup || dial.IsMulticast(name) {
		return
	}
	silent, all := unansweredBy(ctx, name)
	if len(silent) == 0 {
		return
	}
	state, which := Warning, "DNS server "+silent[0]+" does"
	if len(silent) > 1 {
		which = "DNS servers " + strings.Join(silent, " and ") + " do"
	}
	if len(silent) == all {
		state = Failed
	}
	hint := fmt.Sprintf("remove what is dead from %s, or repair it; every name waits for it first", resolvConf)
	if state == Failed {
		hint = fmt.Sprintf("none in %s answers: see that this machine is connected, and that they are right", resolvConf)
	}
	p.report.add(Result{"names", state, fmt.Sprintf("the %s not answer (asked for %s for %v)", which, name, serverTimeout), hint})
}
