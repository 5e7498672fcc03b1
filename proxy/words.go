package proxy

// What a user reads about handshakes that failed and sessions that were open: the words of
// rows in the table of refusals. The other rows have plain.Words of their error.

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/plain"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// handshakeWords explains a failed v2 handshake.
func handshakeWords(err error, network string) string {
	var e *transport.HandshakeError
	if !errors.As(err, &e) {
		return plain.Words(err)
	}
	protocol := ForeignProtocol(e.First)
	var left *clientLeftError
	switch {
	case errors.Is(e, transport.ErrV1Peer):
		return "the peer speaks v1: it sent a VERSION of " + network
	case errors.Is(e, transport.ErrV1OtherNetwork):
		its := "another network"
		if len(e.First) >= 4 {
			its = transport.NetworkName([4]byte(e.First))
		}
		return fmt.Sprintf("the peer speaks v1, and on another network than %s: %s", network, its)
	case protocol != "":
		return "the peer is not a Bitcoin node: it answered in " + protocol
	case e.Received == 0 && errors.As(e.Err, &left):
		return fmt.Sprintf("the peer did not answer the v2 handshake; %v", left)
	case errors.As(e.Err, &left):
		return fmt.Sprintf("the peer began the v2 handshake, but did not complete it; %v", left)
	case e.Received == 0 && e.TimedOut():
		return "the peer did not answer the v2 handshake in time"
	case e.Received == 0 && e.HungUp():
		return "the peer hung up during the v2 handshake without an answer"
	}
	return e.Error()
}

// ForeignProtocol names the protocol that a peer's first bytes are in, if it is a well-known
// one that no Bitcoin node speaks. A v2 key looks like TLS once in 1.7 million times.
func ForeignProtocol(first []byte) string {
	lower := bytes.ToLower(first)
	switch {
	case bytes.HasPrefix(first, []byte("HTTP/")),
		bytes.HasPrefix(lower, []byte("<html")), bytes.HasPrefix(lower, []byte("<!doc")): // HTTP 0.9: no header
		return "HTTP, as a web server does"
	case len(first) >= 3 && (first[0] == 0x15 || first[0] == 0x16) && first[1] == 3 && first[2] <= 4: // an alert or a handshake record
		return "TLS, as a web server does"
	case bytes.HasPrefix(first, []byte("SSH-")):
		return "SSH"
	}
	return ""
}

// redialWords explains a second connection to a peer that failed.
func redialWords(err error, network string) string {
	var e *fallback.RedialError
	if !errors.As(err, &e) {
		return plain.Words(err)
	}
	return fmt.Sprintf("%s, and a second connection failed: %s", handshakeWords(e.First, network), plain.Words(e.Err))
}

// endWords explains the end of one side of an open session.
func endWords(err error, _ string) string {
	var e *v1v2.EndError
	switch {
	case !errors.As(err, &e):
		return plain.Words(err)
	case e.Err == io.EOF:
		return fmt.Sprintf("the %s closed the connection", e.Side)
	case e.Err == io.ErrUnexpectedEOF:
		return fmt.Sprintf("the %s closed the connection within a message", e.Side)
	case errors.Is(e, transport.ErrMemory):
		return fmt.Sprintf("no memory for a large message from the %s was free in time: messages of all sessions have used it up", e.Side)
	case errors.Is(e, errUnacknowledged), errors.Is(e, errno.ETIMEDOUT):
		return fmt.Sprintf(vanished, e.Side)
	case isTimeout(e):
		return fmt.Sprintf("the %s neither sent nor accepted data for too long", e.Side)
	}
	return fmt.Sprintf("the %s: %s", e.Side, plain.Words(e.Err))
}

// vanished is about a side that the kernel, or watchAcks, gave up on.
const vanished = "the %s does not acknowledge data: it, or the path to it, is down"
