package socks

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Command is the CMD of a request (RFC 1928, section 4; from 0xF0 on Tor's).
type Command uint8

// The commands that Negotiate returns. It refuses others.
const (
	CommandConnect Command = 0x01
	CommandResolve Command = 0xF0
)

var commandNames = map[Command]string{
	CommandConnect: "CONNECT",
	0x02:           "BIND",
	0x03:           "UDP ASSOCIATE",
	CommandResolve: "RESOLVE",
	0xF1:           "RESOLVE_PTR",
}

// String returns the command's name in its specification.
func (c Command) String() string {
	return cmp.Or(commandNames[c], fmt.Sprintf("command 0x%02x", uint8(c)))
}

// Addr is a destination. Without an IP, Host is a name to resolve.
type Addr struct {
	Host string     // the name as sent (1 to 255 printable ASCII bytes), or IP as text without brackets
	IP   netip.Addr // valid if the client sent an address, as a name too ("127.1"); never IPv4-mapped, with a zone only if link-local
	Port uint16     // 0 only in a RESOLVE, where it is ignored

	// Binary is set if the client sent IP as address type 1 or 4, not as text in a name.
	// An upstream proxy gets it in the same form: Tor's SafeSocks refuses binary
	// addresses, because they may come from a DNS look-up outside Tor.
	Binary bool
}

// String returns "host:port", with an IPv6 host in brackets, for net.Dialer.
func (a Addr) String() string {
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}

// Request is a client's request. The credentials are omitted when it is printed or logged,
// with the same exception as for Credentials.
type Request struct {
	Command Command
	Dest    Addr

	// Credentials are as the client sent them, to isolate streams. They are empty if
	// Config.Auth is set.
	Credentials Credentials `json:"-"`

	conn net.Conn
	held []byte // messages to the client to send with the reply
}

// String returns the command and the destination.
func (r Request) String() string { return r.Command.String() + " " + r.Dest.of(r.Command) }

// of returns what a request for command asks for.
func (a Addr) of(command Command) string {
	if command == CommandResolve {
		return a.Host
	}
	return a.String()
}

// Format prints String for every verb, %+v and %#v among them.
func (r Request) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue returns String.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// destination returns the destination of a request for command, which has a name or an
// address, or an *AddrError.
func destination(command Command, name string, ip netip.Addr, port uint16) (Addr, error) {
	dest := Addr{Host: name, Port: port}
	binary := ip.IsValid()
	if !binary {
		ip = literal(name)
	}
	switch {
	case ip.IsValid():
		dest.IP, dest.Binary = ip.Unmap(), binary
		dest.Host = dest.IP.String()
	case !validName(name):
		return Addr{}, &AddrError{quoted(name), "the client asks for the host", ", which is neither a name nor an address"}
	}
	if dest.IP.Zone() != "" && command == CommandResolve {
		return Addr{}, &AddrError{dest.Host, "the client asks to resolve", ", whose zone does not fit into an answer"}
	}
	if dest.Port == 0 && command != CommandResolve {
		return Addr{}, &AddrError{dest.Host, "the client asks for port 0 of", ""}
	}
	return dest, nil
}

// literal parses an address: IPv6 with or without brackets, IPv4 in any form that
// inet_aton accepts. Only link-local addresses may have a zone. For anything else it
// returns the zero Addr.
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

// validZone reports whether ip has no zone, or is link-local and has the name or number of
// an interface.
func validZone(ip netip.Addr) bool {
	zone := ip.Zone()
	return zone == "" || !ip.Is4In6() && ip.IsLinkLocalUnicast() && len(zone) <= maxZone &&
		!strings.ContainsFunc(zone, isReserved) && !strings.Contains(zone, "/")
}

// maxZone is longer than the names of interfaces on any system, in bytes.
const maxZone = 64

// EndsInNumber reports whether the last label of name is a decimal, octal or hexadecimal
// number. Resolvers parse such a name as an IPv4 address or reject it.
func EndsInNumber(name string) bool {
	name = strings.TrimRight(name, ".")
	return isNumber(name[strings.LastIndex(name, ".")+1:])
}

func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return label != "" && strings.Trim(label, "0123456789") == ""
}

// inetAton parses an IPv4 address like inet_aton: one to four parts, the last of which
// fills the remaining bytes, each decimal, octal (0177) or hexadecimal (0x7f). For anything
// else it returns the zero Addr.
func inetAton(text string) netip.Addr {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}
	}
	var ip uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (4 - i)
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if err != nil || !isNumber(part) { // ParseUint takes 0b1 and 1_0, too
			return netip.Addr{}
		}
		ip = ip<<bits | n
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(ip))))
}

// validName reports whether name is printable ASCII without colons and brackets, which
// would change the meaning of "host:port" ("[127.0.0.1]" would pass for a name and be
// dialed as an address), without '%', which begins a zone, without a backslash, with which
// resolvers escape any character (a.onio\110 is a.onion), and without a number at its end.
func validName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, isReserved) && !EndsInNumber(name)
}

func isReserved(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`:[]%\`, c) }

// ParseAddr parses "host:port", with an IPv6 host in brackets. It resolves nothing. An
// upstream proxy is sent an address as text.
func ParseAddr(dest string) (Addr, error) {
	host, portText, err := net.SplitHostPort(dest)
	if err != nil {
		return Addr{}, &AddrError{quoted(dest), "the destination", " is not host:port"}
	}
	addr, err := parseHost(host)
	if err != nil {
		return Addr{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return Addr{}, &AddrError{quoted(dest), "the destination", " has no port from 1 to 65535"}
	}
	addr.Port = uint16(port)
	return addr, nil
}

// parseHost parses a name or an address.
func parseHost(host string) (Addr, error) {
	if ip := literal(host).Unmap(); ip.IsValid() {
		return Addr{Host: ip.String(), IP: ip}, nil
	}
	addr := Addr{Host: host}
	if err := addr.check(); err != nil {
		return Addr{}, err
	}
	return addr, nil
}

// check returns an *AddrError if the host cannot be sent to a proxy: it is neither a name
// nor an address, or it has a zone.
func (a Addr) check() error {
	switch {
	case a.IP.Zone() != "":
		return &AddrError{a.Host, "", " is link-local: its zone has a meaning on this machine only, so no other proxy can connect to it"}
	case a.IP.IsValid():
		return nil
	case len(a.Host) > maxField:
		return &AddrError{quoted(a.Host), "the host name", fmt.Sprintf(" has %d bytes; SOCKS5 allows at most 255", len(a.Host))}
	case !validName(a.Host):
		return &AddrError{quoted(a.Host), "the host", " is neither a name nor an address"}
	}
	return nil
}
