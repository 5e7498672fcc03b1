// Package v1v2 translates between Bitcoin's v1 and v2 message streams. It knows neither
// SOCKS nor policy.
//
// # For a program that speaks v1
//
// A [Conn] is a net.Conn that speaks v1 to its user and v2 to the peer. A program that reads
// and writes v1 messages uses it in place of its TCP connection, and does not notice:
//
//   - [Client] performs the handshake on a connection that was dialled, [Server] on one that
//     was accepted. fallback.Dialer dials, too, and learns the network from the first message.
//   - [Listener] accepts connections, and performs the handshakes of many peers at a time.
//
// Read and Write take pieces of any size, deadlines can be set again and lose nothing, and
// Close ends all calls. [Conn.Transport] and [Conn.SessionID] say what the peer speaks, as
// Bitcoin Core's getpeerinfo does. io.Copy between a Conn and another connection sends
// messages that arrive together in one write.
//
// # What is translated
//
//	v1   magic 4 | type 12, NUL-padded | length 4 | checksum 4 | payload
//	v2   id 1 | payload                        for the types of BIP324's table
//	     0 | type 12, NUL-padded | payload     for all others
//
// Both carry the same types and payloads, so translating is framing: nothing is added,
// reordered or altered. Messages that Bitcoin Core drops are dropped and counted, in
// [Counts]; what Core disconnects for is an error. The ids of BIP183, which Core drops,
// are translated, and sent to peers that use them. message_ids.go has the ids.
//
// # For a proxy
//
// Most programs do not need the rest. [Conn.ReadFrom] and [Conn.WriteTo] are the proxy's
// loops, and their [EndError] says which side has ended a session. [Classify] tells from the
// first bytes of a connection whether it speaks v1 and on which network. [Reader] reads v1
// messages; [Decode], [AppendContents] and [AppendMessage] translate single ones.
package v1v2
