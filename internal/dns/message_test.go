package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"bip324proxy/rules"

	"golang.org/x/net/dns/dnsmessage"
)

// world is a Lookup with names of each kind.
func world(_ context.Context, name string) (ips []netip.Addr, err error) {
	parse := func(texts ...string) (ips []netip.Addr, err error) {
		for _, text := range texts {
			ips = append(ips, netip.MustParseAddr(text))
		}
		return ips, nil
	}
	switch name {
	case "both.example":
		return parse("2001:db8::2", "2001:db8::1", "192.0.2.2", "192.0.2.1")
	case "four.example":
		return parse("192.0.2.4")
	case "six.example":
		return parse("2001:db8::6")
	case "odd.example":
		return parse("fe80::1%1", "::ffff:192.0.2.9")
	case "many.example":
		for i := range 5000 {
			ips = append(ips, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		}
		return ips, nil
	case "denied.example":
		return nil, fmt.Errorf("wrapped: %w", &rules.DeniedError{Dest: name, Rule: "*.example"})
	case "failed.example":
		return nil, errors.New("the upstream proxy cannot be reached")
	case "slow.example":
		return nil, &net.DNSError{Name: name, IsTimeout: true}
	case "unknown.example":
		return nil, &net.DNSError{Name: name, IsNotFound: true}
	}
	return nil, fmt.Errorf("unexpected lookup of %q", name)
}

// question returns a query, which change may change.
func question(t testing.TB, name string, kind dnsmessage.Type, change func(m *dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0x1234, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// edns returns an OPT record of a client that accepts replies of size bytes.
func edns(size int, version byte) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeOPT, Class: dnsmessage.Class(size), TTL: uint32(version) << 16},
		Body:   &dnsmessage.OPTResource{},
	}
}

// answerNow returns the reply to q.
func answerNow(t testing.TB, s *Server, q *query, limit int) []byte {
	t.Helper()
	replies := make(chan []byte, 1)
	if !s.answer(q, limit, func(reply []byte) { replies <- reply }) {
		t.Fatal("too many queries wait")
	}
	return <-replies
}

// addresses returns the addresses in a reply, and checks the form of their records.
func addresses(t testing.TB, m *dnsmessage.Message) (ips []string) {
	t.Helper()
	for _, r := range m.Answers {
		if r.Header.Name != m.Questions[0].Name || r.Header.Class != dnsmessage.ClassINET || r.Header.TTL != ttl {
			t.Errorf("a record with the header %v", r.Header)
		}
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			ips = append(ips, netip.AddrFrom4(body.A).String())
		case *dnsmessage.AAAAResource:
			ips = append(ips, netip.AddrFrom16(body.AAAA).String())
		default:
			t.Errorf("a record of type %v", r.Header.Type)
		}
	}
	return ips
}

// unpack parses a reply.
func unpack(t testing.TB, reply []byte) *dnsmessage.Message {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("reply % x: %v", reply, err)
	}
	return &m
}

func TestReplies(t *testing.T) {
	s := &Server{Lookup: world}
	const a, aaaa = dnsmessage.TypeA, dnsmessage.TypeAAAA
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want string
	}{
		{"both.example.", a, 0, "192.0.2.2 192.0.2.1"},
		{"both.example.", aaaa, 0, "2001:db8::2 2001:db8::1"},
		{"BOTH.exAMPLE.", a, 0, "192.0.2.2 192.0.2.1"},
		{"four.example.", a, 0, "192.0.2.4"},
		{"four.example.", aaaa, 0, ""},
		{"six.example.", a, 0, ""},
		{"six.example.", aaaa, 0, "2001:db8::6"},
		{"odd.example.", a, 0, "192.0.2.9"},
		{"odd.example.", aaaa, 0, ""},
		{"localhost.", a, 0, "127.0.0.1"},
		{"LocalHost.", aaaa, 0, "::1"},
		{"node.localhost.", a, 0, "127.0.0.1"},
		{"unknown.example.", a, dnsmessage.RCodeNameError, ""},
		{"unknown.example.", aaaa, dnsmessage.RCodeNameError, ""},
		{"denied.example.", a, dnsmessage.RCodeRefused, ""},
		{"failed.example.", aaaa, dnsmessage.RCodeServerFailure, ""},
		{"slow.example.", a, dnsmessage.RCodeServerFailure, ""},
		{"127.0.0.1.", a, dnsmessage.RCodeNameError, ""},
		{"127.1.", a, dnsmessage.RCodeNameError, ""},
		{"a b.example.", a, dnsmessage.RCodeNameError, ""},
		{"nül.example.", a, dnsmessage.RCodeNameError, ""},
		{".", a, 0, ""},
		{"both.example.", dnsmessage.Type(65), 0, ""}, // HTTPS
		{"both.example.", dnsmessage.TypeTXT, 0, ""},
		{"both.example.", dnsmessage.TypeALL, 0, ""},
		{"1.2.0.192.in-addr.arpa.", dnsmessage.TypePTR, 0, ""},
	} {
		for _, opt := range []bool{false, true} {
			m := unpack(t, answerNow(t, s, parse(question(t, c.name, c.kind, func(m *dnsmessage.Message) {
				if opt {
					m.Additionals = append(m.Additionals, edns(4096, 0))
				}
			})), minUDP))
			got := strings.Join(addresses(t, m), " ")
			if got != c.want || m.RCode != c.code {
				t.Errorf("%s %v: got %q, %v; want %q, %v", c.name, c.kind, got, m.RCode, c.want, c.code)
			}
			if m.ID != 0x1234 || !m.Response || !m.RecursionDesired || !m.RecursionAvailable || m.Truncated || m.Authoritative ||
				len(m.Questions) != 1 || m.Questions[0].Name.String() != c.name || m.Questions[0].Type != c.kind {
				t.Errorf("%s %v: reply to another query: %v", c.name, c.kind, m.GoString())
			}
			if hasOpt := len(m.Additionals) == 1 && m.Additionals[0].Header.Type == dnsmessage.TypeOPT; hasOpt != opt || opt && m.Additionals[0].Header.Class != maxUDP {
				t.Errorf("%s %v: OPT %v, want %v", c.name, c.kind, m.Additionals, opt)
			}
		}
	}
}

// What is not a query of the kind that is answered has the code that says why, or no reply.
func TestOtherMessages(t *testing.T) {
	s := &Server{Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
		t.Errorf("lookup of %s", name)
		return nil, nil
	}}
	plain := question(t, "both.example.", dnsmessage.TypeA, nil)
	changed := func(change func(*dnsmessage.Message)) []byte {
		return question(t, "both.example.", dnsmessage.TypeA, change)
	}
	const none = dnsmessage.RCode(0xffff)
	for what, c := range map[string]struct {
		message []byte
		code    dnsmessage.RCode
	}{
		"nothing":            {nil, none},
		"an id":              {plain[:2], none},
		"a short header":     {plain[:11], none},
		"a reply":            {changed(func(m *dnsmessage.Message) { m.Response = true }), none},
		"no question":        {plain[:12], dnsmessage.RCodeFormatError},
		"a cut question":     {plain[:len(plain)-1], dnsmessage.RCodeFormatError},
		"two questions":      {changed(func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), dnsmessage.RCodeFormatError},
		"zero questions":     {changed(func(m *dnsmessage.Message) { m.Questions = nil }), dnsmessage.RCodeFormatError},
		"two OPT records":    {changed(func(m *dnsmessage.Message) { m.Additionals = append(m.Additionals, edns(512, 0), edns(512, 0)) }), dnsmessage.RCodeFormatError},
		"a compression loop": {slices.Concat(plain[:12], []byte{0xc0, 12, 0, 1, 0, 1}), dnsmessage.RCodeFormatError},
		"NOTIFY":             {changed(func(m *dnsmessage.Message) { m.OpCode = 4 }), dnsmessage.RCodeNotImplemented},
		"CHAOS":              {changed(func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }), dnsmessage.RCodeNotImplemented},
		"another EDNS":       {changed(func(m *dnsmessage.Message) { m.Additionals = append(m.Additionals, edns(512, 1)) }), badVersion},
	} {
		q := parse(c.message)
		if q == nil {
			if c.code != none {
				t.Errorf("%s: no reply, want %v", what, c.code)
			}
			continue
		}
		m := unpack(t, answerNow(t, s, q, q.limit()))
		code := m.RCode
		for _, r := range m.Additionals {
			code = r.Header.ExtendedRCode(code)
		}
		if code != c.code || len(m.Answers) > 0 || m.ID != 0x1234 {
			t.Errorf("%s: got %v, want %v", what, m.GoString(), c.code)
		}
	}
}

// A reply has at most the size that the client accepts, and says if addresses are missing.
func TestTruncation(t *testing.T) {
	s := &Server{Lookup: world}
	for _, c := range []struct{ size, limit int }{{0, 512}, {100, 512}, {512, 512}, {1000, 1000}, {1232, 1232}, {4096, 1232}, {65535, 1232}} {
		q := parse(question(t, "many.example.", dnsmessage.TypeA, func(m *dnsmessage.Message) {
			if c.size > 0 {
				m.Additionals = append(m.Additionals, edns(c.size, 0))
			}
		}))
		reply := answerNow(t, s, q, q.limit())
		m := unpack(t, reply)
		if !m.Truncated || len(reply) > c.limit || len(reply) < c.limit-16 {
			t.Errorf("EDNS %d: %d bytes, truncated %v; want up to %d", c.size, len(reply), m.Truncated, c.limit)
		}
		for i, ip := range addresses(t, m) {
			if want := fmt.Sprintf("10.0.0.%d", i); ip != want {
				t.Fatalf("address %d is %s, want %s", i, ip, want)
			}
		}
	}
	reply := answerNow(t, s, parse(question(t, "many.example.", dnsmessage.TypeA, nil)), maxTCP)
	if m := unpack(t, reply); !m.Truncated || len(reply) > maxTCP || len(m.Answers) < 4000 {
		t.Errorf("by TCP: %d bytes, %d addresses", len(reply), len(m.Answers))
	}
}

// Any message has a valid reply of at most the size that is allowed, or none.
func FuzzDNS(f *testing.F) {
	for _, name := range []string{"both.example.", "many.example.", "localhost.", "denied.example.", ".", strings.Repeat("a.", 127)} {
		for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR} {
			f.Add(question(f, name, kind, nil))
			f.Add(question(f, name, kind, func(m *dnsmessage.Message) { m.Additionals = append(m.Additionals, edns(1000, 0)) }))
		}
	}
	f.Add(question(f, "x.", 1, func(m *dnsmessage.Message) { m.Additionals = append(m.Additionals, edns(512, 1), edns(512, 0)) }))
	f.Fuzz(func(t *testing.T, message []byte) {
		s := &Server{Lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(name) > 254 {
				t.Errorf("lookup of %q", name)
			}
			return world(ctx, "many.example")
		}}
		q := parse(message)
		if q == nil {
			return
		}
		for _, limit := range []int{q.limit(), maxTCP} {
			reply := answerNow(t, s, q, limit)
			if reply == nil || len(reply) > limit {
				t.Errorf("reply of %d bytes, want up to %d", len(reply), limit)
			}
			if m := unpack(t, reply); !m.Response || m.ID != q.header.ID || parse(reply) != nil {
				t.Errorf("not a reply: %v", m.GoString())
			}
		}
	})
}
