//go:build !386 && !s390x

package stream

import (
	"encoding/binary"
	"net"
	"syscall"
	"unsafe"
)

// kernelCounts returns how many bytes the other end of conn has sent, and has acknowledged
// of those sent to it; ok is false if conn is not a TCP socket. The order in struct tcp_info
// is that of tcp(7) and linux/tcp.h: tcpi_bytes_acked, tcpi_bytes_received.
func kernelCounts(conn net.Conn) (sent, taken uint64, ok bool) {
	tcp, isTCP := conn.(*net.TCPConn)
	if !isTCP {
		return 0, 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var info [136]byte
	raw.Control(func(fd uintptr) {
		size := uint32(len(info))
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0 && size == uint32(len(info))
	})
	return binary.NativeEndian.Uint64(info[128:]), binary.NativeEndian.Uint64(info[120:]), ok
}
