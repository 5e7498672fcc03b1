//go:build amd64 || arm64 || 386 || arm

package seccomp

import "golang.org/x/sys/unix"

// RefuseFamilies refuses this thread, and what it executes, sockets of the families that no
// network namespace confines, such as vsock, which leads from a virtual machine to its host, and
// Bluetooth. It needs the capability SYS_ADMIN. It does not see a socketcall(2), with which a
// 32-bit program may make sockets, nor the sockets that io_uring makes.
func RefuseFamilies() error {
	_, err := familyFilter().set(0)
	return err
}

// confined are the families that are allowed.
var confined = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET, unix.AF_ALG}

// socketCalls are the numbers of socket(2). Mostly a kernel runs programs of two architectures.
var socketCalls = map[string]uint32{"amd64": 41, "386": 359, "arm64": 198, "arm": 281}

// familyFilter returns the filter of RefuseFamilies.
func familyFilter() code {
	onSocket := arg(0)
	for _, f := range confined {
		onSocket = join(onSocket, is(f, allow))
	}
	onSocket = join(onSocket, refuse(unix.EAFNOSUPPORT))
	filter := load(dataArch)
	for name, number := range socketCalls {
		calls := load(dataNumber)
		if name == "amd64" {
			calls = join(calls, mask(^uint32(x32)))
		}
		filter = join(filter, is(archs[name], join(calls, is(number, onSocket), allow)))
	}
	return join(filter, kill)
}
