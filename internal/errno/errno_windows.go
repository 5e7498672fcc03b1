package errno

import "syscall"

const (
	EACCES        = syscall.Errno(10013) // WSAEACCES
	EADDRINUSE    = syscall.Errno(10048) // WSAEADDRINUSE
	EADDRNOTAVAIL = syscall.Errno(10049) // WSAEADDRNOTAVAIL
	EAFNOSUPPORT  = syscall.Errno(10047) // WSAEAFNOSUPPORT
	ECONNABORTED  = syscall.Errno(10053) // WSAECONNABORTED
	ECONNREFUSED  = syscall.Errno(10061) // WSAECONNREFUSED
	ECONNRESET    = syscall.Errno(10054) // WSAECONNRESET
	EHOSTDOWN     = syscall.Errno(10064) // WSAEHOSTDOWN
	EHOSTUNREACH  = syscall.Errno(10065) // WSAEHOSTUNREACH
	EINVAL        = syscall.Errno(10022) // WSAEINVAL
	EMFILE        = syscall.Errno(10024) // WSAEMFILE
	ENETDOWN      = syscall.Errno(10050) // WSAENETDOWN
	ENETUNREACH   = syscall.Errno(10051) // WSAENETUNREACH
	ENOBUFS       = syscall.Errno(10055) // WSAENOBUFS
	ENODEV        = ENETDOWN             // of an interface that is down
	ENOTCONN      = syscall.Errno(10057) // WSAENOTCONN
	EPIPE         = syscall.Errno(10058) // WSAESHUTDOWN
	ETIMEDOUT     = syscall.Errno(10060) // WSAETIMEDOUT
)
