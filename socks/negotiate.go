// Package socks is SOCKS5 (RFC 1928) with user name and password (RFC 1929) and
// Tor's RESOLVE. On the server side it goes up to the point where the
// destination is known:
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
// Credentials are not checked, unless Config.Auth says so. Clients use them to
// keep their connections apart (Tor's stream isolation), so whatever they send
// is accepted and handed to the caller, and the method that carries them is
// chosen whenever offered.
//
// Every message to the client leaves in one Write, because some clients take
// each answer with a single read. A client that goes on without waiting for an
// answer gets it together with the next: Electrum looks for Tor that way.
// Nothing is read beyond the request: what follows it belongs to the caller.
//
// The client side is [Upstream]: it makes the same conversation with another
// proxy.
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

// Version is the VER of every message but RFC 1929's, and so a client's first
// byte.
const Version = 0x05

const (
	authVersion    = 0x01 // VER of RFC 1929's messages
	authFailure    = 0x01 // any STATUS but 0 refuses
	noMethod       = 0xFF // no acceptable method
	atypIPv4       = 0x01
	atypName       = 0x03
	atypIPv6       = 0x04
	defaultTimeout = 20 * time.Second
)

// NoAcceptableMethods answers a greeting: the client is to go.
var NoAcceptableMethods = []byte{Version, noMethod}

// Reader is what Negotiate reads from: the one buffered reader that stays with
// the socket for its life, so that bytes read ahead are not lost. Peek is as in
// bufio.Reader and asks for at most 4 bytes; Buffered, too.
type Reader interface {
	io.Reader
	Peek(n int) ([]byte, error)
	Buffered() int
}

// Config says how to negotiate. The zero value is the default.
type Config struct {
	// Timeout bounds the whole negotiation, whatever arrives meanwhile. 0 is
	// 20 seconds.
	Timeout time.Duration

	// Auth, if not nil, is the one pair of credentials that is accepted. What the
	// client sends is then a key to this proxy and not passed on.
	Auth *Credentials
}

// Negotiate takes a client through greeting, authentication and request, and
// returns the request, which is a CONNECT or a RESOLVE with a valid destination.
// It leaves that one unanswered: the caller dials or resolves, and calls Reply or
// ReplyAddr. Everything else has been answered when Negotiate returns, and the
// error is a *NegotiationError; the caller closes conn.
//
// r must read from conn. The deadline of conn is set at entry and cleared on
// success; after an error it stays, as a bound for whatever the caller does to
// close in good order.
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

// negotiation is one client on its way to a request. The parser and the
// authenticators read from it, write to it and store the credentials in it.
type negotiation struct {
	conn    net.Conn
	in      Reader
	auth    *Credentials
	stage   Stage
	req     *Request
	held    []byte // written, but not sent as long as the client has said more
	replied ReplyCode
	ioErr   error // the first failure of conn
}

// Read fills p or fails. The parser takes single bytes with a bare Read and
// would go on with a stale byte if that came back empty.
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

// Valid captures the credentials and accepts them (socks5.CredentialStore), or
// compares them with those that are required.
func (n *negotiation) Valid(user, password string) bool {
	sent := Credentials{user, password}
	if n.auth != nil {
		return n.auth.matches(sent)
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

// note keeps the first failure. An end of input within the conversation is
// unexpected, also where it falls between two messages.
func (n *negotiation) note(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	n.ioErr = cmp.Or(n.ioErr, err)
	return err
}

func (n *negotiation) run() error {
	methods, err := n.greeting()
	if err != nil {
		return err
	}
	if err := n.authenticate(methods); err != nil {
		return err
	}
	if err := n.request(); err != nil {
		return err
	}
	if n.req.Command == CommandResolve {
		n.req.held = n.held // it will not be long
		return nil
	}
	return n.flush()
}

// greeting reads the methods that the client offers (RFC 1928, section 3). A
// client that speaks something else gets no answer, as none would suit it.
func (n *negotiation) greeting() ([]byte, error) {
	first, err := n.in.Peek(1)
	if err != nil {
		return nil, err // io.EOF: it came and went without a word
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

// authenticate chooses the method and runs it. Like Tor it takes a user name
// and password also after it chose no authentication, where that may be chosen.
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
		n.stage = StageRequest // what is due next
		var next []byte
		if next, err = n.peek(1); err == nil && next[0] == authVersion {
			n.stage = StageAuth
			_, err = userPass.Authenticate(n, statusOnly{n})
		}
	default:
		return n.answer(NoAcceptableMethods, fmt.Errorf(
			"the client offers only the authentication methods [% x]; set it to none (00) or to user name and password (02), any will do", methods))
	}
	switch {
	case err == nil:
		return nil
	case n.ioErr != nil:
		return n.ioErr
	case errors.Is(err, socks5.UserAuthFailed): // which the authenticator has answered
		return n.answer(nil, errors.New("the client sent a wrong user name or password"))
	default: // all that is left for the authenticator to object to
		return n.answer([]byte{authVersion, authFailure}, errors.New(
			"the client chose to send a user name and password, but sent something else"))
	}
}

// statusOnly drops the method reply, which the authenticator writes first, and
// lets the status pass: the client has had its method reply.
type statusOnly struct{ w io.Writer }

func (s statusOnly) Write(p []byte) (int, error) {
	if p[0] == Version {
		return len(p), nil
	}
	return s.w.Write(p)
}

// request reads the request (RFC 1928, section 4) and refuses it, or leaves it
// in n.req. RSV may hold anything.
func (n *negotiation) request() error {
	n.stage = StageRequest
	head, err := n.peek(1) // a wrong version need not wait for more
	if err != nil {
		return err
	}
	if head[0] != Version {
		return n.refuse(GeneralFailure, fmt.Errorf("the request starts with 0x%02x, where SOCKS5 has 0x05", head[0]))
	}
	if head, err = n.peek(4); err != nil {
		return err
	}
	switch atyp := head[3]; atyp {
	case atypIPv4, atypName, atypIPv6:
	default: // of unknown length, so nothing after it can be read
		return n.refuse(AddressTypeNotSupported, fmt.Errorf("the request has the unknown address type 0x%02x", atyp))
	}
	// The whole request is read before any refusal: an unread rest would turn
	// the close into a reset, which can overtake the reply.
	msg, err := socks5.NewRequest(n)
	if err != nil {
		return err // of conn, as the parser has nothing left to object to
	}
	n.req.Command = Command(msg.Command)
	if c := n.req.Command; c != CommandConnect && c != CommandResolve {
		return n.refuse(CommandNotSupported, fmt.Errorf("the client asks for %v; this proxy has CONNECT only, and Tor's RESOLVE", c))
	}
	if n.req.Dest, err = destination(n.req.Command, msg.DestAddr); err != nil {
		return n.refuse(GeneralFailure, err)
	}
	return nil
}

// refuse answers the request with code and returns why.
func (n *negotiation) refuse(code ReplyCode, why error) error {
	err := n.answer(message(code), why)
	if n.ioErr == nil {
		n.replied = code
	}
	return err
}

// answer sends the last message of a failed negotiation and returns why.
func (n *negotiation) answer(msg []byte, why error) error {
	n.Write(msg)
	if err := n.flush(); err != nil {
		return fmt.Errorf("%w; telling the client failed: %w", why, err)
	}
	return why
}
