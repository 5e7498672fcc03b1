// Package v1v2 translates between Bitcoin's v1 and v2 message streams. It knows neither
// SOCKS nor policy.
//
//	v1   magic 4 | type 12, NUL-padded | length 4 | checksum 4 | payload
//	v2   id 1 | payload                        for the types of BIP324's table
//	     0 | type 12, NUL-padded | payload     for all others
//
// Both carry the same types and payloads, so translating is framing: nothing is added,
// reordered or altered. Messages that Bitcoin Core drops are dropped and counted; what it
// disconnects for ends the stream. BIP183's ids, which it drops, are translated, and sent
// to peers that use them.
//
// [Conn] does that for a program: a net.Conn that speaks v1 to its user and v2 to the peer.
// [Client] and [Server] perform the handshake for one, [Listener] for all that connect;
// fallback.Dialer dials. The proxy's loops are Conn.ReadFrom and Conn.WriteTo.
//
// [Classify] tells from the first bytes of a connection whether it speaks v1 and on which
// network. message_ids.go has the ids.
package v1v2
