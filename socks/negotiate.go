// Package socks implements SOCKS5 (RFC 1928) with user name and password (RFC 1929) and
// Tor's RESOLVE. The server side ends where the destination is known:
//
//	client                                   this package
//	05 n methods             greeting   ──▶
//	                                    ◀──  05 02, or 05 00, or 05 FF
//	01 n user n password     auth       ──▶
//	                                    ◀──  01 00, or 01 01
//	05 cmd 00 atyp dest port request    ──▶
//	                                         Negotiate returns it; the caller dials
//	                                    ◀──  05 code 00 01 00000000 0000   Reply
//	                                    ◀──  05 00 00 atyp address 0000    ReplyAddr
//
// Credentials are checked only if Config.Auth is set. Clients use them to keep their
// connections apart (Tor's stream isolation), so any are accepted and returned to the
// caller, and the method that carries them is chosen whenever it is offered.
//
// Every message to the client leaves in one Write, because some clients take each answer
// with a single read. A client that does not wait for an answer gets it together with the
// next one: Electrum detects Tor that way. Nothing is read beyond the request.
//
// The client side is [Upstream].
package socks

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Version is the VER of every message except RFC 1929's, so a client's first byte.
const Version = 0x05

const (
	authVersion    = 0x01 // VER of RFC 1929's messages
	authFailure    = 0x01 // any STATUS except 0 is a failure
	methodNone     = 0x00 // no authentication
	methodUserPass = 0x02 // RFC 1929
	noMethod       = 0xFF // no acceptable method
	atypIPv4       = 0x01
	atypName       = 0x03
	atypIPv6       = 0x04
	defaultTimeout = 20 * time.Second
)

// NoAcceptableMethods is the answer to a greeting that rejects the client.
var NoAcceptableMethods = []byte{Version, noMethod}

// Reader is what Negotiate reads from: the one buffered reader of the socket, so that no
// byte that it has read ahead is lost. Peek and Buffered work as in bufio.Reader;
// Negotiate peeks at one byte at most.
type Reader interface {
	io.Reader
	Peek(n int) ([]byte, error)
	Buffered() int
}

// Config configures Negotiate. The zero value is the default.
type Config struct {
	// Timeout bounds the whole negotiation. 0 is 20 seconds.
	Timeout time.Duration

	// Auth, if not nil, holds the only credentials that are accepted. They are for this
	// proxy, so Negotiate does not return them.
	Auth *Credentials
}

// Negotiate performs greeting and authentication, and returns the client's request, a
// CONNECT or a RESOLVE with a valid destination, unanswered: the caller connects or
// resolves, and calls Reply or ReplyAddr. Any other client has been answered when
// Negotiate returns a *NegotiationError; the caller closes conn.
//
// r must read from conn. Negotiate sets conn's deadline and clears it on success; after an
// error the deadline stays, to bound how long closing takes.
func (c Config) Negotiate(conn net.Conn, r Reader) (*Request, error) {
	n := &negotiation{conn: conn, in: r, auth: c.Auth, stage: StageGreeting, req: &Request{conn: conn}}
	err := conn.SetDeadline(time.Now().Add(cmp.Or(c.Timeout, defaultTimeout)))
	if err == nil {
		err = n.run()
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, &NegotiationError{Stage: n.stage, Reply: n.replied, Err: err}
	}
	return n.req, nil
}

// negotiation is one call of Negotiate.
type negotiation struct {
	conn    net.Conn
	in      Reader
	auth    *Credentials
	stage   Stage
	req     *Request
	held    []byte // not sent until the client has to be waited for
	replied ReplyCode
	ioErr   error // the first failure of conn
}

// read returns the next size bytes.
func (n *negotiation) read(size int) ([]byte, error) {
	if err := n.await(size); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	_, err := io.ReadFull(n.in, b)
	return b, n.note(err)
}

// hold adds a message to those that are sent when the client has to be waited for.
func (n *negotiation) hold(msg ...byte) { n.held = append(n.held, msg...) }

// await sends what is held back, unless size bytes are there already.
func (n *negotiation) await(size int) error {
	if n.in.Buffered() >= size {
		return nil
	}
	return n.flush()
}

// flush sends what is held back, in one Write.
func (n *negotiation) flush() error {
	if len(n.held) == 0 {
		return nil
	}
	_, err := n.conn.Write(n.held)
	n.held = nil
	return n.note(err)
}

func (n *negotiation) peek(size int) ([]byte, error) {
	if err := n.await(size); err != nil {
		return nil, err
	}
	head, err := n.in.Peek(size)
	return head, n.note(err)
}

// note records the first failure. The end of the stream is unexpected between two
// messages, too.
func (n *negotiation) note(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	n.ioErr = cmp.Or(n.ioErr, err)
	return err
}

func (n *negotiation) run() error {
	methods, err := n.greeting()
	if err == nil {
		err = n.authenticate(methods)
	}
	if err == nil {
		err = n.request()
	}
	if err != nil {
		return err
	}
	if n.req.Command == CommandResolve {
		n.req.held = n.held // sent with the reply
		return nil
	}
	return n.flush()
}

// greeting reads the methods that the client offers (RFC 1928, section 3). A client that
// speaks another protocol gets no answer.
func (n *negotiation) greeting() ([]byte, error) {
	first, err := n.in.Peek(1)
	if err != nil {
		return nil, err // io.EOF stays
	}
	if first[0] != Version {
		return nil, notSOCKS5(first[0])
	}
	head, err := n.read(2)
	if err != nil {
		return nil, err
	}
	return n.read(int(head[1]))
}

// authenticate chooses the method and performs it. Like Tor it accepts a user name and
// password even after it chose no authentication.
func (n *negotiation) authenticate(methods []byte) error {
	n.stage = StageAuth
	switch {
	case bytes.IndexByte(methods, methodUserPass) >= 0:
		n.hold(Version, methodUserPass)
		return n.userPass()
	case n.auth != nil:
		return n.answer(NoAcceptableMethods, fmt.Errorf(
			"the client offers only the authentication methods [% x]; set it to the user name and password (02) of this proxy", methods))
	case bytes.IndexByte(methods, methodNone) >= 0:
		n.hold(Version, methodNone)
		n.stage = StageRequest
		next, err := n.peek(1)
		if err != nil || next[0] != authVersion {
			return err
		}
		n.stage = StageAuth
		return n.userPass()
	}
	return n.answer(NoAcceptableMethods, fmt.Errorf(
		"the client offers only the authentication methods [% x]; set it to none (00), or to user name and password (02), with any values", methods))
}

// userPass reads the user name and the password (RFC 1929, section 2). It compares them with
// the required ones, or stores and accepts any.
func (n *negotiation) userPass() error {
	head, err := n.read(2)
	if err != nil {
		return err
	}
	if head[0] != authVersion {
		return n.answer([]byte{authVersion, authFailure}, errors.New(
			"the client chose user name and password, but did not send them"))
	}
	user, err := n.read(int(head[1]))
	if err != nil {
		return err
	}
	size, err := n.read(1)
	if err != nil {
		return err
	}
	password, err := n.read(int(size[0]))
	if err != nil {
		return err
	}
	sent := Credentials{string(user), string(password)}
	switch {
	case n.auth == nil:
		n.req.Credentials = sent
	case !n.auth.equal(sent):
		return n.answer([]byte{authVersion, authFailure}, errors.New("the client sent a wrong user name or password"))
	}
	n.hold(authVersion, 0)
	return nil
}

// request reads the request (RFC 1928, section 4) into n.req, or refuses it. It ignores
// RSV.
func (n *negotiation) request() error {
	n.stage = StageRequest
	head, err := n.peek(1) // a wrong version is refused at once
	if err != nil {
		return err
	}
	if head[0] != Version {
		return n.refuse(GeneralFailure, fmt.Errorf("the first byte of the request is 0x%02x, not 0x05", head[0]))
	}
	if head, err = n.read(4); err != nil {
		return err
	}
	var size int
	switch atyp := head[3]; atyp {
	case atypIPv4:
		size = 4
	case atypIPv6:
		size = 16
	case atypName:
		length, err := n.read(1)
		if err != nil {
			return err
		}
		size = int(length[0])
	default: // the length of the address is unknown
		return n.refuse(AddressTypeNotSupported, fmt.Errorf("the request has the unknown address type 0x%02x", atyp))
	}
	// The whole request is read before it is refused: unread bytes would turn the close
	// into a reset, which can overtake the reply.
	rest, err := n.read(size + 2)
	if err != nil {
		return err
	}
	n.req.Command = Command(head[1])
	if c := n.req.Command; c != CommandConnect && c != CommandResolve {
		return n.refuse(CommandNotSupported, fmt.Errorf("the client asks for %v; this proxy supports only CONNECT and Tor's RESOLVE", c))
	}
	var ip netip.Addr
	name := string(rest[:size])
	if head[3] != atypName {
		ip, _ = netip.AddrFromSlice(rest[:size])
		name = ""
	}
	if n.req.Dest, err = destination(n.req.Command, name, ip, binary.BigEndian.Uint16(rest[size:])); err != nil {
		return n.refuse(GeneralFailure, err)
	}
	return nil
}

// refuse replies to the request with code and returns why.
func (n *negotiation) refuse(code ReplyCode, why error) error {
	err := n.answer(message(code), why)
	if n.ioErr == nil {
		n.replied = code
	}
	return err
}

// answer sends msg, the last message of a failed negotiation, and returns why.
func (n *negotiation) answer(msg []byte, why error) error {
	n.hold(msg...)
	if err := n.flush(); err != nil {
		return fmt.Errorf("%w; telling the client failed: %w", why, err)
	}
	return why
}
