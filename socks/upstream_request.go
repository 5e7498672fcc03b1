package socks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Causes of an UpstreamError for which the remedy depends on the caller.
var (
	// ErrCredentialsRequired reports that the proxy requires credentials, and was offered
	// none or only the Upstream's Mark.
	ErrCredentialsRequired = errors.New("it requires a user name and password: write them into its URL, as in socks5://user:password@host:port")
	// ErrCredentialsUnsupported reports that the proxy was offered only credentials, and
	// supports none.
	ErrCredentialsUnsupported = errors.New("it does not support a user name and password, which isolate connections: switch off stream isolation in the client and omit them from the proxy's URL")
	// ErrCredentialsRejected reports that the proxy refused the credentials.
	ErrCredentialsRejected = errors.New("it refused the user name and password")
)

// NotSOCKS5Error reports an upstream proxy that does not speak SOCKS5.
type NotSOCKS5Error struct {
	First byte // of its answer
}

func (e *NotSOCKS5Error) Error() string {
	return fmt.Sprintf("it does not speak SOCKS5: its first byte is 0x%02x, not 0x05", e.First)
}

// upstreamRequest is one request to an upstream proxy on its way.
type upstreamRequest struct {
	upstream    *Upstream
	command     Command
	dest        Addr
	credentials Credentials
	optional    bool // the proxy may choose no authentication

	stage Stage
	code  ReplyCode
}

// send makes the request on conn, which the caller closes on an error. It reads nothing
// beyond the reply.
func (q *upstreamRequest) send(ctx context.Context, conn net.Conn) (netip.Addr, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	bound, err := q.converse(conn)
	if !stop() && q.code == Succeeded { // the deadline is set, or about to be
		err = ctx.Err()
	}
	if err != nil || q.code != Succeeded {
		return netip.Addr{}, q.failed(err)
	}
	return bound, nil
}

func (q *upstreamRequest) failed(err error) *UpstreamError {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &UpstreamError{Op: q.command, Dest: q.dest.of(q.command), Upstream: q.upstream.Address, Stage: q.stage, Code: q.code, Err: err}
}

// converse returns the address in the reply. If it sets q.code, the proxy has refused, and
// the rest of its reply is unread.
func (q *upstreamRequest) converse(conn net.Conn) (bound netip.Addr, err error) {
	q.stage = StageGreeting
	method, err := q.greet(conn)
	if err == nil && method == methodUserPass {
		q.stage = StageAuth
		err = q.authenticate(conn)
	}
	if err != nil {
		return bound, err
	}
	q.stage = StageRequest
	if q.command == 0 {
		return bound, nil
	}
	if _, err := conn.Write(q.message()); err != nil {
		return bound, err
	}
	return q.reply(conn)
}

// greet returns the method that the proxy chose. With credentials it offers no other
// method, unless they are optional: a proxy that ignored them would silently end the
// isolation of streams.
func (q *upstreamRequest) greet(conn net.Conn) (method byte, err error) {
	methods := []byte{methodNone}
	switch {
	case q.optional:
		methods = []byte{methodUserPass, methodNone}
	case !q.credentials.isZero():
		methods = []byte{methodUserPass}
	}
	if _, err := conn.Write(append([]byte{Version, byte(len(methods))}, methods...)); err != nil {
		return 0, err
	}
	var chosen [2]byte
	if _, err := io.ReadFull(conn, chosen[:]); err != nil {
		return 0, err
	}
	switch {
	case chosen[0] != Version:
		return 0, &NotSOCKS5Error{chosen[0]}
	case slices.Contains(methods, chosen[1]):
		return chosen[1], nil
	case chosen[1] == noMethod && methods[0] == methodUserPass && !q.optional:
		return 0, ErrCredentialsUnsupported
	case chosen[1] == noMethod:
		return 0, ErrCredentialsRequired
	}
	return 0, fmt.Errorf("it chose the authentication method 0x%02x, which it was not offered", chosen[1])
}

// authenticate performs RFC 1929, section 2.
func (q *upstreamRequest) authenticate(conn net.Conn) error {
	user, password := q.credentials.Username, q.credentials.Password
	if len(user) > maxField || len(password) > maxField {
		return errors.New("the user name or password for it has more than 255 bytes")
	}
	msg := append([]byte{authVersion, byte(len(user))}, user...)
	msg = append(append(msg, byte(len(password))), password...)
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	var status [2]byte
	if _, err := io.ReadFull(conn, status[:]); err != nil {
		return err
	}
	switch {
	case status[0] != authVersion:
		return fmt.Errorf("it answered the user name and password with 0x%02x, not with 0x01", status[0])
	case status[1] != 0 && q.optional:
		return ErrCredentialsRequired
	case status[1] != 0:
		return ErrCredentialsRejected
	}
	return nil
}

// message returns the request (RFC 1928, section 4).
func (q *upstreamRequest) message() []byte {
	msg := []byte{Version, byte(q.command), 0}
	if q.dest.Binary {
		msg = appendIP(msg, q.dest.IP)
	} else { // Host is the name or address that the rules were applied to
		msg = append(append(msg, atypName, byte(len(q.dest.Host))), q.dest.Host...)
	}
	return binary.BigEndian.AppendUint16(msg, q.dest.Port)
}

// appendIP appends ATYP and the address.
func appendIP(msg []byte, ip netip.Addr) []byte {
	atyp := byte(atypIPv6)
	if ip.Is4() {
		atyp = atypIPv4
	}
	return append(append(msg, atyp), ip.AsSlice()...)
}

// reply reads the reply (RFC 1928, section 6). Of a refusal it reads only the code: Tor
// refuses RESOLVE with address type 0.
func (q *upstreamRequest) reply(conn net.Conn) (bound netip.Addr, err error) {
	var head [5]byte // VER REP, RSV ATYP and the first byte of the address
	if _, err := io.ReadFull(conn, head[:2]); err != nil {
		return bound, err
	}
	if head[0] != Version {
		return bound, fmt.Errorf("the first byte of its reply is 0x%02x, not 0x05", head[0])
	}
	if q.code = ReplyCode(head[1]); q.code != Succeeded {
		return bound, nil
	}
	if _, err := io.ReadFull(conn, head[2:]); err != nil {
		return bound, err
	}
	if head[2] != 0 {
		return bound, fmt.Errorf("the reserved byte of its reply is 0x%02x, not 0", head[2])
	}
	var size int
	switch head[3] {
	case atypIPv4:
		size = 4
	case atypIPv6:
		size = 16
	case atypName:
		size = 1 + int(head[4])
	default:
		return bound, fmt.Errorf("its reply has the unknown address type 0x%02x", head[3])
	}
	addr := append(make([]byte, 0, size+2), head[4])[:size+2] // with the port
	if _, err := io.ReadFull(conn, addr[1:]); err != nil {
		return bound, err
	}
	if head[3] != atypName {
		bound, _ = netip.AddrFromSlice(addr[:size])
	}
	if q.command == CommandResolve && !bound.IsValid() {
		return bound, errors.New("it answered RESOLVE with a name")
	}
	return bound.Unmap(), nil
}
