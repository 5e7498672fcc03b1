package socks

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/armon/go-socks5"
)

// Command is the CMD of a request (RFC 1928, section 4; the last two are Tor's).
type Command uint8

// The commands that clients know. Negotiate returns CommandConnect and
// CommandResolve and refuses the others.
const (
	CommandConnect      Command = 0x01
	CommandBind         Command = 0x02
	CommandUDPAssociate Command = 0x03
	CommandResolve      Command = 0xF0
	CommandResolvePTR   Command = 0xF1
)

// String is the command's name in the specification.
func (c Command) String() string {
	switch c {
	case CommandConnect:
		return "CONNECT"
	case CommandBind:
		return "BIND"
	case CommandUDPAssociate:
		return "UDP ASSOCIATE"
	case CommandResolve:
		return "RESOLVE"
	case CommandResolvePTR:
		return "RESOLVE_PTR"
	}
	return fmt.Sprintf("command 0x%02x", uint8(c))
}

// Addr is a destination. A Host without an IP is a name for a resolver.
type Addr struct {
	Host string     // the name as sent (1 to 255 printable ASCII bytes), or IP as text without brackets
	IP   netip.Addr // valid if the client sent an address, also as a name ("127.1"); never IPv4-mapped, with a zone only if link-local
	Port uint16     // 0 in a RESOLVE only, where it means nothing

	// Binary says that the client sent IP in address type 1 or 4, and not as text in
	// a name. An upstream proxy gets it the same way: Tor's SafeSocks refuses binary
	// addresses, which may come from a look-up that was not Tor's.
	Binary bool
}

// String is "host:port" with an IPv6 host in brackets, as net.Dialer takes it.
func (a Addr) String() string {
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}

// Request is what a client asks for. Printing or logging it leaves the
// credentials out, with the same exception as for Credentials.
type Request struct {
	Command Command
	Dest    Addr

	// Credentials tell isolated streams apart: they are as the client sent them,
	// any will do. There are none if Config.Auth demanded its own.
	Credentials Credentials `json:"-"`

	conn net.Conn
	held []byte // messages to the client that leave with the reply
}

// String is the command and the destination.
func (r Request) String() string {
	if r.Command == CommandResolve {
		return r.Command.String() + " " + r.Dest.Host
	}
	return r.Command.String() + " " + r.Dest.String()
}

// Format prints String for every verb, %+v and %#v among them.
func (r Request) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue is String.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// destination checks what the parser read for command. The error is for the
// user.
func destination(command Command, spec *socks5.AddrSpec) (Addr, error) {
	dest := Addr{Host: spec.FQDN, Port: uint16(spec.Port)}
	ip, binary := netip.AddrFromSlice(spec.IP)
	if !binary {
		ip = literal(spec.FQDN)
	}
	switch {
	case ip.IsValid():
		dest.IP, dest.Binary = ip.Unmap(), binary
		dest.Host = dest.IP.String()
	case !validName(spec.FQDN):
		return Addr{}, &AddrError{quoted(spec.FQDN), "the client asks for the host", ", which is neither a name nor an address"}
	}
	if dest.IP.Zone() != "" && command == CommandResolve {
		return Addr{}, &AddrError{dest.Host, "the client asks to resolve", ", whose zone no answer can have"}
	}
	if dest.Port == 0 && command != CommandResolve {
		return Addr{}, &AddrError{dest.Host, "the client asks for port 0 of", ""}
	}
	return dest, nil
}

// literal is the address that name spells, IPv6 with or without brackets, IPv4 in any
// form that inet_aton takes, or the zero Addr. Only link-local addresses have a zone.
func literal(name string) netip.Addr {
	inner := name
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		inner = name[1 : len(name)-1]
	}
	ip, err := netip.ParseAddr(inner)
	switch {
	case err != nil && EndsInNumber(name):
		return inetAton(strings.TrimRight(name, "."))
	case err != nil || !validZone(ip) || (inner != name && ip.Is4()):
		return netip.Addr{}
	}
	return ip
}

// validZone admits addresses without a zone, and link-local ones with the name or number
// of an interface.
func validZone(ip netip.Addr) bool {
	zone := ip.Zone()
	return zone == "" || !ip.Is4In6() && ip.IsLinkLocalUnicast() && len(zone) <= maxZone && !strings.ContainsFunc(zone, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune("%:[]/", c)
	})
}

// maxZone is longer than the names of interfaces are anywhere, in bytes.
const maxZone = 64

// EndsInNumber reports whether the last label of name is a number, decimal, octal or
// hexadecimal. Resolvers take such a name for an IPv4 address, or for nothing.
func EndsInNumber(name string) bool {
	name = strings.TrimRight(name, ".")
	label := strings.ToLower(name[strings.LastIndex(name, ".")+1:])
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return label != "" && strings.Trim(label, "0123456789") == ""
}

// inetAton reads an IPv4 address as inet_aton does: one to four parts, of which the
// last fills what the others leave; each is decimal, octal (0177) or hexadecimal
// (0x7f). For anything else it returns the zero Addr.
func inetAton(text string) netip.Addr {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}
	}
	var ip uint64
	for i, part := range parts {
		base, bits := 10, 8
		if i == len(parts)-1 {
			bits = 8 * (4 - i)
		}
		if len(part) > 1 && part[0] == '0' {
			base, part = 8, part[1:]
			if part[0] == 'x' || part[0] == 'X' {
				base, part = 16, part[1:]
			}
		}
		n, err := strconv.ParseUint(part, base, bits)
		if err != nil {
			return netip.Addr{}
		}
		ip = ip<<bits | n
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(ip))))
}

// validName admits printable ASCII. Colons and brackets stay out because they
// would change what "host:port" means: "[127.0.0.1]" would pass for a name here
// and be dialled as an address. So does '%', with which zones begin. So do names that end in a number but are not addresses.
func validName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == ':' || c == '[' || c == ']' || c == '%' {
			return false
		}
	}
	return name != "" && !EndsInNumber(name)
}
