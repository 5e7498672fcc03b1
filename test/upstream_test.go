package test

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
)

// askedUpstream is a request that an upstream proxy got.
type askedUpstream struct {
	command        byte
	dest           string // "host:port"
	methods        string
	user, password string
}

// startUpstream plays a SOCKS5 proxy on address. It accepts credentials if offered. If isTor it answers Electrum's
// probe of 0.0.0.0 like Tor. peer returns what plays the connection to a destination, "host:port", or nil to refuse it.
func startUpstream(t *testing.T, address string, isTor bool, peer func(dest string) played) (addr string, asked func() []askedUpstream) {
	t.Helper()
	var mu sync.Mutex
	var all []askedUpstream
	addr = testkit.ServeAt(t, address, func(nc net.Conn) {
		nc.SetDeadline(time.Now().Add(patience))
		a := readSocksRequest(nc)
		if a.command == 0 {
			return // only a greeting
		}
		mu.Lock()
		all = append(all, a)
		mu.Unlock()
		var play played
		reply := byte(0)
		switch {
		case a.command == socksConnect:
			if play = peer(a.dest); play == nil {
				reply = 5 // connection refused
			}
		case !isTor:
			reply = 7 // command not supported
		}
		nc.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
		if play != nil {
			nc.SetDeadline(time.Time{})
			play(nc.(*net.TCPConn))
		}
	})
	return addr, func() []askedUpstream {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// readSocksRequest reads a SOCKS5 client's bytes up to its request, and does not answer that.
func readSocksRequest(nc net.Conn) (a askedUpstream) {
	field := func(n byte) []byte {
		b := make([]byte, n)
		io.ReadFull(nc, b)
		return b
	}
	a.methods = string(field(field(2)[1]))
	if a.methods == "" {
		return a
	}
	method := a.methods[0]
	nc.Write([]byte{5, method})
	if method == 2 {
		a.user = string(field(field(2)[1]))
		a.password = string(field(field(1)[0]))
		nc.Write([]byte{1, 0})
	}
	head := field(4)
	a.command = head[1]
	var host string
	switch head[3] {
	case 1:
		host = net.IP(field(4)).String()
	case 4:
		host = net.IP(field(16)).String()
	default:
		host = string(field(field(1)[0]))
	}
	a.dest = net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(field(2)))))
	return a
}

// anywhere returns play for every destination.
func anywhere(play played) func(string) played { return func(string) played { return play } }
