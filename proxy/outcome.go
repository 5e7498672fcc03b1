package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/internal/errno"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// Outcome is how a session ended.
type Outcome struct {
	Number    uint64    `json:"number,omitempty"`
	Inbound   bool      `json:"inbound,omitempty"`
	Count     uint64    `json:"count"`   // of sessions that ended alike; the other fields are about the last
	First     time.Time `json:"first"`   // the end of the first of them
	Time      time.Time `json:"time"`    // of its end
	Seconds   float64   `json:"seconds"` // that it took
	Client    string    `json:"client"`  // as in SessionInfo, and so the next two
	Dest      string    `json:"dest,omitempty"`
	Source    string    `json:"source,omitempty"`
	Network   string    `json:"network,omitempty"`
	Transport string    `json:"transport,omitempty"`
	PeerAgent string    `json:"peer_agent,omitempty"`
	Kind      string    `json:"kind,omitempty"` // of a refusal, one of RefusalKinds or InboundRefusalKinds
	Reason    string    `json:"reason"`
	Hint      string    `json:"hint,omitempty"` // what the user can do about it

	why     *refusal
	like    alike
	evicted bool // a session of a peer, for another peer
}

// Failure is what Server.Hint makes a hint from.
type Failure struct {
	Kind string // one of RefusalKinds, or InboundRefusalKinds if Inbound

	// Inbound reports whether it is of a peer's session.
	Inbound bool

	// Err is the cause, without addresses if the hint is for a log that has none. It is
	// nil if all sessions of late have failed, and most of them were of that Kind.
	Err error

	// Dest is the destination, "host:port"; it is empty if it is not known, or if the hint
	// is for a log that has no addresses.
	Dest string

	// Client is why the client needed the password that it did not give.
	Client error

	// V1 reports whether v1 could have followed a failed handshake, and NotOverlay, if
	// it is not nil, why the destination's network does not count as one that encrypts.
	V1         bool
	NotOverlay error
}

// hint returns what the user can do about f.
func (s *Server) hint(f Failure) string {
	if s.Hint == nil {
		return ""
	}
	return s.Hint(f)
}

// cause returns errStopping if the server ended the session, else err, with the side
// whose connection failed.
func (s *session) cause(err error) error {
	if s.wasInterrupted() {
		return errStopping
	}
	if op, ok := err.(*net.OpError); ok && op.Addr != nil && (errors.Is(err, errno.ETIMEDOUT) || s.opened() && !isTimeout(err)) {
		side := v1v2.PeerSide
		if s.client != nil && op.Addr.String() == s.client.RemoteAddr().String() {
			side = v1v2.ClientSide
		}
		return &v1v2.EndError{Side: side, Err: err}
	}
	return err
}

// outcomeOf returns how the session ended; err is its cause.
func (s *session) outcomeOf(err error) Outcome {
	info := s.info()
	o := Outcome{
		Number: info.Number, Inbound: info.Inbound, Time: time.Now(), Seconds: time.Since(info.Began).Seconds(),
		Client: info.Client, Dest: info.Dest, Source: info.Source, Network: info.Network, Transport: info.Transport, PeerAgent: info.PeerAgent,
		why: s.refusalOf(err),
	}
	o.Reason, o.Hint = s.explain(o.why, err, false)
	if !s.opened() {
		o.Kind = o.why.kind
	}
	if s.peer != nil {
		o.evicted = errors.Is(err, inbound.ErrEvicted)
		o.like = s.inboundLike(o)
		return o
	}
	o.like = alike{kind: o.Kind, transport: o.Transport, dest: fallback.CanonicalAddr(o.Dest)}
	if o.Dest == "" {
		o.like.reason = o.Reason
	}
	if o.Dest == "" || o.why.by == clientCaused {
		o.like.client, _, _ = net.SplitHostPort(o.Client)
	}
	return o
}

// refusalOf returns the row of the table for the session's direction that recognises err.
func (s *session) refusalOf(err error) *refusal {
	if s.peer != nil {
		return rowOf(inboundRefusals, err)
	}
	return refusalOf(err)
}

// inboundLike returns what o has in common with outcomes of other sessions of peers: the
// network of the peer, or the node where that is the cause.
func (s *session) inboundLike(o Outcome) alike {
	like := alike{kind: o.Kind, transport: o.Transport, dest: s.from.String()}
	if o.Kind == KindNode {
		like.dest, like.client = "", o.Client
	}
	return like
}

// opened reports whether both ends were settled.
func (s *session) opened() bool { return s.shown.Transport != "" }

// explain says in words why the session ended with err and what the user can do about
// it, if anything; redacted leaves out all addresses.
func (s *session) explain(why *refusal, err error, redacted bool) (reason, hint string) {
	if s.peer != nil {
		if redacted {
			err = redact(err)
		}
		if s.up.Bytes.Load() == 0 { // a node that has sent something is up, and may close a connection
			hint = s.server.hint(Failure{Kind: why.kind, Inbound: true, Err: err})
		}
		return why.explain(err, s.shown.Network), hint
	}
	f := Failure{Kind: why.kind, Dest: s.shown.Dest, V1: s.dialer.MayFallBack(s.shown.Dest), NotOverlay: s.notOverlay(err)}
	var negotiation *socks.NegotiationError
	if s.public && errors.As(err, &negotiation) && negotiation.Stage == socks.StageAuth {
		f.Client = s.policy.Clients.Check(s.client.RemoteAddr())
	}
	if redacted {
		err, f.Client, f.Dest = redact(err), redact(f.Client), ""
	}
	f.Err = err
	return why.explain(err, s.shown.Network), s.server.hint(f)
}

// notOverlay returns why the network of the session's destination does not count as one
// that encrypts, if v1 is allowed only in such and its address looks like one of theirs.
func (s *session) notOverlay(err error) error {
	var overlay *fallback.OverlayError
	if errors.As(err, &overlay) {
		return overlay.Err
	}
	dest, _ := socks.ParseAddr(s.shown.Dest)
	if why := s.policy.mayBeOverlay(dest); s.dialer.Mode == fallback.Overlay && why != errClearnet {
		return why
	}
	return nil
}

// isTimeout reports whether err is that a deadline has passed.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}
