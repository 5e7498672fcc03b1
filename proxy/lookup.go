package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"bip324proxy/internal/dial"
	"bip324proxy/internal/dns"
	"bip324proxy/internal/plain"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// Lookup returns the addresses of name, found the way that a connection to it would take: by
// Dialer.Resolve or this machine's resolver, without those that the rules deny, or by the
// upstream proxy, which finds one. A name in .onion or .i2p gets an address that has a meaning
// for ServeTransparent only: it leads to the name. So does a name whose upstream proxy does not
// resolve names, or is not that of the address.
// The error is a *rules.DeniedError if the rules deny the name or all addresses, and a
// *net.DNSError with IsNotFound if there are none.
func (s *Server) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	s.mu.Lock()
	s.setup()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	p := s.policy()
	ips, err := s.addressesOf(ctx, p, name)
	if err != nil {
		s.noteLookup(p, name, err)
		return nil, err
	}
	var args []any
	if !p.HideAddresses {
		args = append(args, "dest", name, "addrs", ips)
	}
	s.log().Debug("name resolved", args...)
	return ips, nil
}

// addressesOf returns the addresses of name that the policy allows.
func (s *Server) addressesOf(ctx context.Context, p *Policy, name string) ([]netip.Addr, error) {
	dest := socks.Addr{Host: name}
	dest.IP, _ = netip.ParseAddr(name)
	if err := p.checkRequest(dest, false); err != nil {
		return nil, err
	}
	upstream := p.UpstreamFor(dest)
	var ips []netip.Addr
	switch {
	case dest.IP.IsValid():
		return []netip.Addr{dest.IP}, nil
	case fallback.NeedsProxy(name) && upstream == nil:
		return nil, &net.DNSError{UnwrapErr: ErrNoEgress, Err: ErrNoEgress.Error(), Name: name, IsNotFound: true}
	case fallback.NeedsProxy(name):
		return []netip.Addr{s.names.Addr(name)}, nil
	case upstream != nil:
		ip, err := upstream.Resolve(ctx, dest, socks.Credentials{})
		var refused *socks.UpstreamError
		if errors.As(err, &refused) && refused.Code == socks.CommandNotSupported {
			return []netip.Addr{s.names.Addr(name)}, nil // it is not Tor
		}
		if err != nil {
			return nil, err
		}
		if p.UpstreamFor(socks.Addr{Host: ip.String(), IP: ip}) != upstream { // a connection would go another way
			return []netip.Addr{s.names.Addr(name)}, nil
		}
		ips = append(ips, ip)
	default:
		var err error
		if ips, err = p.lookupDirectly(ctx, name); err != nil {
			return nil, err
		}
	}
	var denied error
	ips = slices.DeleteFunc(ips, func(ip netip.Addr) bool {
		err := p.Rules.CheckAddr(ip, 0, false)
		if err != nil {
			denied = err
		}
		return err != nil || dns.Pool.Contains(ip) // a connection to that would go to another name
	})
	switch {
	case len(ips) > 0:
	case denied == nil:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	default:
		return nil, denied
	}
	return ips, nil
}

// lookupDirectly returns the addresses of name by the dialer's Resolve or this machine's
// resolver, those without a zone: no reply has room for it.
func (p *Policy) lookupDirectly(ctx context.Context, name string) ([]netip.Addr, error) {
	resolve := p.Dialer.Resolve
	if resolve == nil {
		resolve = dial.Lookup
	}
	ips, err := resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	ips = slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return ip.Zone() != "" })
	if len(ips) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return ips, nil
}

// lookupClient is the client in the Outcome of a lookup.
const lookupClient = "dns"

// noteLookup logs that name was not resolved, and counts it like a RESOLVE unless there is
// no such name: programs try many that do not exist.
func (s *Server) noteLookup(p *Policy, name string, err error) {
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsNotFound {
		why := refusalOf(&requestError{socks.CommandResolve, socks.HostUnreachable, err})
		o := Outcome{Time: time.Now(), Client: lookupClient, Dest: name, Kind: why.kind, Reason: plain.Words(err), why: why}
		o.Hint = s.hint(Failure{Kind: why.kind, Dest: name, Err: err})
		o.like = alike{kind: why.kind, dest: name}
		s.mu.Lock()
		s.outbound.tally.add(o, Traffic{})
		s.mu.Unlock()
	}
	var args []any
	if p.HideAddresses {
		err = redact(err)
	} else {
		args = append(args, "dest", name)
	}
	s.log().Debug("name not resolved", append(args, "reason", plain.Words(err))...)
}
