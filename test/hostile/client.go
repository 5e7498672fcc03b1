package hostile

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"
)

// Greeting offers no authentication.
var Greeting = []byte{5, 1, 0}

// Request is a SOCKS request with the host as a name.
func Request(command byte, dest string) []byte {
	host, port, err := net.SplitHostPort(dest)
	n, err2 := strconv.ParseUint(port, 10, 16)
	if err != nil || err2 != nil {
		panic(dest)
	}
	b := append([]byte{5, command, 0, 3, byte(len(host))}, host...)
	return binary.BigEndian.AppendUint16(b, uint16(n))
}

// Dial connects to addr. limit is the deadline of the whole connection.
func Dial(addr string, limit time.Duration) (*net.TCPConn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(limit))
	return nc.(*net.TCPConn), nil
}

// Connect connects to dest through the SOCKS proxy at addr. The client sends said with its request, before the reply.
func Connect(addr, dest string, limit time.Duration, said ...byte) (*net.TCPConn, error) {
	nc, err := Dial(addr, limit)
	if err != nil {
		return nil, err
	}
	var reply [12]byte
	if _, err = nc.Write(slices.Concat(Greeting, Request(1, dest), said)); err == nil {
		_, err = io.ReadFull(nc, reply[:])
	}
	if want := [12]byte{5, 0, 5, 0, 0, 1}; err == nil && reply != want {
		err = fmt.Errorf("SOCKS reply % x", reply)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}
