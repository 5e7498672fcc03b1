package proxy

import (
	"bufio"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"io"
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
	server  *Server
	policy  *Policy
	client  net.Conn
	in      *stream.Reader // all that is read from client, but for a relay's bytes
	fixed   string         // where the listener's clients go, if they are not asked
	refusal error          // why the client gets no more than an answer, if so
	dialer  fallback.Dialer

	ids      v1v2.PeerIDs
	up, down v1v2.Counts    // to the peer, to the client
	early    []v1v2.Dropped // of those to the peer the first of each kind, before the session opened

	shown SessionInfo // see show

	mu          sync.Mutex
	conns       []net.Conn
	stops       []func()
	relay       *rawRelay   // the one that is running, if any
	timer       *time.Timer // see after
	failure     error       // see fail
	public      bool        // the listener is open to others than this machine
	interrupted bool
	closed      bool
	noted       bool // see noteEnd
}

func newSession(server *Server, client net.Conn, fixed string, public bool, number uint64) *session {
	policy := server.policy()
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
	s.onInterrupt(s.in.Interrupt)
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
func (s *session) peek(peer net.Conn) (relay *rawRelay, magic [4]byte, v1 bool, err error) {
	if !s.policy.DenyPassthrough {
		relay = s.startRelay(peer)
	}
	for {
		s.awaitClient()
		magic, v1, err = v1v2.Classify(s.in)
		if !isTimeout(err) || s.in.Interrupted() {
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

// awaitClient sets the time for the client's first bytes, unless it is to be read
// no more.
func (s *session) awaitClient() { s.awaitClientUntil(time.Now().Add(s.server.firstBytesTimeout())) }

func (s *session) awaitClientUntil(t time.Time) {
	s.client.SetReadDeadline(t)
	if s.in.Interrupted() {
		s.in.Interrupt()
	}
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
func (s *session) upgrade(ctx context.Context, peer net.Conn, magic [4]byte, first *v1v2.Message, heard []byte) (fallback.Link, error) {
	if first.Type == v1v2.TypeOf("version") {
		s.up.NoteVersion(first.Payload())
	}
	s.show(func(info *SessionInfo) { info.State, info.Network = StateHandshake, transport.NetworkName(magic) })
	first.Detach()
	size := len(first.Raw())
	began := time.Now()
	ctx, release := s.whileClientStays(ctx)
	link, err := s.dialer.Upgrade(ctx, peer, s.shown.Dest, transport.Config{
		Magic:        magic,
		First:        [][]byte{first.Contents()},
		Received:     heard,
		Memory:       s.server.memory,
		ReadTimeout:  s.server.idleTimeout(),
		WriteTimeout: s.server.idleTimeout(),
		Turns:        s.server.turns,
	})
	release()
	switch {
	case err != nil && context.Cause(ctx) == errClientLeft:
		return link, errClientLeft
	case err != nil:
		return link, err
	case link.V1 != nil:
		return link, s.own(link.V1)
	}
	if err := s.own(link.V2.NetConn()); err != nil { // may lead to another address than the one dialled
		return link, err
	}
	s.dialer.Resolve = nil // the answer is not needed any more
	conn := link.V2
	s.onInterrupt(func() {
		conn.Interrupt()
		s.noteEnd(conn.NetConn())
	})
	s.server.count(func(t *tally) { t.shookHands(time.Since(began)) })
	s.up.Add(first.Type, size)
	return link, nil
}

// noteEnd notes, once, that the peer at the other end of nc speaks v2: for 30 days from
// the session's end on. s.mu is held.
func (s *session) noteEnd(nc net.Conn) {
	if !s.noted {
		s.noted = true
		s.dialer.NoteV2(s.shown.Dest, nc)
	}
}

// whileClientStays returns a context that ends when the client closes its
// connection, and what to call before the client is read again. A client that
// has given up should not cause another dial, least of all one for v1.
func (s *session) whileClientStays(ctx context.Context) (context.Context, func()) {
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
		s.client.SetReadDeadline(time.Unix(1, 0))
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
		s.windUp(err, func() { stream.CloseWrite(s.client) })
	}()
	err := v1v2.ToPeer(messages, peer, &s.ids, &s.up)
	ends <- err
	s.windUp(err, func() { peer.CloseWrite() })

	first := <-ends
	<-ends
	peer.Close()
	peer.Wipe()
	s.lingerFor(s.server.lingerTimeout())
	return first
}

// windUp ends one direction because the other has ended with err: at once if the
// client is gone, otherwise so that what was read for it still reaches it.
func (s *session) windUp(err error, closeWrite func()) {
	var end *v1v2.EndError
	if errors.As(err, &end) && end.Side == v1v2.Client && end.Err != io.EOF && !s.wasInterrupted() {
		s.close()
		return
	}
	closeWrite()
	time.AfterFunc(s.server.lingerTimeout(), s.close)
}

// lingerFor gives the client up to d to take what it was sent and to close its
// side. To close ours while it still talks would reset the connection, and the
// reset would overtake the data.
func (s *session) lingerFor(d time.Duration) {
	if s.wasInterrupted() {
		d = min(d, stopTimeout)
	}
	stream.CloseWrite(s.client)
	s.client.SetReadDeadline(time.Now().Add(d))
	io.Copy(io.Discard, s.client)
}

// own makes the session close c at its end. If that is past it closes c now.
func (s *session) own(c net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return net.ErrClosed
	}
	s.conns = append(s.conns, c)
	return nil
}

// onInterrupt has stop called when the session is to end at the next message.
func (s *session) onInterrupt(stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, stop)
	if s.interrupted || s.closed {
		stop()
	}
}

// setRelay makes r, which may be nil, the relay that an interrupt ends.
func (s *session) setRelay(r *rawRelay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relay = r
	if r != nil && s.interrupted {
		r.Interrupt()
	}
}

// interrupt ends the session between two messages.
func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupted = true
	for _, stop := range s.stops {
		stop()
	}
	if s.relay != nil {
		s.relay.Interrupt()
	}
}

// wasInterrupted says whether the server ends the session.
func (s *session) wasInterrupted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.interrupted
}

// close closes both connections. It may be called again and from anywhere.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	for _, c := range s.conns {
		c.Close()
	}
	for _, stop := range s.stops { // who waits for memory does not see that
		stop()
	}
	s.conns = nil
}
