// Package transport implements BIP324, Bitcoin's v2 encrypted transport, for both roles.
// It does not interpret the contents of packets, Bitcoin's messages. A program that speaks
// v1 needs none of it: fallback.Dialer and v1v2.Listener give it a net.Conn.
//
// [Client] and [Server] turn a fresh connection into a [Conn], which reads and
// writes packets:
//
//	nc, err := net.Dial("tcp", "192.0.2.1:8333")
//	...
//	conn, err := transport.Client(ctx, nc, transport.Config{
//		Magic: transport.Mainnet.Magic,
//		First: [][]byte{version}, // leaves with our version packet
//	})
//
// [Handshake] is the same handshake without a socket, for programs with an event loop.
//
// Each file is a chapter of the BIP: ellswift.go the encoding of keys, ecdh.go the key
// exchange, keys.go the key schedule, cipher.go the rekeying ciphers,
// packet.go the packets, handshake.go the state machine. drive.go, conn.go and sending.go
// have the socket; internal/secp256k1 has the curve. Beyond the BIP, [Shape] hides sizes and
// times by decoys: shaper.go the padding, cells.go the rhythm, drain.go its end, agreement.go
// the tunnel, burst.go its bursts; core_shape.go sends VERSION when Bitcoin Core does.
//
// Guarantees: everything that a peer can send is limited in size and, by the context and
// the timeouts in [Config], in time. Memory grows with the bytes that arrived, not with
// those announced: with [Config].Memory page by page, without it from 256 KiB to the
// packet's size. Nothing of a packet is delivered before all of it is authenticated.
// A deadline that passes within a packet breaks nothing: the next [Conn.ReadPacket] goes
// on, and what a write has left is sent before the next packet ([PendingError]).
// In steady state a packet costs no allocation, except for rekeying every 224th.
// Computing with private keys, shared secrets and derived keys takes constant time, and
// they are zeroed after use, cipher keys by rekeying and [Conn.Wipe]; see
// docs/key-exchange.md.
//
// BIP324 does not authenticate the peer. Comparing [Conn.SessionID] at both ends reveals
// a man in the middle.
package transport
