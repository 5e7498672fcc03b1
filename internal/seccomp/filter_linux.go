//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data, on little-endian machines.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// socketcall(2) is how 32-bit x86 programs may make calls on sockets; x/sys/unix has its
// number only there, and these not at all.
const (
	socketcall = 102

	socketcallSocket   = 1
	socketcallConnect  = 3
	socketcallSendto   = 11
	socketcallSendmsg  = 16
	socketcallSendmmsg = 20
)

// x32 marks the calls of the x32 ABI on amd64.
const x32 = 0x40000000

// Verdicts of the filter.
var (
	allow  = ret(unix.SECCOMP_RET_ALLOW)
	notify = ret(unix.SECCOMP_RET_USER_NOTIF)
	kill   = ret(unix.SECCOMP_RET_KILL_PROCESS)
)

// code is a piece of a filter. It falls through or returns; what is loaded is undefined
// after it.
type code []unix.SockFilter

func ret(action uint32) code { return code{{Code: unix.BPF_RET | unix.BPF_K, K: action}} }

// refuse makes the call fail with errno.
func refuse(errno unix.Errno) code { return ret(unix.SECCOMP_RET_ERRNO | uint32(errno)) }

func load(offset uint32) code {
	return code{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}}
}

// arg loads the lower half of argument i.
func arg(i uint32) code { return load(dataArgs + 8*i) }

// mask clears all other bits of what is loaded.
func mask(bits uint32) code { return code{{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: bits}} }

// is runs then, which must return, if the loaded value is k.
func is(k uint32, then code) code {
	return append(code{{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: uint8(len(then)), K: k}}, then...)
}

// has runs then, which must return, if any of bits is set.
func has(bits uint32, then code) code {
	return append(code{{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: uint8(len(then)), K: bits}}, then...)
}

var join = slices.Concat[code]

// archs are the kernel's numbers of architectures.
var archs = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64,
	"386": unix.AUDIT_ARCH_I386, "arm": unix.AUDIT_ARCH_ARM,
}

// filter returns the filter for programs of this program's architecture.
func filter() code {
	fastOpen := has(unix.MSG_FASTOPEN, refuse(unix.EOPNOTSUPP))
	calls := join(
		load(dataNumber),
		is(unix.SYS_CONNECT, notify),
		is(unix.SYS_SENDTO, join(
			arg(3), fastOpen,
			arg(4), is(0, join(load(dataArgs+8*4+4), is(0, allow), notify)), // no address
			notify)),
		is(unix.SYS_SENDMSG, join(arg(2), fastOpen, notify)),
		is(unix.SYS_SENDMMSG, join(arg(3), fastOpen, notify)),
		is(unix.SYS_SOCKET, join(
			arg(0),
			is(unix.AF_UNIX, allow),
			is(unix.AF_NETLINK, allow),
			is(unix.AF_INET, internetRules()),
			is(unix.AF_INET6, internetRules()),
			refuse(unix.EPERM))),
		is(unix.SYS_IO_URING_SETUP, refuse(unix.ENOSYS)),
		is(unix.SYS_IO_URING_ENTER, refuse(unix.ENOSYS)),
		is(unix.SYS_IO_URING_REGISTER, refuse(unix.ENOSYS)),
	)
	switch runtime.GOARCH {
	case "amd64":
		calls = join(load(dataNumber), has(x32, refuse(unix.ENOSYS)), calls)
	case "386":
		calls = join(calls, is(socketcall, join(
			arg(0),
			is(socketcallSocket, notify),
			is(socketcallConnect, notify),
			is(socketcallSendto, notify),
			is(socketcallSendmsg, notify),
			is(socketcallSendmmsg, notify),
			allow)))
	}
	return join(load(dataArch), is(archs[runtime.GOARCH], join(calls, allow)), kill)
}

// internetRules decides on socket(2) for IPv4 and IPv6: TCP, MPTCP and UDP are allowed.
func internetRules() code {
	return join(
		arg(1), mask(socketType),
		is(unix.SOCK_STREAM, join(
			arg(2), is(0, allow), is(unix.IPPROTO_TCP, allow), is(unix.IPPROTO_MPTCP, allow),
			refuse(unix.EPERM))),
		is(unix.SOCK_DGRAM, join(
			arg(2), is(0, allow), is(unix.IPPROTO_UDP, allow),
			refuse(unix.EPERM))),
		refuse(unix.EPERM))
}

// socketType is the part of the second argument of socket(2) that is the type.
const socketType = 0xf

// socketAllowed decides as the filter does, for socketcall(2), which it cannot see into.
func socketAllowed(args arguments) bool {
	domain, kind, protocol := uint32(args[0]), uint32(args[1]), uint32(args[2])
	switch domain {
	case unix.AF_UNIX, unix.AF_NETLINK:
		return true
	case unix.AF_INET, unix.AF_INET6:
		switch kind & socketType {
		case unix.SOCK_STREAM:
			return protocol == 0 || protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP
		case unix.SOCK_DGRAM:
			return protocol == 0 || protocol == unix.IPPROTO_UDP
		}
	}
	return false
}
