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
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/armon/go-socks5"
)

// Version is the VER of every message except RFC 1929's, so a client's first byte.
const Version = 0x05

const (
	authVersion    = 0x01 // VER of RFC 1929's messages
	authFailure    = 0x01 // any STATUS except 0 is a failure
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
// Negotiate peeks at 4 bytes at most.
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

// negotiation is one call of Negotiate. The parser and the authenticators read from it,
// write to it and store the credentials in it.
type negotiation struct {
	conn    net.Conn
	in      Reader
	auth    *Credentials
	stage   Stage
	req     *Request
	held    []byte // written, but not sent until the client has to be waited for
	replied ReplyCode
	ioErr   error // the first failure of conn
}

// Read fills p or fails. The parser reads single bytes with a bare Read, and would use a
// stale byte if that returned none.
func (n *negotiation) Read(p []byte) (int, error) {
	if err := n.await(len(p)); err != nil {
		return 0, err
	}
	got, err := io.ReadFull(n.in, p)
	return got, n.note(err)
}

// Write holds a message back until the client has to be waited for.
func (n *negotiation) Write(p []byte) (int, error) {
	n.held = append(n.held, p...)
	return len(p), nil
}

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

// Valid compares the credentials with the required ones, or stores and accepts any
// (socks5.CredentialStore).
func (n *negotiation) Valid(user, password string) bool {
	sent := Credentials{user, password}
	if n.auth != nil {
		return n.auth.equal(sent)
	}
	n.req.Credentials = sent
	return true
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
	var head [2]byte
	if _, err := n.Read(head[:]); err != nil {
		return nil, err
	}
	methods := make([]byte, head[1])
	_, err = n.Read(methods)
	return methods, err
}

// authenticate chooses the method and performs it. Like Tor it accepts a user name and
// password even after it chose no authentication.
func (n *negotiation) authenticate(methods []byte) error {
	n.stage = StageAuth
	userPass := socks5.UserPassAuthenticator{Credentials: n}
	var err error
	switch {
	case bytes.IndexByte(methods, socks5.UserPassAuth) >= 0:
		_, err = userPass.Authenticate(n, n)
	case n.auth != nil:
		return n.answer(NoAcceptableMethods, fmt.Errorf(
			"the client offers only the authentication methods [% x]; set it to the user name and password (02) of this proxy", methods))
	case bytes.IndexByte(methods, socks5.NoAuth) >= 0:
		if _, err = (socks5.NoAuthAuthenticator{}).Authenticate(n, n); err != nil {
			break
		}
		n.stage = StageRequest
		var next []byte
		if next, err = n.peek(1); err == nil && next[0] == authVersion {
			n.stage = StageAuth
			_, err = userPass.Authenticate(n, statusOnly{n})
		}
	default:
		return n.answer(NoAcceptableMethods, fmt.Errorf(
			"the client offers only the authentication methods [% x]; set it to none (00), or to user name and password (02), with any values", methods))
	}
	switch {
	case err == nil:
		return nil
	case n.ioErr != nil:
		return n.ioErr
	case errors.Is(err, socks5.UserAuthFailed): // the authenticator has answered
		return n.answer(nil, errors.New("the client sent a wrong user name or password"))
	default: // the authenticator got another message than RFC 1929's
		return n.answer([]byte{authVersion, authFailure}, errors.New(
			"the client chose user name and password, but did not send them"))
	}
}

// statusOnly drops the method reply, which the authenticator writes first and the client
// already has, and passes the status on.
type statusOnly struct{ w io.Writer }

func (s statusOnly) Write(p []byte) (int, error) {
	if p[0] == Version {
		return len(p), nil
	}
	return s.w.Write(p)
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
	if head, err = n.peek(4); err != nil {
		return err
	}
	switch atyp := head[3]; atyp {
	case atypIPv4, atypName, atypIPv6:
	default: // the length of the address is unknown
		return n.refuse(AddressTypeNotSupported, fmt.Errorf("the request has the unknown address type 0x%02x", atyp))
	}
	// The whole request is read before it is refused: unread bytes would turn the close
	// into a reset, which can overtake the reply.
	msg, err := socks5.NewRequest(n)
	if err != nil {
		return err // of conn
	}
	n.req.Command = Command(msg.Command)
	if c := n.req.Command; c != CommandConnect && c != CommandResolve {
		return n.refuse(CommandNotSupported, fmt.Errorf("the client asks for %v; this proxy supports only CONNECT and Tor's RESOLVE", c))
	}
	if n.req.Dest, err = destination(n.req.Command, msg.DestAddr); err != nil {
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
	n.Write(msg)
	if err := n.flush(); err != nil {
		return fmt.Errorf("%w; telling the client failed: %w", why, err)
	}
	return why
}
