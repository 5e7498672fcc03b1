package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bip324proxy/internal/dial"
	"bip324proxy/internal/errno"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// ParseBind takes one address of each family or one interface, and the error about anything else
// names it.
func TestParseBind(t *testing.T) {
	for _, valid := range [][]string{{}, {"192.0.2.1"}, {"2001:db8::1"}, {"2001:db8::1", "192.0.2.1"}} {
		b, err := ParseBind(valid)
		if err != nil || len(b.Addresses()) != len(valid) || b.IsSet() != (len(valid) > 0) {
			t.Errorf("%q: got %+v, %v", valid, b, err)
		}
	}
	if b, err := ParseBind([]string{"::ffff:192.0.2.1"}); err != nil || b.String() != "192.0.2.1" {
		t.Errorf("a mapped address: got %v, %v", b, err)
	}
	b, err := ParseBind([]string{"wg0"})
	if dial.HasInterfaces && (err != nil || b.Interface != "wg0" || b.String() != "wg0") || !dial.HasInterfaces && err == nil {
		t.Errorf("an interface: got %+v, %v", b, err)
	}
	for _, invalid := range [][]string{
		{""}, {"192.0.2"}, {"192.0.2.0/24"}, {"192.0.2.1:0"}, {"0.0.0.0"}, {"::"}, {"224.0.0.1"}, {"127.0.0.1"}, {"::1"}, {"fe80::1%eth0"}, {"fe80::1"},
		{"eth0/1"}, {"eth 0"}, {"an-interface-of-16"}, {"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}, {"wg0", "192.0.2.1"}, {"wg0", "wg1"},
	} {
		b, err := ParseBind(invalid)
		if err == nil || b.IsSet() || !strings.Contains(err.Error(), invalid[0]) {
			t.Errorf("%q: got %+v, %v", invalid, b, err)
		}
	}
}

// dialFrom connects to addr as a session with that Bind does.
func dialFrom(t *testing.T, b Bind, addr string) (net.Conn, error) {
	t.Helper()
	p := Policy{Bind: b}
	dest, err := socks.ParseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.DialerTo(dest, socks.Credentials{}, false)
	if err != nil {
		t.Fatal(err)
	}
	return d.Connect(t.Context(), addr)
}

// A connection whose source is missing fails without an attempt from another address: the error says
// what is missing.
func TestMissingSource(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for name, c := range map[string]struct {
		bind Bind
		dest string
		want error
	}{
		"an IPv4 address":         {Bind{IPv4: four}, "203.0.113.1:8333", errno.EADDRNOTAVAIL},
		"of a mapped destination": {Bind{IPv4: four}, "[::ffff:203.0.113.1]:8333", errno.EADDRNOTAVAIL},
		"IPv6 with IPv4 only":     {Bind{IPv4: four}, "[2001:db8::2]:8333", ErrBindFamily},
		"IPv4 with IPv6 only":     {Bind{IPv6: six}, "203.0.113.1:8333", ErrBindFamily},
		"an address of both":      {Bind{IPv4: four, Interface: "bip324-none"}, "[2001:db8::2]:8333", ErrBindFamily},
		"an interface":            {Bind{Interface: "bip324-none"}, "203.0.113.1:8333", missingInterface()},
	} {
		conn, err := dialFrom(t, c.bind, c.dest)
		if conn != nil {
			conn.Close()
		}
		var e *BindError
		isBind := errors.As(err, &e)
		switch {
		case !errors.Is(err, c.want), isBind != (c.want != ErrBindFamily):
			t.Errorf("%s: got %v", name, err)
		case isBind && e.Address.IsValid() == (e.Interface != ""):
			t.Errorf("%s: got %+v", name, e)
		}
	}
}

// A name with addresses of both families is connected to at those that have a source, so the error
// is about them.
func TestNameWithSource(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	all := []netip.Addr{netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("203.0.113.1")}
	for _, c := range []struct {
		bind     Bind
		resolved []netip.Addr
		want     []netip.Addr
	}{
		{Bind{IPv4: four}, all, all[1:]},
		{Bind{IPv6: six}, all, all[:1]},
		{Bind{IPv4: four}, all[:1], all[:1]}, // ErrBindFamily says why it fails
		{Bind{IPv4: four, IPv6: six}, all, all},
		{Bind{Interface: "wg0"}, all, all},
		{Bind{IPv4: four}, []netip.Addr{netip.IPv6Loopback()}, []netip.Addr{netip.IPv6Loopback()}},
	} {
		p := Policy{Bind: c.bind, Dialer: fallback.Dialer{Resolve: func(context.Context, string) ([]netip.Addr, error) { return c.resolved, nil }}}
		d, err := p.DialerTo(socks.Addr{Host: "node.example", Port: 8333}, socks.Credentials{}, false)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Resolve(t.Context(), "node.example"); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, %v; want %v", c.bind, got, err, c.want)
		}
	}
}

// missingInterface returns the error about an interface that this machine does not have.
func missingInterface() error {
	if dial.HasInterfaces {
		return errno.ENODEV
	}
	return errors.ErrUnsupported
}

// A loopback destination is not bound, since it does not leave this machine.
func TestLoopbackIsNotBound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, b := range []Bind{{IPv4: netip.MustParseAddr("192.0.2.1")}, {IPv6: netip.MustParseAddr("2001:db8::1")}, {Interface: "bip324-none"}} {
		conn, err := dialFrom(t, b, l.Addr().String())
		if err != nil {
			t.Errorf("%v: %v", b, err)
			continue
		}
		conn.Close()
	}
}

// Check finds what this machine has and what it lacks.
func TestBindCheck(t *testing.T) {
	for _, b := range []Bind{{}, {IPv4: netip.MustParseAddr("127.0.0.1")}} {
		if err := b.Check(); err != nil {
			t.Errorf("%v: %v", b, err)
		}
	}
	for want, b := range map[string]Bind{"192.0.2.1": {IPv4: netip.MustParseAddr("192.0.2.1")}, "bip324-none": {Interface: "bip324-none"}} {
		var e *BindError
		if err := b.Check(); !errors.As(err, &e) || !strings.Contains(err.Error(), want) || e.IsAbsentInterface() != (b.Interface != "" && dial.HasInterfaces) {
			t.Errorf("%v: got %v", b, err)
		}
	}
}

// The reason names the address or the interface; a redacted one does not name the address.
func TestBindErrorWords(t *testing.T) {
	e := &BindError{Address: netip.MustParseAddr("192.0.2.1"), Err: errno.EADDRNOTAVAIL}
	if got := e.Error(); got != "connections must leave from 192.0.2.1: this machine does not have that address" {
		t.Errorf("got %q", got)
	}
	hidden := redact(&net.OpError{Op: "dial", Err: e})
	if kind, reason := Explain(hidden, "mainnet"); kind != KindBind || reason != "connections must leave from the source address that is set: this machine does not have that address" {
		t.Errorf("redacted: got %s, %q", kind, reason)
	}
	for err, want := range map[error]string{
		errno.ENODEV: "this machine has no such interface", errInterfaceDown: "the interface is down", syscall.EPERM: "not permitted, by a firewall or this user's permissions",
	} {
		if got := (&BindError{Interface: "wg0", Err: err}).Error(); got != "connections must leave through the interface wg0: "+want {
			t.Errorf("got %q", got)
		}
	}
}
