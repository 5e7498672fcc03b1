package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/plain"
	"bip324proxy/internal/stream"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// ErrNoEgress is a destination that cannot be reached from this machine.
var ErrNoEgress = errors.New("names of Tor and I2P can be reached only through those networks")

// The ways for a session to end that no other package has a word for.
var (
	// errPeerFirst is a peer whose first bytes have gone to a client that then spoke
	// v1. To go on as a passthrough would send the client's VERSION in plaintext.
	errPeerFirst = errors.New("the peer sent data before the client's VERSION")

	errNotTor            = errors.New("0.0.0.0 is no name; who asks for it wants to know whether this is Tor, and it is not")
	errProbe             = errors.New("192.0.2.1 is nobody's; who asks for it, as check does, wants to know who answers here")
	errOwnAddress        = errors.New("the destination is the proxy itself")
	errOwnUpstream       = errors.New("the upstream proxy is the proxy itself")
	errPeerClosed        = errors.New("the peer closed the connection before anything was said")
	errClientLeft        = errors.New("the client closed the connection before anything was settled")
	errPassthroughDenied = errors.New("the client does not speak v1, and passthrough is denied")
	errStopping          = errors.New("the proxy is stopping")
)

// silentClientError is a client that, once it was granted its connection, did not
// say enough to tell what it speaks.
type silentClientError struct {
	said int // bytes
}

func (e *silentClientError) Error() string {
	if e.said == 0 {
		return "the client said nothing after its connection was granted"
	}
	return fmt.Sprintf("the client said only %d bytes after its connection was granted, too few to tell what it speaks", e.said)
}

// dialError is a destination that could not be connected to.
type dialError struct {
	code socks.ReplyCode // what the client was told
	err  error
}

func (e *dialError) Error() string {
	return fmt.Sprintf("cannot connect (the client was told: %v): %s", e.code, plain.Words(e.err))
}

func (e *dialError) Unwrap() error { return e.err }

// resolveError is a name that could not be resolved for a client.
type resolveError struct {
	code socks.ReplyCode // what the client was told
	err  error
}

func (e *resolveError) Error() string {
	return fmt.Sprintf("cannot resolve (the client was told: %v): %s", e.code, plain.Words(e.err))
}

func (e *resolveError) Unwrap() error { return e.err }

// isProbe reports whether a client only wanted to know who answers.
func isProbe(err error) bool { return errors.Is(err, errNotTor) || errors.Is(err, errProbe) }

// clientName is what the log and the status call a client: by its address, if it has one.
func clientName(addr net.Addr) string {
	if _, ok := addr.(*net.UnixAddr); ok {
		return "unix"
	}
	return addr.String()
}

// isClient reports whether addr is the client's, and not the peer's.
func (s *session) isClient(addr net.Addr) bool {
	return addr.String() == s.client.RemoteAddr().String()
}

// ended is err, or what it followed from, with the side that a connection of an open
// session is on.
func (s *session) ended(err error) error {
	if s.wasInterrupted() {
		return errStopping
	}
	if op, ok := err.(*net.OpError); ok && s.opened() && op.Addr != nil && !errors.Is(err, errno.ETIMEDOUT) && !isTimeout(err) {
		side := v1v2.Peer
		if s.isClient(op.Addr) {
			side = v1v2.Client
		}
		return &v1v2.EndError{Side: side, Err: err}
	}
	return err
}

// end says how the session ended, with err.
func (s *session) end(err error) Ended {
	info := s.info()
	end := Ended{
		Number: info.Number, Time: time.Now(), Seconds: time.Since(info.Began).Seconds(),
		Client: info.Client, Dest: info.Dest, Network: info.Network, Transport: info.Transport, PeerAgent: info.PeerAgent,
	}
	end.Reason, end.Hint = s.explain(err)
	if !s.opened() {
		end.Kind = refusalKind(err)
	}
	end.like = alike{kind: end.Kind, transport: end.Transport, dest: fallback.CanonicalAddr(end.Dest)}
	if end.Dest == "" {
		end.like.reason = end.Reason
	}
	if end.Dest == "" || slices.Contains(faultsOfClients, end.Kind) {
		end.like.client, _, _ = net.SplitHostPort(end.Client)
	}
	return end
}

// opened says that both ends were settled.
func (s *session) opened() bool { return s.shown.Transport != "" }

// level is that of a session refused with err, which is of kind: a warning if the
// user should look, less for what happens every day.
func level(kind string, err error) slog.Level {
	var dial *dialError
	switch kind {
	case kindClientLeft, kindTooMany: // who looked whether the port is open, or gave up; what has a line for many
		return slog.LevelDebug
	case kindNotAllowed:
		if isOwnClient(err) { // check, most likely
			return slog.LevelInfo
		}
	case kindResolve:
		if isProbe(err) {
			return slog.LevelDebug
		}
		return slog.LevelInfo
	case kindSilent, kindRedial, kindNoEgress, kindStopping: // most addresses that a node hears of are dead, full or old
		return slog.LevelInfo
	case kindHandshake:
		if errors.Is(err, transport.ErrV1Peer) { // an old node
			return slog.LevelInfo
		}
	case kindDial:
		if errors.As(err, &dial) && dial.code != socks.GeneralFailure && dial.code != socks.NotAllowed {
			return slog.LevelInfo
		}
	case kindPeer:
		if errors.Is(err, errPeerClosed) {
			return slog.LevelInfo
		}
	}
	return slog.LevelWarn
}

// explain says why a session ended and, if the user can do something about it,
// what.
func (s *session) explain(err error) (reason, hint string) {
	var failed *transport.HandshakeError
	var redial *fallback.RedialError
	var end *v1v2.EndError
	var dial *dialError
	var denied *rules.DeniedError
	var client *rules.ClientError
	var negotiation *socks.NegotiationError
	switch {
	case err == nil:
		return "both sides closed the connection", ""
	case errors.Is(err, errClientLeft):
		return errClientLeft.Error(), ""
	case errors.As(err, new(*NoDestinationError)):
		return err.Error(), "set this proxy as the client's SOCKS5 proxy; or, if that is what the client is made for, have it put its peer's address there"
	case errors.As(err, &client):
		return err.Error(), clientHint(client)
	case errors.As(err, &denied):
		if denied.Rule == "" {
			return err.Error(), "if clients may go there, run with --allow " + denied.Dest
		}
		return err.Error(), ""
	case errors.As(err, &negotiation) && negotiation.Stage == socks.StageAuth && s.public:
		return err.Error(), s.authHint()
	case errors.As(err, new(*resolveError)), errors.As(err, &dial):
		return err.Error(), dialHint(err)
	case errors.As(err, &negotiation):
		return err.Error(), ""
	case errors.As(err, &redial):
		if reason = redial.First.Error(); errors.As(redial.First, &failed) {
			reason, _ = s.explainHandshake(failed, nil)
		}
		return fmt.Sprintf("%s, and a second connection failed: %s", reason, plain.Words(redial.Err)), ""
	case errors.As(err, &failed):
		return s.explainHandshake(failed, s.notOverlay(err))
	case errors.As(err, &end):
		return explainEnd(end), ""
	case errors.Is(err, errPeerClosed):
		return err.Error(), "it may be full: a node with no slot free for another connection hangs up at once; or it bans this address"
	case errors.Is(err, errPassthroughDenied):
		return err.Error(), "switch off the client's own v2 transport, or run with --passthrough allow"
	case errors.Is(err, ErrNoEgress):
		return err.Error(), "this proxy connects directly; set the client's own proxy for such addresses (Bitcoin Core: -onion=, -i2psam=)"
	case errors.Is(err, errno.ETIMEDOUT):
		return s.explainVanished(err), ""
	case isTimeout(err):
		return "nothing moved for too long", ""
	}
	return plain.Words(err), ""
}

// notOverlay returns why the network of the session's destination does not count as one
// that encrypts, if v1 is allowed only in such and its address looks like one of theirs.
func (s *session) notOverlay(err error) error {
	var overlay *fallback.OverlayError
	if errors.As(err, &overlay) {
		return overlay.Err
	}
	host, _, _ := net.SplitHostPort(s.shown.Dest)
	if why := s.policy.mayBeOverlay(host); s.dialer.Mode == fallback.Overlay && why != errClearnet {
		return why
	}
	return nil
}

func explainEnd(e *v1v2.EndError) string {
	switch {
	case e.Err == io.EOF:
		return fmt.Sprintf("the %s closed the connection", e.Side)
	case e.Err == io.ErrUnexpectedEOF:
		return fmt.Sprintf("the %s closed the connection within a message", e.Side)
	case errors.Is(e, stream.ErrMemory):
		return fmt.Sprintf("no memory for a large message from the %s became free in time: all sessions together have used up --message-memory", e.Side)
	case errors.Is(e, errUnacknowledged), errors.Is(e, errno.ETIMEDOUT):
		return fmt.Sprintf("the %s does not acknowledge what is sent to it: it has vanished, or the way to it", e.Side)
	case isTimeout(e):
		return fmt.Sprintf("the %s neither sent nor took anything for too long", e.Side)
	}
	return fmt.Sprintf("the %s: %s", e.Side, plain.Words(e.Err))
}

// isTimeout says that a deadline of ours went by.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}
