//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tryDatagrams writes the results of datagrams to args[0], a port on loopback, and elsewhere.
func tryDatagrams(args []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	for _, addr := range []string{args[0], "127.0.0.1:53", "203.0.113.7:53", "203.0.113.7:123"} {
		to := sockaddrOf(unix.AF_INET, addr)
		fmt.Println("sendto", addr+":", name(unix.Sendto(fd, []byte("to "+addr), 0, to)))
		if addr == args[0] {
			b := make([]byte, 100)
			n, _, err := unix.Recvfrom(fd, b, 0)
			fmt.Println(string(b[:max(n, 0)]), name(err))
		}
		fmt.Println("sendmsg", addr+":", name(unix.Sendmsg(fd, []byte("data"), nil, to, 0)))
	}
	for _, addr := range []string{"203.0.113.7:123", "127.0.0.53:53", "203.0.113.7:53"} {
		fmt.Println("connect", addr+":", name(unix.Connect(fd, sockaddrOf(unix.AF_INET, addr))))
	}
	b := make([]byte, 100)
	for _, send := range []func() error{
		func() error { return unix.Send(fd, []byte("send"), 0) },
		func() error { return unix.Sendmsg(fd, []byte("sendmsg"), nil, nil, 0) },
		func() error { return sendmmsg(fd, nil) },
	} {
		if err := send(); err != nil {
			return err
		}
		n, err := unix.Read(fd, b)
		fmt.Println(string(b[:max(n, 0)]), name(err))
	}
	fmt.Println("sendmmsg with an address:", name(sendmmsg(fd, &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: 0x3500, Addr: [4]byte{203, 0, 113, 7}})))
	return nil
}

// sendmmsg sends two messages of which the second is to an address.
func sendmmsg(fd int, to *unix.RawSockaddrInet4) error {
	var messages [2]struct {
		unix.Msghdr
		sent uint32
	}
	data := []byte("sendmmsg")
	for i := range messages {
		messages[i].Iov = &unix.Iovec{Base: &data[0]}
		messages[i].Iov.SetLen(len(data))
		messages[i].SetIovlen(1)
	}
	if to != nil {
		messages[1].Name, messages[1].Namelen = (*byte)(unsafe.Pointer(to)), unix.SizeofSockaddrInet4
	}
	_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages)), 2, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
