package test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"bip324proxy/test/hostile"
	"bip324proxy/transport"
)

// twoWays connects this namespace to another by two cables: eth0 with 10.9.1.1, the default way, and wg0 with 10.9.2.1.
// It returns peers there, by the IP version of their address, and the addresses that their v2 sessions come from; and
// plug, which plugs in wg0 again.
func twoWays(t *testing.T) (peers map[int]string, from chan netip.Addr, plug func()) {
	t.Helper()
	name := fmt.Sprintf("bip324-proxy-bind-%d", os.Getpid()) // /run is shared
	command(t, "ip", "netns", "add", name)
	t.Cleanup(func() { command(t, "ip", "netns", "delete", name) })
	cable := func(link string, n int) {
		commands := fmt.Sprintf(`link add LINK type veth peer name LINK-far netns NAME
			address add 10.9.%[1]d.1/24 dev LINK
			address add fd00:%[1]d::1/64 dev LINK nodad
			link set LINK up
			-n NAME address add 10.9.%[1]d.2/24 dev LINK-far
			-n NAME address add fd00:%[1]d::2/64 dev LINK-far nodad
			-n NAME link set LINK-far up
			route add default via 10.9.%[1]d.2 dev LINK metric %[1]d
			-6 route add default via fd00:%[1]d::2 dev LINK metric %[1]d`, n)
		for line := range strings.Lines(strings.NewReplacer("LINK", link, "NAME", name).Replace(commands)) {
			command(t, "ip", strings.Fields(line)...)
		}
	}
	cable("eth0", 1)
	cable("wg0", 2)
	for _, args := range []string{"link set lo up", "address add 203.0.113.1/32 dev lo", "address add 2001:db8:9::1/128 dev lo nodad"} {
		command(t, "ip", append([]string{"-n", name}, strings.Fields(args)...)...)
	}
	peers, from = make(map[int]string), make(chan netip.Addr, 100)
	for version, addr := range map[int]string{4: "203.0.113.1:0", 6: "[2001:db8:9::1]:0"} {
		var l net.Listener
		var err error
		inNetwork(t, name, func() { l, err = net.Listen("tcp", addr) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		peers[version] = l.Addr().String()
		go func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer nc.Close()
					if c, err := transport.Server(context.Background(), nc, transport.Config{Magic: regtestMagic}); err == nil {
						from <- netip.MustParseAddrPort(nc.RemoteAddr().String()).Addr()
						c.ReadPacket()
					}
				}()
			}
		}()
	}
	return peers, from, func() { cable("wg0", 2) }
}

// Peers see the source address that --bind says, or that of its interface. With the interface down no packet leaves by
// the other one, the log says why, and check, too; once it is up again, so are connections.
func TestBind(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	peers, from, plug := twoWays(t)
	sees := func(want string) {
		t.Helper()
		select {
		case got := <-from:
			if got.String() != want {
				t.Errorf("a peer sees %v, want %s", got, want)
			}
		case <-time.After(patience):
			t.Errorf("no peer sees %s", want)
		}
	}
	comes := func(p *proxy, version int, want string) {
		t.Helper()
		client, err := hostile.Connect(p.addr, peers[version], patience)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		client.Write(hostile.V1On(regtestMagic, "version", hostile.Version("/client:1/")))
		sees(want)
	}
	fails := func(p *proxy, version int) {
		t.Helper()
		if client, err := hostile.Connect(p.addr, peers[version], patience); err == nil {
			client.Close()
			t.Errorf("connected to %s", peers[version])
		}
	}
	plain := startProxy(t)
	comes(plain, 4, "10.9.1.1")
	comes(plain, 6, "fd00:1::1")
	both := startProxy(t, "--bind", "10.9.2.1", "--bind", "fd00:2::1")
	comes(both, 4, "10.9.2.1")
	comes(both, 6, "fd00:2::1")
	four := startProxy(t, "--bind", "10.9.2.1")
	comes(four, 4, "10.9.2.1")
	device := startProxy(t, "--bind", "wg0")
	comes(device, 4, "10.9.2.1")
	comes(device, 6, "fd00:2::1")
	if code, _, stderr := run(t, "check", "--bind", "wg0", "--network", "regtest", peers[4]); code == 2 {
		t.Errorf("check: %s", stderr)
	}
	sees("10.9.2.1")

	wire := startCaptureOn(t, "eth0")
	fails(four, 6)
	four.await(t, "a reason for IPv6", func(e event) bool {
		return e.Msg == "session refused" && strings.Contains(e.Reason, "no source address of the destination's family") && strings.Contains(e.Hint, "--bind")
	})
	command(t, "ip", "link", "set", "wg0", "down")
	fails(device, 4)
	fails(device, 6)
	down := device.await(t, "the interface is down", func(e event) bool { return e.Msg == "session refused" })
	if down.Level != "WARN" || !strings.HasSuffix(down.Reason, "connections must leave through the interface wg0: the interface is down") || !strings.Contains(down.Hint, "VPN") {
		t.Errorf("the log says %+v", down)
	}
	if code, stdout, _ := run(t, "check", "--bind", "wg0", "--network", "regtest", peers[4]); code != 1 || !strings.Contains(stdout, "through the interface wg0") {
		t.Errorf("check of a peer: exit code %d, %s", code, stdout)
	}
	command(t, "ip", "address", "delete", "10.9.2.1/24", "dev", "wg0")
	fails(four, 4)
	four.await(t, "the address is gone", func(e event) bool {
		return e.Msg == "session refused" && strings.Contains(e.Reason, "10.9.2.1: this machine does not have that address")
	})
	command(t, "ip", "link", "delete", "wg0")
	fails(device, 4)
	late := startProxy(t, "--bind", "wg0") // before its interface
	late.await(t, "a warning", func(e event) bool { return e.Level == "WARN" && e.Msg == "no direct connection can leave now" })
	fails(late, 4)
	late.await(t, "the interface is gone", func(e event) bool {
		return e.Msg == "session refused" && strings.Contains(e.Reason, "wg0: this machine has no such interface")
	})
	for f := range wire.streams() {
		if to := f.to.Addr().String(); to == "203.0.113.1" || to == "2001:db8:9::1" {
			t.Errorf("a packet left through eth0: %+v", f)
		}
	}
	comes(plain, 4, "10.9.1.1")

	plug()
	comes(device, 4, "10.9.2.1")
	comes(device, 6, "fd00:2::1")
	comes(late, 4, "10.9.2.1")
	comes(four, 4, "10.9.2.1")
}
