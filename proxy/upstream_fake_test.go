package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/socks"
)

// asked is a request that an upstream proxy received.
type asked struct {
	command        socks.Command
	dest           string
	user, password string
}

// fakeUpstream is a proxy to a fake network, whose names only it resolves.
type fakeUpstream struct {
	*socks.Upstream
	net  *fakeNet
	seen chan asked

	refuse  map[string]socks.ReplyCode // by destination
	resolve map[string]netip.Addr      // answers to RESOLVE; HostUnreachable if missing
}

// newUpstream starts an upstream proxy. Until the test ends, looking up a name with the system's
// resolver fails the test.
func newUpstream(t *testing.T, network, address string) *fakeUpstream {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	u := &fakeUpstream{
		Upstream: &socks.Upstream{Network: network, Address: l.Addr().String()},
		net:      newFakeNet(t),
		seen:     make(chan asked, 1000),
		refuse:   make(map[string]socks.ReplyCode),
		resolve:  make(map[string]netip.Addr),
	}
	t.Cleanup(u.net.close)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go u.serve(nc)
		}
	}()
	before := lookups.Load()
	t.Cleanup(func() {
		if n := lookups.Load() - before; n > 0 {
			t.Errorf("%d look-ups with the system's resolver, want none", n)
		}
	})
	return u
}

func (u *fakeUpstream) serve(nc net.Conn) {
	defer nc.Close()
	in := bufio.NewReader(nc)
	request, err := socks.Config{}.Negotiate(nc, in)
	if err != nil {
		return
	}
	dest := request.Dest.String()
	if request.Command == socks.CommandResolve {
		dest = request.Dest.Host
	}
	u.seen <- asked{request.Command, dest, request.Credentials.Username, request.Credentials.Password}
	if code := u.refuse[dest]; code != 0 {
		request.Reply(code)
		return
	}
	if request.Command == socks.CommandResolve {
		if ip := u.resolve[dest]; ip.IsValid() {
			request.ReplyAddr(ip)
		} else {
			request.Reply(socks.HostUnreachable)
		}
		return
	}
	out, err := u.net.dial(context.Background(), "tcp", dest)
	if err != nil {
		request.Reply(socks.HostUnreachable)
		return
	}
	defer out.Close()
	request.Reply(socks.Succeeded)
	up := make(chan struct{})
	go func() {
		defer close(up)
		io.Copy(out, in)
		out.(interface{ CloseWrite() error }).CloseWrite()
	}()
	io.Copy(nc, out)
	nc.(interface{ CloseWrite() error }).CloseWrite()
	<-up
}

// requests returns the upstream proxy's requests since the last call.
func (u *fakeUpstream) requests() (all []asked) {
	for len(u.seen) > 0 {
		all = append(all, <-u.seen)
	}
	return all
}

// startBehind runs a server with u as its upstream and fails the test if the server dials or
// resolves anything itself.
func (u *fakeUpstream) startBehind(t *testing.T, server *proxy.Server) *env {
	t.Helper()
	server.Upstream = u.Upstream
	server.Dialer.Dial = func(_ context.Context, _, addr string) (net.Conn, error) {
		t.Errorf("dialled %s directly", addr)
		return nil, errors.New("no direct connection for this test")
	}
	server.Dialer.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		t.Errorf("resolved %s", host)
		return nil, nil
	}
	e := start(t, server)
	e.net = u.net
	return e
}

// askAs is ask with credentials, unless both are empty.
func askAs(nc net.Conn, user, password, dest string) (code byte, err error) {
	if user == "" && password == "" {
		return ask(nc, dest)
	}
	fmt.Fprintf(nc, "\x05\x02\x00\x02")
	var two [2]byte
	if _, err := io.ReadFull(nc, two[:]); err != nil || two != [2]byte{5, 2} {
		return 0, fmt.Errorf("method reply % x, %v", two, err)
	}
	nc.Write(slices.Concat([]byte{1, byte(len(user))}, []byte(user), []byte{byte(len(password))}, []byte(password)))
	if _, err := io.ReadFull(nc, two[:]); err != nil || two != [2]byte{1, 0} {
		return 0, fmt.Errorf("status % x, %v", two, err)
	}
	nc.Write(request(1, dest))
	var reply [10]byte
	if _, err := io.ReadFull(nc, reply[:]); err != nil || reply != [10]byte{5, reply[1], 0, 1} {
		return 0, fmt.Errorf("reply % x, %v", reply, err)
	}
	return reply[1], nil
}
