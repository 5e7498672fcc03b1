package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"bip324proxy/internal/dial"
	"bip324proxy/internal/errno"
	"bip324proxy/internal/plain"
)

// Bind is where direct connections leave this machine: from one address of each family at most,
// through an interface, or both. The zero value leaves that to the system. Connections to loopback
// addresses are not bound: they do not leave.
//
// An address is only the source: without Interface the routing table chooses the interface.
type Bind struct {
	// IPv4 and IPv6 are source addresses. If only one is valid, destinations of the other
	// family cannot be connected to.
	IPv4, IPv6 netip.Addr

	// Interface is the name of an interface, on Linux and macOS. It may come and go: while it
	// is missing or down, no connection leaves.
	Interface string
}

// ParseBind parses addresses, at most one of each family, or the name of an interface.
func ParseBind(texts []string) (b Bind, err error) {
	for _, text := range texts {
		ip, notIP := netip.ParseAddr(text)
		ip = ip.Unmap()
		family := &b.IPv6
		if ip.Is4() {
			family = &b.IPv4
		}
		switch {
		case notIP != nil && !isInterfaceName(text):
			return Bind{}, fmt.Errorf("%q is neither an IP address nor the name of an interface; write 192.0.2.1, 2001:db8::1 or eth0", text)
		case notIP != nil && !dial.HasInterfaces:
			return Bind{}, fmt.Errorf("%q is an interface, which this system cannot bind connections to; write an IP address", text)
		case notIP != nil && len(texts) > 1:
			return Bind{}, fmt.Errorf("%q is an interface, which must be the only value; remove the others", text)
		case notIP != nil:
			b.Interface = text
		case ip.Zone() != "", ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast() && ip.Is6():
			return Bind{}, fmt.Errorf("%s cannot be the source of connections; write an address of this machine, such as 192.0.2.1", text)
		case ip.IsLoopback():
			return Bind{}, fmt.Errorf("%s is a loopback address, from which no connection leaves this machine; write another address of this machine, such as 192.0.2.1", text)
		case family.IsValid():
			return Bind{}, fmt.Errorf("%s and %s are of the same family; write at most one IPv4 and one IPv6 address", *family, ip)
		default:
			*family = ip
		}
	}
	return b, nil
}

// isInterfaceName reports whether text may be the name of an interface, and was not meant to be an
// address or a network.
func isInterfaceName(text string) bool {
	return text != "" && len(text) <= 15 && strings.Trim(text, "0123456789.") != "" &&
		!strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || c == '/' || c == ':' })
}

// IsSet reports whether b limits anything.
func (b Bind) IsSet() bool { return b != Bind{} }

// Addresses returns the addresses that are set.
func (b Bind) Addresses() (all []netip.Addr) {
	for _, ip := range []netip.Addr{b.IPv4, b.IPv6} {
		if ip.IsValid() {
			all = append(all, ip)
		}
	}
	return all
}

// String returns the addresses, or the interface.
func (b Bind) String() string {
	texts := []string{}
	for _, ip := range b.Addresses() {
		texts = append(texts, ip.String())
	}
	if b.Interface != "" {
		texts = append(texts, b.Interface)
	}
	return strings.Join(texts, ",")
}

// Check returns a *BindError if this machine does not have an address or the interface now. It sends
// nothing.
func (b Bind) Check() error {
	try := func(ip netip.Addr, control func(string, string, syscall.RawConn) error) error {
		c, err := (&net.ListenConfig{Control: control}).ListenPacket(context.Background(), "udp", netip.AddrPortFrom(ip, 0).String())
		if err == nil {
			c.Close()
		}
		return err
	}
	for _, ip := range b.Addresses() {
		if err := try(ip, nil); err != nil {
			return &BindError{Address: ip, Err: errnoOf(err)}
		}
	}
	if b.Interface == "" {
		return nil
	}
	err := try(netip.IPv4Unspecified(), func(network, _ string, c syscall.RawConn) error {
		return dial.ThroughInterface(c, network, b.Interface)
	})
	switch {
	case err != nil:
		return &BindError{Interface: b.Interface, Err: errnoOf(err)}
	case isDown(b.Interface):
		return &BindError{Interface: b.Interface, Err: errInterfaceDown}
	}
	return nil
}

// apply binds d's connections to the address to. d has a Control.
func (b Bind) apply(d *net.Dialer, to netip.Addr) error {
	if !b.IsSet() || to.IsLoopback() {
		return nil
	}
	if b.Interface != "" {
		check := d.Control
		d.Control = func(network, address string, c syscall.RawConn) error {
			if err := check(network, address, c); err != nil {
				return err
			}
			if err := dial.ThroughInterface(c, network, b.Interface); err != nil {
				return &BindError{Interface: b.Interface, Err: errnoOf(err)}
			}
			return nil
		}
	}
	switch from := b.source(to); {
	case from.IsValid():
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	case len(b.Addresses()) > 0:
		return ErrBindFamily
	}
	return nil
}

// source returns the address of the family of to, if it is set.
func (b Bind) source(to netip.Addr) netip.Addr {
	if to.Is4() {
		return b.IPv4
	}
	return b.IPv6
}

// reachable returns resolve without the addresses of the family that has no source, unless there
// are no others: a failed connection is then not explained by the missing source.
func (b Bind) reachable(resolve func(context.Context, string) ([]netip.Addr, error)) func(context.Context, string) ([]netip.Addr, error) {
	if len(b.Addresses()) != 1 {
		return resolve
	}
	return func(ctx context.Context, host string) ([]netip.Addr, error) {
		all, err := resolve(ctx, host)
		some := slices.DeleteFunc(slices.Clone(all), func(ip netip.Addr) bool { return !ip.IsLoopback() && !b.source(ip.Unmap()).IsValid() })
		if len(some) == 0 {
			return all, err
		}
		return some, err
	}
}

// explain returns err, the outcome of a dial with d, as a *BindError if b is its cause.
func (b Bind) explain(d *net.Dialer, err error) error {
	var call *os.SyscallError
	switch {
	case !errors.As(err, &call):
	case d.LocalAddr != nil && call.Syscall == "bind" && errno.Is(err, errno.EADDRNOTAVAIL):
		return &BindError{Address: d.LocalAddr.(*net.TCPAddr).AddrPort().Addr(), Err: errnoOf(err)}
	case b.Interface != "" && isDown(b.Interface):
		return &BindError{Interface: b.Interface, Err: errInterfaceDown}
	}
	return err
}

// isDown reports whether there is an interface of that name, and it is down.
func isDown(name string) bool {
	on, err := net.InterfaceByName(name)
	return err == nil && on.Flags&net.FlagUp == 0
}

// errnoOf returns the number in err, or err if there is none.
func errnoOf(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// errInterfaceDown is a cause in a BindError.
const errInterfaceDown = plainError("the interface is down")

// ErrBindFamily reports a destination for which Policy.Bind has no address of the same family.
var ErrBindFamily error = plainError("no source address of the destination's family, IPv4 or IPv6, is set")

// BindError reports that connections cannot leave from where Policy.Bind says.
type BindError struct {
	Address   netip.Addr // not valid if it is redacted
	Interface string     // or that
	Err       error      // a syscall.Errno, or the reason in words
}

// Error implements error.
func (e *BindError) Error() string {
	from := "from the source address that is set"
	switch {
	case e.Interface != "":
		from = "through the interface " + e.Interface
	case e.Address.IsValid():
		from = "from " + e.Address.String()
	}
	why := plain.Words(e.Err)
	switch {
	case errno.Is(e.Err, errno.EADDRNOTAVAIL):
		why = "this machine does not have that address"
	case errno.Is(e.Err, errno.ENODEV):
		why = "this machine has no such interface"
	}
	return "connections must leave " + from + ": " + why
}

// IsAbsentInterface reports whether the interface is missing or down. It may return.
func (e *BindError) IsAbsentInterface() bool {
	return e.Interface != "" && (e.Err == errInterfaceDown || errno.Is(e.Err, errno.ENODEV))
}

// Unwrap returns the cause.
func (e *BindError) Unwrap() error { return e.Err }
