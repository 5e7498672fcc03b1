package proxy

import (
	"bufio"
	"cmp"
	"context"
	"encoding/hex"
	"net"
	"sync"
	"time"

	"bip324proxy/transport/fallback"

	"bip324proxy/internal/stream"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// session is one client's connection and the connection made for it.
type session struct {
	lifetime
	server  *Server
	policy  *Policy
	client  *stream.Socket
	in      *stream.Reader // all that is read from client, but for a relay's bytes
	public  bool           // the listener is open to others than this machine
	fixed   string         // where the listener's clients go, if they are not asked
	refusal error          // why the client gets no more than an answer, if so
	dialer  fallback.Dialer

	ids      v1v2.PeerIDs
	up, down v1v2.Counts    // to the peer, to the client
	early    []v1v2.Dropped // of those to the peer the first of each kind, before the session opened

	mu    sync.Mutex  // guards shown
	shown SessionInfo // see show
}

func newSession(server *Server, conn net.Conn, fixed string, public bool, number uint64) *session {
	policy, client := server.policy(), stream.NewSocket(conn)
	s := &session{
		server: server,
		policy: policy,
		client: client,
		in:     stream.NewReader(client),
		fixed:  fixed,
		public: public,
		dialer: policy.Dialer,
	}
	s.shown = SessionInfo{Number: number, Began: time.Now(), State: StateAsking, Client: clientName(client.RemoteAddr())}
	s.up.OnDrop = func(d v1v2.Dropped) { s.firstDropped("to_peer", d) }
	s.down.OnDrop = func(d v1v2.Dropped) { s.firstDropped("to_client", d) }
	s.in.SetMemory(server.memory)
	s.own(client)
	return s
}

// serve runs the session and leaves nothing behind. The error says how it ended.
func (s *session) serve(ctx context.Context) error {
	err := s.run(ctx)
	s.close()
	return cmp.Or(s.failed(), err)
}

// run settles both ends and has them talk. The error says how the session ended: nil
// if both sides closed it, or if the client only wanted to know an address.
func (s *session) run(ctx context.Context) error {
	var talk func() error
	var err error
	// To settle takes a deep stack and a moment, to talk half the stack and months.
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		talk, err = s.settle(ctx)
	}()
	if <-settled; err != nil {
		return err
	}
	return talk()
}

// settle is the story of one connection until both ends are settled. It returns what
// they do then.
func (s *session) settle(ctx context.Context) (talk func() error, err error) {
	request, err := s.ask()
	if err != nil {
		return nil, err
	}
	if err := s.server.negotiated(s); err != nil {
		return nil, err
	}
	if s.refusal != nil {
		request.Reply(socks.GeneralFailure)
		return nil, s.refusal
	}
	if request.Command == socks.CommandResolve {
		return func() error { return s.resolve(ctx, request) }, nil
	}
	peer, err := s.dial(ctx, request)
	if err != nil {
		return nil, err
	}
	if request.Reply(socks.Succeeded) != nil {
		return nil, errClientLeft
	}
	s.show(func(info *SessionInfo) { info.State = StateGranted })
	relay, magic, v1, err := s.peek(peer)
	if err != nil {
		return nil, err
	}
	if !v1 {
		return s.passThrough(relay)
	}
	var heard []byte // from the peer
	if relay != nil {
		if heard, err = s.takeBack(relay); err != nil {
			return nil, err
		}
	}
	messages := v1v2.NewReader(s.in, magic)
	defer func() {
		if err != nil {
			messages.Release()
		}
	}()
	version, err := s.firstMessage(messages)
	if err != nil {
		return nil, err
	}
	link, err := s.upgrade(ctx, peer, magic, &version, heard)
	if err != nil {
		return nil, err
	}
	if link.V1 != nil {
		if link.V1 != peer {
			heard = nil // it was another connection's
		}
		return s.speakV1(link, magic, &version, messages, heard)
	}
	return s.speakV2(link.V2, magic, messages), nil
}

// peek finds out what the client speaks, and has what the peer may say first passed
// on after a moment. Without v1 that relay goes on.
func (s *session) peek(peer *stream.Socket) (relay *rawRelay, magic [4]byte, v1 bool, err error) {
	if !s.policy.DenyPassthrough {
		relay = s.startRelay(peer)
	}
	for {
		s.awaitFirstBytes()
		magic, v1, err = v1v2.Classify(s.in)
		if !isTimeout(err) || s.client.Interrupted() {
			if err != nil {
				err = &v1v2.EndError{Side: v1v2.Client, Err: err}
			}
			break
		}
		if relay == nil || !relay.opening.hasPassed() {
			err = &silentClientError{said: s.in.Buffered()}
			break
		} // else the peer does all the talking, as in other protocols
	}
	switch {
	case relay == nil:
	case err != nil:
		s.breakRelay(relay, err)
		relay.opening.decide(false)
		<-relay.down
		err = relay.cause
	case !v1:
		relay.opening.decide(false)
	}
	return relay, magic, v1, err
}

// awaitFirstBytes sets the deadline of the client's first bytes.
func (s *session) awaitFirstBytes() {
	s.client.SetReadDeadline(time.Now().Add(s.server.firstBytesTimeout()))
}

// firstMessage reads the client's VERSION, or whatever good message is first.
func (s *session) firstMessage(messages *v1v2.Reader) (v1v2.Message, error) {
	for {
		m, ok, err := messages.Next()
		if err != nil {
			return m, &v1v2.EndError{Side: v1v2.Client, Err: err}
		}
		if ok {
			return m, nil
		}
		s.up.Drop(m.Dropped())
	}
}

// upgrade settles what to speak with the peer, which has said heard so far. With v2
// the client's first message has been sent, with v1 nothing.
func (s *session) upgrade(ctx context.Context, peer *stream.Socket, magic [4]byte, first *v1v2.Message, heard []byte) (fallback.Link, error) {
	if first.Type == v1v2.TypeOf("version") {
		s.up.NoteVersion(first.Payload())
	}
	s.show(func(info *SessionInfo) { info.State, info.Network = StateHandshake, transport.NetworkName(magic) })
	first.Detach()
	size := len(first.Raw())
	began := time.Now()
	ctx, release := s.contextUntilClientLeaves(ctx)
	link, err := s.dialer.Upgrade(ctx, peer, s.shown.Dest, transport.Config{
		Magic:        magic,
		First:        [][]byte{first.Contents()},
		Received:     heard,
		Memory:       s.server.memory,
		ReadTimeout:  s.server.idleTimeout(),
		WriteTimeout: s.server.idleTimeout(),
		Semaphore:    s.server.turns,
	})
	release()
	switch {
	case err != nil && context.Cause(ctx) == errClientLeft:
		return link, errClientLeft
	case err != nil:
		return link, err
	case link.V1 != nil:
		return link, nil
	}
	if err := s.own(link.V2); err != nil { // may lead to another address than the one dialled
		return link, err
	}
	s.dialer.Resolve = nil // the answer is not needed any more
	dest, conn := s.shown.Dest, link.V2.NetConn()
	s.onEnd(func() { s.dialer.NoteV2(dest, conn) }) // it is remembered for 30 days from then
	s.server.count(func(t *tally) { t.shookHands(time.Since(began)) })
	s.up.Add(first.Type, size)
	return link, nil
}

// contextUntilClientLeaves returns a context that ends when the client closes its
// connection, and what to call before the client is read again. A client that
// has given up should not cause another dial, least of all one for v1.
func (s *session) contextUntilClientLeaves(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		_, err := s.in.Peek(s.in.Buffered() + 1)
		if err != nil && !isTimeout(err) && err != bufio.ErrBufferFull {
			cancel(errClientLeft)
		}
	}()
	return ctx, func() {
		s.client.Wake()
		<-watched
		s.in.SetIdle(s.server.idleTimeout())
		cancel(nil)
	}
}

// speakV2 translates between a v1 client and a v2 peer.
func (s *session) speakV2(peer *transport.Conn, magic [4]byte, messages *v1v2.Reader) (talk func() error) {
	s.watch(progress(&s.up), progress(&s.down))
	id := peer.SessionID()
	hexID := hex.EncodeToString(id[:])
	s.show(func(info *SessionInfo) { info.SessionID = hexID })
	s.logOpen("v2", "session_id", hexID)
	out := stream.NewWriter(s.client)
	out.SetStall(s.server.idleTimeout())
	return func() error {
		defer messages.Release()
		return s.bridge(peer, magic, messages, out)
	}
}

// bridge translates until either side ends. The end of one side's stream is
// passed on, and the other direction has a moment to finish.
func (s *session) bridge(peer *transport.Conn, magic [4]byte, messages *v1v2.Reader, out *stream.Writer) error {
	ends := make(chan error, 2)
	go func() {
		err := v1v2.ToClient(peer, out, magic, &s.ids, &s.down)
		ends <- err
		s.endOther(err, s.client.CloseWrite)
	}()
	err := v1v2.ToPeer(messages, peer, &s.ids, &s.up)
	ends <- err
	s.endOther(err, peer.CloseWrite)

	first := <-ends
	<-ends
	peer.Close()
	peer.Wipe()
	s.linger(s.server.lingerTimeout())
	return first
}
