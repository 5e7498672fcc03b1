// Package transport implements BIP324, Bitcoin's v2 encrypted transport, for
// both roles. It knows nothing of Bitcoin's messages: packets have contents,
// and that is all.
//
// [Client] and [Server] turn a fresh connection into a [Conn], which reads and
// writes packets:
//
//	nc, err := net.Dial("tcp", "192.0.2.1:8333")
//	...
//	conn, err := transport.Client(ctx, nc, transport.Config{
//		Magic: [4]byte{0xf9, 0xbe, 0xb4, 0xd9}, // mainnet
//		First: [][]byte{version},               // leaves with our version packet
//	})
//
// [Handshake] is the same handshake without a socket, for those who have their
// own event loop. [Dialer] adds what a node needs around it: the decision
// between v2 and v1, and the memory of which peers speak what.
//
// Inside, one file is one chapter of the BIP: ellswift.go the encoding of keys,
// ecdh.go the key exchange, keys.go and hkdf.go the key schedule, cipher.go the
// rekeying ciphers, packet.go the packets, handshake.go the state machine, conn.go
// the only file with a socket. internal/secp256k1 has the curve.
//
// What it promises: everything that a peer can send is bounded in size and, by
// the context and the timeouts in [Config], in time; memory grows with the
// bytes that arrived, not with the bytes that were promised; nothing of a
// packet is delivered before all of it is authenticated; in steady state a
// packet costs no allocation but for the new keys that every 224th brings, if it is
// of at most 16 KiB or there is [Config.Memory].
// What touches a private key, a shared secret or a derived key takes the same
// time whatever these are, and they are zeroed after use, those of the ciphers at
// each change of keys and by [Conn.Wipe]. docs/key-exchange.md tells more.
//
// BIP324 does not say who the peer is. Compare [Conn.SessionID] at both ends
// to know that no one sits between them.
package transport
