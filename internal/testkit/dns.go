package testkit

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS answers the questions of net.DefaultResolver until the test ends: those for an IPv4
// address with ips, those for anything else with nothing, or NXDOMAIN unless the name exists.
func DNS(t testing.TB, lookup func(q dnsmessage.Question) (ips []netip.Addr, exists bool)) {
	t.Helper()
	answer := func(question []byte) ([]byte, error) {
		var m dnsmessage.Message
		if err := m.Unpack(question); err != nil {
			return nil, err
		}
		q := m.Questions[0]
		ips, exists := lookup(q)
		m.Response, m.Authoritative, m.Additionals = true, true, nil
		if !exists {
			m.RCode = dnsmessage.RCodeNameError
		}
		for _, ip := range ips {
			if q.Type == dnsmessage.TypeA {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: ip.As4()},
				})
			}
		}
		return m.Pack()
	}
	old := net.DefaultResolver
	var conns sync.WaitGroup
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		conns.Go(func() {
			defer theirs.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(theirs, size[:]); err != nil {
					return
				}
				b := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(theirs, b); err != nil {
					return
				}
				b, err := answer(b)
				if err != nil {
					t.Error(err)
					return
				}
				theirs.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)) // as over TCP
			}
		})
		return ours, nil
	}}
	t.Cleanup(func() {
		conns.Wait()
		net.DefaultResolver = old
	})
}
