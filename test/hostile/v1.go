package hostile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bip324proxy/internal/testkit"
)

// HeaderSize is the size of a v1 header.
const HeaderSize = 24

// V1 returns a v1 message for mainnet.
func V1(name string, payload []byte) []byte { return V1On(mainnet, name, payload) }

// V1On returns a v1 message.
func V1On(magic [4]byte, name string, payload []byte) []byte {
	return testkit.V1Message(magic, name, payload)
}

// V1Header returns mainnet's header of a message that claims length bytes.
func V1Header(name string, length uint32) []byte {
	b := V1(name, nil)
	binary.LittleEndian.PutUint32(b[16:], length)
	return b
}

// BadChecksum returns a message with a wrong checksum.
func BadChecksum(name string, payload []byte) []byte {
	b := V1(name, payload)
	b[20] ^= 1
	return b
}

// ReadV1 reads and fully checks one mainnet message. The error is io.EOF only between messages.
func ReadV1(r io.Reader) (name string, payload []byte, err error) { return ReadV1On(mainnet, r) }

// ReadV1On is ReadV1 on another network.
func ReadV1On(magic [4]byte, r io.Reader) (name string, payload []byte, err error) {
	var head [HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", nil, err
	}
	n := binary.LittleEndian.Uint32(head[16:])
	if n > 4_000_000 {
		return "", nil, fmt.Errorf("v1 header % x", head)
	}
	payload = make([]byte, n)
	if got, err := io.ReadFull(r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return "", nil, fmt.Errorf("after %d of %d bytes: %w", got, n, err)
	}
	name = string(bytes.TrimRight(head[4:16], "\x00"))
	if !bytes.Equal(V1On(magic, name, payload)[:HeaderSize], head[:]) {
		return "", nil, fmt.Errorf("v1 header % x of %d bytes", head, n)
	}
	return name, payload, nil
}

// shortIDs are BIP324's message types with ids of one byte, and BIP434's feature.
var shortIDs = map[string]byte{
	"addr": 1, "block": 2, "blocktxn": 3, "cmpctblock": 4, "feefilter": 5, "filteradd": 6, "filterclear": 7,
	"filterload": 8, "getblocks": 9, "getblocktxn": 10, "getdata": 11, "getheaders": 12, "headers": 13, "inv": 14,
	"mempool": 15, "merkleblock": 16, "notfound": 17, "ping": 18, "pong": 19, "sendcmpct": 20, "tx": 21,
	"getcfilters": 22, "cfilter": 23, "getcfheaders": 24, "cfheaders": 25, "getcfcheckpt": 26, "cfcheckpt": 27,
	"addrv2": 28, "feature": 37,
}

// ShortNames returns the message types with a one-byte id, by id; "" where there is none.
func ShortNames() (byID [256]string) {
	for name, id := range shortIDs {
		byID[id] = name
	}
	return byID
}

// V2 returns a message as the contents of a packet, with the shortest encoding of its type.
func V2(name string, payload []byte) []byte {
	if id, ok := shortIDs[name]; ok {
		return append([]byte{id}, payload...)
	}
	return V2Long(name, payload)
}

// V2Long is V2 with the type in full, which is valid for every type.
func V2Long(name string, payload []byte) []byte {
	var kind [13]byte
	copy(kind[1:], name)
	return append(kind[:], payload...)
}
