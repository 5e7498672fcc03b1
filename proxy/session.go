package proxy

import (
	"bufio"
	"cmp"
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// session is a client's connection and the connection made for it, or a peer's connection
// and the one made to the node for it: then the client is the node.
type session struct {
	lifetime
	server  *Server
	budget  *budget
	policy  *Policy
	peer    *inboundPeer   // nil in a session of a client
	client  *stream.Socket // nil until the node is connected to
	from    netip.Prefix   // the clientNetwork of client
	in      *stream.Reader // reads client; only a relay reads the socket itself
	public  bool           // the listener accepts clients of other hosts
	about   listener       // that accepted the client
	refusal error          // if not nil: why the client is only told that it is refused

	// dialer is the policy's, except from dial until v2 is open.
	dialer *fallback.Dialer

	magic    [4]byte      // of a client that speaks v1
	messages *v1v2.Reader // from such a client, on in
	up, down v1v2.Counts  // to the peer, to the client
	early    []func()     // log what was dropped before the session opened, the first of each kind

	mu      sync.Mutex               // guards what follows
	shown   SessionInfo              // see show
	shaping func() transport.Shaping // of the v2 connection; nil without one
	changes []transport.ShapeChange  // that are logged once the session is open
	told    bool                     // whether it is open: further changes are logged at once
}

func newSession(server *Server, conn net.Conn, about listener, public bool, number uint64) *session {
	policy, client := server.policy(), stream.NewSocket(conn)
	s := &session{
		server: server,
		budget: &server.outbound,
		policy: policy,
		client: client,
		from:   clientNetwork(client.RemoteAddr()),
		in:     stream.NewReader(client),
		about:  about,
		public: public,
		dialer: &policy.Dialer,
	}
	s.shown = SessionInfo{Number: number, Began: time.Now(), State: StateAsking, Client: clientName(client.RemoteAddr())}
	s.up.OnDrop = func(d v1v2.Dropped) { s.firstDropped("to_peer", d) }
	s.down.OnDrop = func(d v1v2.Dropped) { s.firstDropped("to_client", d) }
	s.in.SetMemory((*stream.Memory)(s.budget.memory))
	s.own(client)
	return s
}

// serve runs the session and releases all that it holds, and then calls done with the reason
// of its end: nil if both sides closed it, or if the client asked for an address only.
func (s *session) serve(ctx context.Context, done func(error)) {
	settle := s.settle
	if s.peer != nil {
		settle = s.settleInbound
	}
	relay, err := settle(ctx)
	if err != nil {
		done(s.release(err))
		return
	}
	s.server.running.Add(1)
	relay(func(err error) {
		done(s.release(err))
		s.server.running.Done()
	})
}

// release releases what the session holds, and returns why it has ended: err, unless it was
// closed for another reason before.
func (s *session) release(err error) error {
	failure := s.fail(nil)
	if s.messages != nil {
		s.messages.Release()
	}
	return cmp.Or(failure, err)
}

// relaying starts to relay between both ends of a session, and calls end with the reason of its
// end. Setup needs a deep stack for milliseconds, relaying a shallow one for months: relaying gets
// goroutines of its own.
type relaying func(end func(error))

// relayingBy returns the relaying that relay does.
func relayingBy(relay func() error) relaying {
	return func(end func(error)) { go func() { end(relay()) }() }
}

// settle is the story of a session until both ends are settled. It returns what relays
// between them from then on.
func (s *session) settle(ctx context.Context) (relay relaying, err error) {
	request, err := s.ask()
	if err != nil {
		return nil, err
	}
	if err := s.server.negotiated(s); err != nil {
		return nil, err
	}
	if s.refusal != nil {
		return nil, refuse(request, socks.GeneralFailure, s.refusal)
	}
	if request.Command == socks.CommandResolve {
		return relayingBy(func() error { return s.resolve(ctx, request) }), nil
	}
	peer, err := s.dial(ctx, request)
	if err != nil {
		return nil, err
	}
	if request.Reply(socks.Succeeded) != nil {
		return nil, errClientLeft
	}
	s.show(func(info *SessionInfo) { info.State = StateGranted })
	raw, v1, err := s.peek(peer)
	if err != nil {
		return nil, err
	}
	if !v1 {
		return s.passThrough(raw)
	}
	heard, err := s.takeBack(raw)
	if err != nil {
		return nil, err
	}
	version, err := s.firstMessage()
	if err != nil {
		return nil, err
	}
	link, err := s.upgrade(ctx, peer, &version, heard)
	switch {
	case err != nil:
		return nil, err
	case link.V2 != nil:
		return s.speakV2(link.V2), nil
	case link.V1 != peer:
		heard = nil // the peer said it on another connection
	}
	return s.speakV1(link, &version, heard)
}

// peek finds out whether the client speaks v1. Meanwhile the peer may speak first: raw
// passes that on after holdFor, and is the passthrough if the client does not speak v1.
// It is nil if passthrough is denied.
func (s *session) peek(peer *stream.Socket) (raw *rawRelay, v1 bool, err error) {
	if !s.policy.DenyPassthrough {
		raw = s.startRelay(peer)
	}
	v1, err = s.classify(raw)
	switch {
	case raw == nil:
	case err != nil:
		s.breakRelay(raw, err)
		raw.opening.decide(false)
		<-raw.down
		err = raw.cause
	case !v1:
		raw.opening.decide(false)
	}
	return raw, v1, err
}

// classify reads the client's first bytes and reports whether they are v1.
func (s *session) classify(raw *rawRelay) (v1 bool, err error) {
	for {
		s.limitFirstBytes()
		s.magic, v1, err = v1v2.Classify(s.in)
		switch {
		case err == nil:
			return v1, nil
		case !isTimeout(err) || s.client.Interrupted():
			return false, &v1v2.EndError{Side: v1v2.ClientSide, Err: err}
		case raw == nil || !raw.opening.hasPassed():
			return false, &silentClientError{said: s.in.Buffered()}
		} // else only the peer talks, as in some other protocols
	}
}

// limitFirstBytes sets the deadline of the client's first bytes.
func (s *session) limitFirstBytes() {
	s.client.SetReadDeadline(time.Now().Add(s.server.firstBytesTimeout()))
}

// firstMessage returns the client's first valid message, a VERSION as a rule.
func (s *session) firstMessage() (v1v2.Message, error) {
	s.messages = s.newMessages()
	for {
		m, ok, err := s.messages.Next()
		if err != nil {
			return m, &v1v2.EndError{Side: v1v2.ClientSide, Err: err}
		}
		if ok {
			return m, nil
		}
		s.up.Drop(m.Dropped())
	}
}

// upgrade settles whether to speak v2 or v1 with the peer, which has sent heard so far.
// With v2 the client's first message is sent, with v1 nothing is.
func (s *session) upgrade(ctx context.Context, peer *stream.Socket, first *v1v2.Message, heard []byte) (fallback.Link, error) {
	if first.Type == v1v2.TypeOf("version") {
		s.up.NoteVersion(first.Payload())
	}
	s.show(func(info *SessionInfo) { info.State, info.Network = StateHandshake, transport.NetworkName(s.magic) })
	first.Detach()
	size := len(first.Raw())
	began := time.Now()
	ctx, release := s.contextUntilClientLeaves(ctx)
	cfg := s.transportConfig()
	cfg.First, cfg.Received = [][]byte{first.Contents()}, heard
	link, err := s.dialer.Upgrade(ctx, peer, s.shown.Dest, cfg)
	release()
	switch {
	case err != nil && isA[*clientLeftError](context.Cause(ctx)):
		return link, s.whyClientLeft(err, time.Since(began))
	case err != nil:
		return link, err
	case link.V1 != nil:
		return link, nil
	}
	if err := s.own(link.V2); err != nil { // perhaps another connection than peer
		link.V2.Wipe()
		return link, err
	}
	dest, conn := s.shown.Dest, link.V2.NetConn()
	peers, dial, direct := s.dialer.Peers, s.dialer.Dial, s.dialer.Direct
	s.onEnd(func() { // known for 30 days from then on
		d := fallback.Dialer{Peers: peers, Dial: dial, Direct: direct}
		d.NoteV2(dest, conn)
	})
	s.dialer = &s.policy.Dialer // frees the other, and the addresses that it remembers
	s.count(func(t *tally) { t.observeHandshake(time.Since(began)) })
	s.up.Add(first.Type, size)
	return link, nil
}

// transportConfig returns what the v2 connections of both directions have in common.
func (s *session) transportConfig() transport.Config {
	return transport.Config{
		Magic:        s.magic,
		Memory:       s.budget.memory,
		ReadTimeout:  s.server.idleTimeout(),
		WriteTimeout: s.server.idleTimeout(),
		Semaphore:    s.budget.turns,
		Shape:        s.shape(),
	}
}

// contextUntilClientLeaves returns a context that ends when the client closes its
// connection: a client that has given up must not cause another dial, least of all one
// for v1. The cause is a *clientLeftError. Call release before the client is read again.
func (s *session) contextUntilClientLeaves(ctx context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	began := time.Now()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		_, err := s.in.Peek(s.in.Buffered() + 1)
		if err != nil && !isTimeout(err) && err != bufio.ErrBufferFull {
			cancel(&clientLeftError{time.Since(began)})
		}
	}()
	return ctx, func() {
		s.client.Wake()
		<-watched
		s.in.SetIdle(s.server.idleTimeout())
		cancel(nil)
	}
}

// whyClientLeft returns why a client left during the handshake that failed with err: because
// it took the peer too long, or for an unknown reason of its own. Clients wait for 5 s at
// least.
func (s *session) whyClientLeft(err error, took time.Duration) error {
	if took >= s.dialer.SilentAfter() && isA[*transport.HandshakeError](err) && !isA[*fallback.RedialError](err) {
		return err
	}
	return errClientLeft
}

// speakV2 opens the session between a v1 client and a v2 peer.
func (s *session) speakV2(peer *transport.Conn) relaying {
	s.setShaping(peer.Shaping)
	s.openV2(peer)
	conn := v1v2.NewConn(peer, s.magic)
	conn.Sent, conn.Received = &s.up, &s.down
	return func(end func(error)) { s.bridge(peer, conn, end) }
}

// openV2 opens the session, whose peer speaks v2.
func (s *session) openV2(peer *transport.Conn) {
	s.watch(progress(&s.up), progress(&s.down))
	id := peer.SessionID()
	hexID := hex.EncodeToString(id[:])
	s.show(func(info *SessionInfo) { info.SessionID = hexID })
	args := []any{"session_id", hexID}
	if s.shapingNow().Shape != "" { // pad until cells begin
		args = append(args, "shape", s.shape().Mode.String())
	}
	s.logOpen("v2", args...)
}

// bridge translates until either side ends, and then calls end; peer is on v2. It passes on the
// end of one side's stream and gives the other direction LingerTimeout to finish.
func (s *session) bridge(v2 *transport.Conn, peer *v1v2.Conn, end func(error)) {
	out := stream.NewWriter(s.client)
	out.SetStall(s.server.idleTimeout())
	peer.Brief = true
	ends := make(chan error, 2)
	down := direction{v2, func() error { _, err := peer.WriteTo(out); return err }, func(err error) {
		v2.Release() // not when the session has lingered
		err = ended(v1v2.PeerSide, err)
		if s.clientLeft(err) && s.holdsBack() {
			s.awaitSent(v2)
		}
		ends <- err
		s.endOther(err, s.client.CloseWrite)
	}}
	up := direction{s.in, func() error { _, err := peer.ReadFrom(s.messages); return err }, func(err error) {
		s.messages.ReleaseLast()
		err = ended(v1v2.ClientSide, err)
		ends <- err
		s.endOther(err, peer.CloseWrite)

		first := <-ends
		<-ends
		if s.peer == nil {
			peer.Close()
		}
		s.linger(s.server.lingerTimeout())
		peer.Close()
		end(first)
	}}
	down.start(true)
	up.start(true)
}

// direction is one direction of a bridge.
type direction struct {
	from  source
	relay func() error // what has arrived; v1v2.ErrBrief means that the direction goes on
	end   func(error)
}

// source is a *stream.Reader or a *transport.Conn.
type source interface {
	Extend()
	Await()
}

// restAfter is how long a direction must have waited to wait with a new stack again.
const restAfter = time.Second

// start starts the direction, in a new goroutine. That waits with a stack of 2 KiB until it has
// relayed something, which takes 4 KiB, as does setting a deadline.
func (d *direction) start(first bool) {
	d.from.Extend()
	go d.run(first)
}

// run relays until the direction ends, or goes on in a new goroutine if it mostly waits.
func (d *direction) run(first bool) {
	for {
		began := time.Now()
		d.from.Await()
		if err := d.relay(); err != v1v2.ErrBrief {
			d.end(err)
			return
		}
		if first || time.Since(began) >= restAfter {
			d.start(false)
			return
		}
	}
}

// ended returns the error of a direction, also if it is that a side has closed its stream.
func ended(by v1v2.Side, err error) error {
	if err == nil {
		return &v1v2.EndError{Side: by, Err: io.EOF}
	}
	return err
}
