package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bip324proxy/internal/random"
)

// resolutionDelay is how long the addresses of one family wait for those of the other. RFC
// 8305 has 50 ms; more serves clients that only use IPv4.
const resolutionDelay = 500 * time.Millisecond

// ErrMulticastName reports a name in .local that was not found. DNS servers are not queried
// for such names (RFC 6762, section 22).
var ErrMulticastName = errors.New("names in .local need systemd-resolved or Avahi on this machine, with mDNS, or an entry in /etc/hosts")

// Lookup returns the addresses of host, IPv6 first, each family in random order. The
// system's search domains apply only to names without a dot. localhost is this machine, and
// no DNS server is queried for names in .local. There are no names with a backslash, which
// begins an escape in some resolvers: to them a.onio\110 is a.onion. The error is a *net.DNSError.
func Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ips, err := lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	return shuffled(ips), nil
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if strings.Contains(host, `\`) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	bare := strings.TrimSuffix(host, ".")
	if IsLocalhost(bare) {
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	complete := strings.Contains(host, ".")
	if complete { // getaddrinfo does not find "name." in /etc/hosts
		if ips, err := bothFamilies(ctx, hostsOnly, bare); err == nil {
			return ips, nil
		}
	}
	if IsMulticast(host) {
		return lookupMulticast(ctx, bare)
	}
	asked := bare
	if complete {
		asked += "."
	}
	ips, err := bothFamilies(ctx, net.DefaultResolver, asked)
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return ips, err
	}
	if dns.IsNotFound && nssHas(func(source string) bool { return source == "resolve" }) {
		if ips := askResolved(ctx, bare); ips != nil {
			return ips, nil
		}
	}
	named := *dns
	named.Name = host
	return nil, &named
}

// Search is Lookup for a name in the settings: the system's search domains apply.
func Search(ctx context.Context, host string) ([]netip.Addr, error) {
	if bare := strings.TrimSuffix(host, "."); IsLocalhost(bare) || IsMulticast(host) {
		return Lookup(ctx, host)
	}
	return bothFamilies(ctx, net.DefaultResolver, host)
}

// IsMulticast reports whether name is an mDNS name (RFC 6762).
func IsMulticast(name string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimRight(name, ".")), ".local")
}

// IsLocalhost reports whether name, without a dot at its end, is this machine by RFC 6761.
// DNS servers are not queried for it.
func IsLocalhost(name string) bool {
	name = strings.ToLower(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// hostsOnly resolves names in /etc/hosts, or its equivalent, without DNS.
var hostsOnly = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("not in the hosts file")
}}

// shuffled returns ips in random order, IPv6 first.
func shuffled(ips []netip.Addr) []netip.Addr {
	ips = slices.Clone(ips)
	for i := range ips {
		j := i + random.N(len(ips)-i)
		ips[i], ips[j] = ips[j], ips[i]
	}
	return sixFirst(ips)
}

// bothFamilies returns the addresses of host, IPv6 first. It queries both families at once;
// one without an answer does not delay the other. The error is a *net.DNSError.
func bothFamilies(ctx context.Context, resolver *net.Resolver, host string) ([]netip.Addr, error) {
	type answer struct {
		ips []netip.Addr
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ask := func(network string) <-chan answer {
		c := make(chan answer, 1)
		go func() {
			ips, err := resolver.LookupNetIP(ctx, network, host)
			c <- answer{ips, err}
		}()
		return c
	}
	var six, four answer
	var enough <-chan time.Time
	for v6, v4 := ask("ip6"), ask("ip4"); v6 != nil || v4 != nil; {
		select {
		case six = <-v6:
			v6 = nil
		case four = <-v4:
			v4 = nil
		case <-enough:
			v6, v4 = nil, nil
		}
		if enough == nil && len(six.ips)+len(four.ips) > 0 {
			enough = time.After(resolutionDelay)
		}
	}
	ips := six.ips
	for _, ip := range four.ips {
		ips = append(ips, ip.Unmap())
	}
	if len(ips) > 0 {
		return ips, nil
	}
	if dns, ok := four.err.(*net.DNSError); ok && dns.IsNotFound { // the query for IPv6 may have failed otherwise
		return nil, six.err
	}
	return nil, four.err
}
