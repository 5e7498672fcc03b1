//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace runs the test again in new user and network namespaces, with only loopback, where
// every address is the machine's, and returns true there. In the original process it
// waits for that run and returns false.
func namespace(t *testing.T) bool {
	t.Helper()
	const inNamespace = "SECCOMP_TEST_IN_NAMESPACE"
	if os.Getenv(inNamespace) != "" {
		for _, args := range []string{
			"link set lo up",
			"route add local default dev lo",
			"-6 route add local default dev lo",
		} {
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v\n%s", args, err, out)
			}
		}
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip(8) is missing")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Skipf("namespaces are not allowed here: %v", err)
	}
	t.Logf("in a namespace:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// capture returns a function that returns the packets since the last call that were sent to
// an address outside loopback.
func capture(t *testing.T) func() [][]byte {
	t.Helper()
	const every = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, every)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	f := join( // not IPv4 within loopback, which is too much to read in time
		code{{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 0}}, mask(0xf0),
		is(0x40, join(load(16), mask(0xff_00_00_00), is(0x7f_00_00_00, ret(0)), ret(2048))),
		ret(2048))
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}); err != nil {
		t.Fatal(err)
	}
	return func() (packets [][]byte) {
		for {
			b := make([]byte, 2048)
			n, err := unix.Read(fd, b)
			if err != nil {
				if stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err != nil || stats.Drops > 0 {
					t.Errorf("the capture lacks packets: %+v, %v", stats, err)
				}
				return packets
			}
			if to := destinationOf(b[:n]); !to.IsLoopback() {
				packets = append(packets, b[:n])
			}
		}
	}
}

// destinationOf returns the destination of an IP packet.
func destinationOf(packet []byte) netip.Addr {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(packet[16:20]))
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(packet[24:40]))
	}
	return netip.Addr{}
}

// No packet leaves to an address outside loopback, whatever a program tries.
func TestNothingLeaves(t *testing.T) {
	if !namespace(t) {
		return
	}
	packets := capture(t)
	if out, err := program("leak", "203.0.113.7:53").CombinedOutput(); err != nil || len(packets()) == 0 {
		t.Fatalf("the capture does not see packets: %v: %s", err, out)
	}
	for _, cmd := range []*exec.Cmd{
		program("dial", "203.0.113.7:8333", "[2001:db8::7]:18444"),
		program("many"),
		program("blocking", "6", "[::ffff:203.0.113.7]:8333"),
		program("repeat", "203.0.113.7:8333"),
		program("swap", "203.0.113.7:8333", "203.0.113.8:8333"),
		program("calls"),
		program("leak", "203.0.113.7:53"),
		program("leak", "[2001:db8::7]:53"),
	} {
		output(t, cmd)
		if left := packets(); left != nil {
			t.Errorf("%q: packets left: %x", cmd.Args, left)
		}
	}
	if mayRefuseTCP() {
		output(t, program("swap-fd", "203.0.113.7:8333"))
		if left := packets(); left != nil {
			t.Errorf("with a descriptor that is swapped, packets left: %x", left)
		}
	}
}

// mayRefuseTCP reports whether Landlock can refuse TCP connections.
func mayRefuseTCP() bool {
	const versionFlag = 1
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, versionFlag)
	return errno == 0 && version >= 4
}
