package plain

import "syscall"

// Winsock's numbers: syscall's own for these are inventions.
var errnos = map[syscall.Errno]string{
	10061: refused,  // WSAECONNREFUSED
	10054: reset,    // WSAECONNRESET
	10053: closed,   // WSAECONNABORTED
	10058: closed,   // WSAESHUTDOWN
	10057: closed,   // WSAENOTCONN
	10065: noHost,   // WSAEHOSTUNREACH
	10064: noHost,   // WSAEHOSTDOWN
	10051: noRoute,  // WSAENETUNREACH
	10050: noRoute,  // WSAENETDOWN
	10060: noAnswer, // WSAETIMEDOUT
	10049: noPort,   // WSAEADDRNOTAVAIL
	10048: noPort,   // WSAEADDRINUSE: no port is left
	10024: noFile,   // WSAEMFILE
	10055: noMemory, // WSAENOBUFS
	10022: invalid,  // WSAEINVAL
	10013: denied,   // WSAEACCES
}
