package hostile

import (
	"encoding/binary"
	"net"
)

// Version returns the payload of a VERSION message.
func Version(agent string) []byte {
	return append(append(make([]byte, 80), byte(len(agent))), agent+"\x00\x00\x00\x00\x01"...)
}

// Pings returns n messages in v1.
func Pings(n int) (b []byte) {
	for i := range n {
		b = append(b, V1("ping", binary.LittleEndian.AppendUint64(nil, uint64(i)))...)
	}
	return b
}

// GetBlock returns a message in v1 that requests a block of size bytes from a Node.
func GetBlock(size int) []byte {
	return V1("getdata", binary.LittleEndian.AppendUint32(nil, uint32(size)))
}

// Node returns an honest peer on mainnet that speaks v2 and answers each ping and each GetBlock.
func Node(agent string) func(nc *net.TCPConn) { return NodeOn(mainnet, agent) }

// NodeOn is Node on another network.
func NodeOn(magic [4]byte, agent string) func(nc *net.TCPConn) {
	return func(nc *net.TCPConn) {
		e, err := Script{Magic: magic}.Shake(nc, false)
		if err != nil {
			return
		}
		e.Send(V2("version", Version(agent)))
		e.Send(V2("verack", nil))
		for {
			contents, err := e.Receive()
			if err != nil {
				return
			}
			switch ids := ShortNames(); {
			case len(contents) > 0 && ids[contents[0]] == "ping":
				err = e.Send(V2("pong", contents[1:]))
			case len(contents) > 4 && ids[contents[0]] == "getdata":
				err = e.Send(V2("block", make([]byte, binary.LittleEndian.Uint32(contents[1:]))))
			}
			if err != nil {
				return
			}
		}
	}
}
