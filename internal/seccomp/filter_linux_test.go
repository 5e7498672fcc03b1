//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"encoding/binary"
	"runtime"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// newVerdict returns a function that runs a filter on a call.
func newVerdict(t *testing.T, filter code) func(arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	var raw []bpf.RawInstruction
	for _, f := range filter {
		raw = append(raw, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K})
	}
	instructions, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatalf("invalid instructions: %v", instructions)
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	return func(arch, number uint32, args ...uint64) uint32 {
		t.Helper()
		// Words in the byte order of network packets, halves of arguments as the kernel has them.
		data := make([]byte, 64)
		binary.BigEndian.PutUint32(data, number)
		binary.BigEndian.PutUint32(data[4:], arch)
		for i, a := range args {
			binary.BigEndian.PutUint32(data[16+8*i:], uint32(a))
			binary.BigEndian.PutUint32(data[20+8*i:], uint32(a>>32))
		}
		v, err := vm.Run(data)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(v)
	}
}

// filteredArch returns the architecture that the filter is for: it compares it first.
func filteredArch() uint32 { return filter()[1].K }

// Calls of other architectures and of x32 do not pass.
func TestFilterArchitectures(t *testing.T) {
	verdict := newVerdict(t, filter())
	archs := map[string]uint32{
		"386": unix.AUDIT_ARCH_I386, "amd64": unix.AUDIT_ARCH_X86_64,
		"arm": unix.AUDIT_ARCH_ARM, "arm64": unix.AUDIT_ARCH_AARCH64, "riscv64": unix.AUDIT_ARCH_RISCV64,
	}
	for name, arch := range archs {
		want := uint32(unix.SECCOMP_RET_KILL_PROCESS)
		if name == runtime.GOARCH {
			want = unix.SECCOMP_RET_ALLOW
		}
		if got := verdict(arch, unix.SYS_GETPID); got != want {
			t.Errorf("%s: %#x, want %#x", name, got, want)
		}
	}
	if runtime.GOARCH == "amd64" {
		const connect = 42
		if got := verdict(unix.AUDIT_ARCH_X86_64, 1<<30|connect); got != unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS) {
			t.Errorf("x32: %#x", got)
		}
	}
}

// Only a sendto(2) whose address is null, in both halves of it, passes unseen.
func TestFilterSendto(t *testing.T) {
	arch, verdict := filteredArch(), newVerdict(t, filter())
	for _, c := range []struct {
		flags, address uint64
		want           uint32
	}{
		{0, 0, unix.SECCOMP_RET_ALLOW},
		{unix.MSG_NOSIGNAL, 0, unix.SECCOMP_RET_ALLOW},
		{0, 1, unix.SECCOMP_RET_USER_NOTIF},
		{0, 1 << 32, unix.SECCOMP_RET_USER_NOTIF},
		{unix.MSG_FASTOPEN, 1, unix.SECCOMP_RET_ERRNO | uint32(unix.EOPNOTSUPP)},
	} {
		if got := verdict(arch, unix.SYS_SENDTO, 3, 1, 1, c.flags, c.address, 16); got != c.want {
			t.Errorf("flags %#x, address %#x: %#x, want %#x", c.flags, c.address, got, c.want)
		}
	}
}

// The supervisor decides on sockets as the filter does.
func TestSocketRulesAgree(t *testing.T) {
	arch, verdict := filteredArch(), newVerdict(t, filter())
	for domain := range uint64(64) {
		for kind := range uint64(16) {
			for _, protocol := range []uint64{0, unix.IPPROTO_ICMP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP, unix.IPPROTO_RAW, unix.IPPROTO_MPTCP} {
				for _, flags := range []uint64{0, unix.SOCK_CLOEXEC, unix.SOCK_NONBLOCK} {
					args := arguments{domain | 1<<40, kind | flags, protocol}
					allowed := verdict(arch, unix.SYS_SOCKET, args[:]...) == unix.SECCOMP_RET_ALLOW
					if allowed != socketAllowed(args) {
						t.Fatalf("domain %d, type %d, protocol %d: the filter allows it: %v", domain, kind|flags, protocol, allowed)
					}
				}
			}
		}
	}
}
