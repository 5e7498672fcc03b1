package socks

import (
	"bytes"
	"errors"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// FuzzNegotiate compares Negotiate with a model of the two RFCs, for any bytes of a client in
// segments of any size.
func FuzzNegotiate(f *testing.F) {
	for _, tt := range valid() {
		f.Add(unhex(tt.in), byte(0), false)
		f.Add(append(unhex(tt.in), unhex(bitcoinV1)...), byte(1), false)
		f.Add(unhex(tt.in), byte(1), true)
	}
	for _, in := range []string{"", "04", "0500", "05 02 0103", "05 02 0002 05", noAuth + "04", noAuth + "010000 0100",
		noAuth + "05020001 00000000 0000", noAuth + "050100ff", noAuth + "05010003 03'::1'208d", noAuth + "05010003 05'[::1]'208d", noAuth + "05010003 09'fe80::1%e'208d", noAuth + "05f00003 09'fe80::1%e'0000",
		"050102 01" + field("u") + field("q") + toHost, "050102 01" + field("v") + field("p"), noAuth + "05f00003 00 0000", noAuth + "05f10001 01020304 0000"} {
		f.Add(unhex(in), byte(0), false)
		f.Add(unhex(in), byte(0), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, size byte, auth bool) {
		tp := play(in, int(size))
		if auth {
			tp.auth = &Credentials{"u", "p"}
		}
		want := modelOf(in, tp.auth)
		req, rest, err := negotiate(tp)
		if err == nil {
			if err := req.ReplyAddr(lookedUp); err != nil {
				t.Error(err)
			}
			want.out = append(want.out, unhex("0500 0001 c0000207 0000"))
		}

		if got, want := bytes.Join(tp.writes, nil), bytes.Join(want.out, nil); !bytes.Equal(got, want) {
			t.Errorf("wrote %x, want %x", got, want)
		}
		if size == 1 && len(tp.writes) != len(want.out) {
			t.Errorf("wrote %x to a client that waits, want the pieces %x", tp.writes, want.out)
		}
		for _, w := range tp.writes { // whole messages only
			for len(w) > 0 && len(want.out) > 0 && bytes.HasPrefix(w, want.out[0]) {
				w, want.out = w[len(want.out[0]):], want.out[1:]
			}
			if len(w) > 0 {
				t.Errorf("wrote %x, which has part of a message", tp.writes)
			}
		}
		if !bytes.HasSuffix(in, rest) || len(in)-len(rest) > want.used {
			t.Errorf("read %d bytes, the conversation has %d", len(in)-len(rest), want.used)
		}
		if (err == nil) != want.ok {
			t.Fatalf("request %v, error %v", req, err)
		}
		if err != nil {
			var nerr *NegotiationError
			if req != nil || !errors.As(err, &nerr) || nerr.Err == nil {
				t.Errorf("request %v, error %#v", req, err)
			}
			if ended := nerr.Err == io.EOF || nerr.Err == io.ErrUnexpectedEOF; ended != want.short {
				t.Errorf("error %v, client ended early: %v", err, want.short)
			}
			return
		}
		if took := len(in) - len(rest); took != want.used {
			t.Errorf("read %d bytes, the conversation has %d", took, want.used)
		}
		if req.Command != want.command || req.Dest.Port != want.port || req.Credentials != (Credentials{want.user, want.password}) {
			t.Errorf("request %v (%q, %q), want %+v", req, req.Credentials.Username, req.Credentials.Password, want)
		}
		if want.ip != nil {
			if !want.ip.Equal(req.Dest.IP.AsSlice()) || want.zoned != (req.Dest.IP.Zone() != "") || req.Dest.Host != req.Dest.IP.String() || req.Dest.IP.Is4In6() {
				t.Errorf("destination %v, want %v", req.Dest, want.ip)
			}
		} else if req.Dest.IP.IsValid() || req.Dest.Host != want.name {
			t.Errorf("destination %v, want the name %q", req.Dest, want.name)
		}
		host, _, err := net.SplitHostPort(req.Dest.String())
		if err != nil || host != req.Dest.Host {
			t.Errorf("%q does not dial %q", req.Dest.String(), req.Dest.Host)
		}
	})
}

// model is the expected outcome for a client's bytes.
type model struct {
	out            [][]byte // messages to the client
	used           int      // bytes of the conversation, the most that may be read
	ok, short      bool     // a request; the client ended within it
	user, password string
	command        Command
	name           string
	ip             net.IP
	port           uint16
	zoned          bool // ip has a zone
}

var hostPattern = regexp.MustCompile(`^[!-$&-9;-Z^-~]+$`)

var zonePattern = regexp.MustCompile(`^[!-$&-.0-9;-Z^-~]{1,64}$`)

func linkLocal(ip net.IP) bool { return ip != nil && ip.To4() == nil && ip.IsLinkLocalUnicast() }

// numberPattern matches names whose last label is a number, partPattern the parts of an IPv4 address.
var (
	numberPattern = regexp.MustCompile(`^(.*\.)?([0-9]+|0[xX][0-9a-fA-F]*)\.*$`)
	partPattern   = regexp.MustCompile(`^([0-9]+|0[xX][0-9a-fA-F]+)$`)
)

// numericIP returns the address that inet_aton makes of name, or nil.
func numericIP(name string) net.IP {
	parts := strings.Split(strings.TrimRight(name, "."), ".")
	ip := make(net.IP, 4)
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 0, 64) // a leading 0 means octal
		size := 1
		if i == len(parts)-1 {
			size = 4 - i
		}
		if err != nil || !partPattern.MatchString(part) || i > 3 || n >= 1<<(8*size) {
			return nil
		}
		for j := range size {
			ip[i+j] = byte(n >> (8 * (size - 1 - j)))
		}
	}
	return ip
}

// modelOf computes the outcome from the whole input by index, without a reader or a parser.
func modelOf(in []byte, demanded *Credentials) (m model) {
	take := func(n int) []byte {
		if m.short = m.short || m.used+n > len(in); m.short {
			m.used = len(in)
			return make([]byte, n)
		}
		m.used += n
		return in[m.used-n : m.used]
	}
	next := func() int {
		if m.used == len(in) {
			return -1
		}
		return int(in[m.used])
	}
	field := func() string { return string(take(int(take(1)[0]))) }
	say := func(b ...byte) { m.out = append(m.out, b) }
	refuse := func(code byte) { say(5, code, 0, 1, 0, 0, 0, 0, 0, 0) }

	if len(in) > 0 && in[0] != 5 {
		return m
	}
	methods := take(int(take(2)[1]))
	if m.short {
		return m
	}
	auth := false
	switch {
	case bytes.Contains(methods, []byte{2}):
		say(5, 2)
		auth = true
	case demanded == nil && bytes.Contains(methods, []byte{0}):
		say(5, 0)
		auth = next() == 1
	default:
		say(5, 255)
		return m
	}
	if auth {
		if head := take(2); !m.short && head[0] != 1 {
			say(1, 1)
			return m
		}
		if !m.short {
			m.used-- // the index of the length
		}
		m.user, m.password = field(), field()
		if m.short {
			return m
		}
		if demanded != nil {
			if m.user != demanded.Username || m.password != demanded.Password {
				say(1, 1)
				return m
			}
			m.user, m.password = "", ""
		}
		say(1, 0)
	}
	if next() >= 0 && next() != 5 {
		refuse(1)
		return m
	}
	head := take(4)
	if m.short {
		return m
	}
	switch head[3] {
	case 1:
		m.ip = take(4)
	case 4:
		m.ip = take(16)
	case 3:
		m.name = field()
		bare := m.name
		if l := len(bare); l > 1 && bare[0] == '[' && bare[l-1] == ']' && bytes.Contains([]byte(bare), []byte(":")) {
			bare = bare[1 : l-1]
		}
		if address, zone, found := strings.Cut(bare, "%"); found && linkLocal(net.ParseIP(address)) && zonePattern.MatchString(zone) {
			bare, m.zoned = address, true
		}
		if m.ip = net.ParseIP(bare); m.ip == nil && numberPattern.MatchString(m.name) {
			if m.ip = numericIP(m.name); m.ip == nil {
				m.name = "" // the host pattern does not match that
			}
		}
	default:
		refuse(8)
		return m
	}
	port := take(2)
	m.port = uint16(port[0])<<8 | uint16(port[1])
	switch {
	case m.short:
	case head[1] != 1 && head[1] != 0xf0:
		refuse(7)
	case m.ip == nil && !hostPattern.MatchString(m.name), m.port == 0 && head[1] == 1, m.zoned && head[1] == 0xf0:
		refuse(1)
	default:
		m.ok, m.command = true, Command(head[1])
	}
	return m
}
