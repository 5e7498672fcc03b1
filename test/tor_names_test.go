package test

import (
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"testing"
)

// nameServer is the DNS server of the private network's exits (RFC 1035). It resolves node.test to loopback, knows no
// other name, and records its queries.
type nameServer struct {
	addr string
	mu   sync.Mutex
	seen map[string]int
}

const knownName = "node.test"

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{addr: conn.LocalAddr().String(), seen: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		query := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return // closed at the end of the test
			}
			if answer := s.answer(query[:n]); answer != nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

// answer returns the response to a query with one question, or nil.
func (s *nameServer) answer(query []byte) []byte {
	const header = 12
	if len(query) < header || binary.BigEndian.Uint16(query[4:]) != 1 {
		return nil
	}
	var labels []string
	at := header
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end > len(query) {
			return nil
		}
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	if at+5 > len(query) {
		return nil
	}
	kind, question := binary.BigEndian.Uint16(query[at+1:]), query[header:at+5]
	name := strings.ToLower(strings.Join(labels, "."))
	s.mu.Lock()
	s.seen[name]++
	s.mu.Unlock()

	const typeA, ok, noSuchName = 1, 0x8180, 0x8183
	flags, answers := uint16(ok), uint16(0)
	switch {
	case name != knownName:
		flags = noSuchName
	case kind == typeA:
		answers = 1
	}
	b := append([]byte(nil), query[:2]...)
	for _, v := range []uint16{flags, 1, answers, 0, 0} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = append(b, question...)
	if answers == 1 { // for the name at offset 12, class IN, TTL one minute
		b = append(b, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	return b
}

// asked returns the number of queries for a name.
func (s *nameServer) asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[name]
}
