package dns

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"bip324proxy/internal/dial"
	"bip324proxy/rules"
	"bip324proxy/socks"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	ttl = 60 // seconds

	minUDP = 512  // bytes of a reply to a client without EDNS
	maxUDP = 1232 // with it: no fragments
	maxTCP = 65535

	headerSize = 12
	optSize    = 11
	fixedSize  = 2 + 2 + 2 + 4 + 2 // of a record: a pointer to the name, type, class, TTL, length

	badVersion = dnsmessage.RCode(16) // of EDNS (RFC 6891)
)

// query is a query, and what its reply says about its form.
type query struct {
	header   dnsmessage.Header
	question dnsmessage.Question // zero if it is malformed
	rcode    dnsmessage.RCode    // success unless it is answered without a lookup
	edns     bool                // it has an OPT record
	size     int                 // of a reply that the client accepts by UDP, if so
}

// limit returns how large a reply by UDP may be.
func (q *query) limit() int {
	if !q.edns {
		return minUDP
	}
	return min(max(q.size, minUDP), maxUDP)
}

// parse parses a query. It returns nil for what must have no reply: a message without a
// header, or one that is a reply itself.
func parse(b []byte) *query {
	var p dnsmessage.Parser
	header, err := p.Start(b)
	if err != nil || header.Response {
		return nil
	}
	q := &query{header: header}
	if header.OpCode != 0 {
		q.rcode = dnsmessage.RCodeNotImplemented
		return q
	}
	question, err := p.Question()
	if err == nil {
		q.question = question
		err = q.parseRest(&p)
	}
	switch {
	case err != nil:
		q.question, q.rcode = dnsmessage.Question{}, dnsmessage.RCodeFormatError
	case q.rcode != dnsmessage.RCodeSuccess:
	case question.Class != dnsmessage.ClassINET:
		q.rcode = dnsmessage.RCodeNotImplemented
	}
	return q
}

var errMalformed = errors.New("not a single question with at most one OPT record")

// parseRest parses what follows the question.
func (q *query) parseRest(p *dnsmessage.Parser) error {
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return errMalformed
	}
	if err := p.SkipAllAnswers(); err != nil {
		return err
	}
	if err := p.SkipAllAuthorities(); err != nil {
		return err
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Type == dnsmessage.TypeOPT {
			if q.edns || h.Name.String() != "." {
				return errMalformed
			}
			q.edns, q.size = true, int(h.Class)
			if version := byte(h.TTL >> 16); version != 0 {
				q.rcode = badVersion
			}
		}
		if err := p.SkipAdditional(); err != nil {
			return err
		}
	}
}

// answer calls send with the reply to q, at once or after a lookup. It returns false, and does
// not call it, if too many queries wait for lookups.
func (s *Server) answer(q *query, limit int, send func(reply []byte)) bool {
	kind, name := q.question.Type, strings.ToLower(strings.TrimSuffix(q.question.Name.String(), "."))
	switch {
	case q.rcode != dnsmessage.RCodeSuccess, kind != dnsmessage.TypeA && kind != dnsmessage.TypeAAAA, name == "": // the root has no address
		send(q.build(q.rcode, nil, limit))
		return true
	case dial.IsLocalhost(name):
		send(q.build(dnsmessage.RCodeSuccess, q.family(loopback), limit))
		return true
	case !isHostName(name):
		send(q.build(dnsmessage.RCodeNameError, nil, limit))
		return true
	}
	return s.answers.get(name, s.Lookup, func(ips []netip.Addr, err error) {
		send(q.build(rcodeOf(err), q.family(ips), limit))
	})
}

var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// family returns those of ips that q asks for.
func (q *query) family(ips []netip.Addr) (some []netip.Addr) {
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() == (q.question.Type == dnsmessage.TypeA) && ip.Zone() == "" {
			some = append(some, ip)
		}
	}
	return some
}

// isHostName reports whether name can be a host's. No top-level domain is a number: "127.1" is
// an address.
func isHostName(name string) bool {
	return !socks.EndsInNumber(name) && !strings.ContainsFunc(name, func(c rune) bool {
		return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.')
	})
}

// rcodeOf returns the code of a reply about a lookup that returned err.
func rcodeOf(err error) dnsmessage.RCode {
	var dns *net.DNSError
	switch {
	case err == nil:
		return dnsmessage.RCodeSuccess
	case errors.As(err, new(*rules.DeniedError)):
		return dnsmessage.RCodeRefused
	case errors.As(err, &dns) && dns.IsNotFound:
		return dnsmessage.RCodeNameError
	}
	return dnsmessage.RCodeServerFailure
}

// build returns a reply with as many of ips, all of the family that q asks for, as limit has
// room for.
func (q *query) build(rcode dnsmessage.RCode, ips []netip.Addr, limit int) []byte {
	h := dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode, RecursionDesired: q.header.RecursionDesired,
		RecursionAvailable: true, // without it Go takes an empty answer for an error
		CheckingDisabled:   q.header.CheckingDisabled, RCode: rcode & 0xf,
	}
	hasQuestion := q.question.Name.Length > 0
	if hasQuestion {
		size := headerSize + int(q.question.Name.Length) + 1 + 2 + 2
		if q.edns {
			size += optSize
		}
		address := net.IPv6len
		if q.question.Type == dnsmessage.TypeA {
			address = net.IPv4len
		}
		if room := (limit - size) / (fixedSize + address); len(ips) > room {
			ips, h.Truncated = ips[:room], true
		}
	}
	b := dnsmessage.NewBuilder(nil, h)
	b.EnableCompression()
	var errs []error
	try := func(err error) { errs = append(errs, err) }
	try(b.StartQuestions())
	if hasQuestion {
		try(b.Question(q.question))
	}
	try(b.StartAnswers())
	record := dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: ttl}
	for _, ip := range ips {
		if ip.Is4() {
			try(b.AResource(record, dnsmessage.AResource{A: ip.As4()}))
		} else {
			try(b.AAAAResource(record, dnsmessage.AAAAResource{AAAA: ip.As16()}))
		}
	}
	if q.edns {
		try(b.StartAdditionals())
		var opt dnsmessage.ResourceHeader
		try(opt.SetEDNS0(maxUDP, rcode, false))
		try(b.OPTResource(opt, dnsmessage.OPTResource{}))
	}
	reply, err := b.Finish()
	try(err)
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return nil
	}
	return reply
}
