package localnet_test

import (
	"errors"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"bip324proxy/rules"
)

// In a network namespace: clients of a public listener cannot reach the addresses of the machine
// and of its networks, as these come and go; addresses behind a router or a tunnel they can.
func TestIsLocal(t *testing.T) {
	<-onOwnThread(func() { testIsLocal(t) })
}

// onOwnThread calls f on a thread that ends with f. The process's first thread would not end,
// so it is kept busy.
func onOwnThread(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() {
			<-onOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	return done
}

func testIsLocal(t *testing.T) {
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Logf("not run: %v", err)
		return
	}
	ip := func(commands string) bool {
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
				t.Logf("not run: ip %s: %v, %s", line, err, out)
				return false
			}
		}
		return true
	}
	want := func(public, local string) {
		t.Helper()
		for reach, all := range map[bool]string{true: public, false: local} {
			for _, addr := range strings.Fields(all) {
				err := new(rules.Rules).CheckAddr(netip.MustParseAddr(addr), 8333, true)
				var denied *rules.DeniedError
				if (err == nil) != reach || err != nil && (!errors.As(err, &denied) || !denied.Local) {
					t.Errorf("%s: got %v", addr, err)
				}
				if err := new(rules.Rules).CheckAddr(netip.MustParseAddr(addr), 8333, false); err != nil {
					t.Errorf("%s, for a local client: %v", addr, err)
				}
			}
		}
	}
	const own = "8.8.4.4 ::ffff:8.8.4.4 9.9.9.1 9.9.9.254 64:ff9b::9.9.9.1 2002:909:901::1 2606:4700:1::5 2606:4700:1::77 2606:4700:2::5"
	const onLink = "11.0.1.1 2606:4700:3::1"
	want(own+" "+onLink, "") // no interface yet, not even a route
	if !ip(`link set lo up
		link add net0 type veth peer name net1
		link set net0 up
		link set net1 up
		addr add 8.8.4.4/32 dev lo
		addr add 9.9.9.9/24 dev net0
		addr add 2606:4700:1::5/64 dev net0 nodad
		addr add 2606:4700:2::5/128 dev net0 nodad`) {
		return
	}
	const elsewhere = "8.8.8.8 9.9.8.1 11.0.2.1 2606:4700:4::1"
	want(elsewhere+" "+onLink+" 2606:4700:2::6", own)

	// Routes: to a network without an address in it; to the internet through a router; through a
	// router to the own network; on-link to everything.
	if !ip(`route add 11.0.1.0/24 dev net0
		-6 route add 2606:4700:3::/64 dev net0
		route add default via 9.9.9.1
		route add 11.0.2.0/24 via 9.9.9.1
		-6 route add default via 2606:4700:1::1`) {
		return
	}
	want(elsewhere, own+" "+onLink)
	if !ip(`route replace default dev net0
		-6 route replace default dev net0
		route add local 12.0.0.0/24 dev lo`) {
		return
	}
	want("8.8.8.8 9.9.8.1 2606:4700:4::1", own+" "+onLink+" 12.0.0.7")

	if ip(`tuntap add dev tun0 mode tun
		link set tun0 up
		route replace default dev tun0
		route add 128.0.0.0/1 dev tun0
		route add 13.0.0.0/8 dev tun0`) {
		want("8.8.8.8 13.0.0.1 151.101.1.1", own+" "+onLink)
	}
	if ip("addr del 8.8.4.4/32 dev lo") && ip("link del net0") {
		want("8.8.4.4 9.9.9.1 2606:4700:1::5 11.0.1.1", "")
	}
}
