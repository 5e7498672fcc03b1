// Package seccomp runs a command whose own sockets it redirects: TCP to a listener on
// loopback, DNS to a server on loopback. It works without user namespaces. The kernel suspends the
// command's calls to connect(2) and its like and asks this process (SECCOMP_RET_USER_NOTIF),
// which connects a duplicate of the socket.
//
// What the command may do:
//   - TCP and MPTCP: a connection to loopback is made as it is; every other one is
//     redirected, and so is one to port 53 of any address, to the DNS server. TCP Fast Open
//     is refused.
//   - UDP: connect(2) to port 53 of any address is redirected; loopback is left as it is;
//     everything else is ENETUNREACH. So is a datagram that names its address, unless
//     sendto(2) sends it to another port of loopback: resolvers that do not connect their
//     sockets, such as musl's, get no answer.
//   - Unix sockets: anything but the system's resolvers (systemd-resolved, nscd, Avahi),
//     which look names up outside. Netlink sockets, bind(2) and listen(2): anything.
//   - Raw, packet, ping, SCTP and vsock sockets: EPERM. io_uring: ENOSYS. A program for
//     another architecture, such as a 32-bit one: it is killed.
//
// When this process ends, each of these calls fails with ENOSYS: nothing goes around it.
//
// It does not stop a program that tries to bypass it:
//   - Another thread can swap a descriptor while the kernel lets a call on a unix or
//     netlink socket pass, or the address of a datagram in sendmsg(2) while none was
//     there. Where the kernel has Landlock for TCP (Linux 6.7), it refuses such a TCP
//     connection.
//   - Sockets that were connected before the command started, or that it is given over a
//     unix socket, are not seen; nor is what daemons do that it asks over unix sockets,
//     such as D-Bus.
//   - Accepted connections, and answers from sockets that are bound, are not redirected.
//
// The command notices: getpeername(2) returns a loopback address, connect(2) succeeds
// before the peer is dialled, and set-user-ID programs gain no privileges. If a signal
// interrupts connect(2) with EINTR before this process has seen the call, the socket is
// not connected; without a supervisor the kernel would go on connecting. Before Linux 5.19 a
// signal can interrupt it later, too: the repeated call then fails with EISCONN at worst.
package seccomp

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ExecCommand is the first argument of the program to run as the new process of Start, with Exec
// and the arguments that follow.
const ExecCommand = "seccomp-exec"

// Ports are the ports on loopback to which a command's sockets are redirected: 127.0.0.1
// for IPv4, ::1 for IPv6. DNS is that of port 53, by UDP and TCP. A zero DNS refuses DNS over
// UDP, and redirects that over TCP like the rest.
type Ports struct {
	TCP uint16
	DNS uint16
}

// UnavailableError reports that the system does not allow sockets to be redirected; the
// command was not started.
type UnavailableError struct {
	Step string // what failed, such as pidfd_getfd
	Err  error
}

// stepGetfd is the step that needs the permission to trace the command.
const stepGetfd = "pidfd_getfd"

func (e *UnavailableError) Error() string {
	text := fmt.Sprintf("sockets cannot be redirected by seccomp: %s: %v", e.Step, e.Err)
	switch {
	case e.Step == stepGetfd && errors.Is(e.Err, fs.ErrPermission):
		text += "; allow this program to trace its children: docker run --cap-add SYS_PTRACE, or sysctl kernel.yama.ptrace_scope=1"
	case errors.Is(e.Err, syscall.EBUSY):
		text += "; this program runs under another supervisor, such as bip324-proxy run; start it outside"
	}
	return text
}

// Unwrap returns Err.
func (e *UnavailableError) Unwrap() error { return e.Err }
