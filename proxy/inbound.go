package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// Inbound is what the peers of a listener reach: one node, on one network, and nothing
// else.
type Inbound struct {
	Node  *inbound.Node
	Magic [4]byte

	replyTimeout time.Duration // of tests; 0 is nodeReplyTimeout
}

// inboundPeer is the part of a session that only an inbound one has.
type inboundPeer struct {
	Inbound
	socket *stream.Socket
	addr   netip.Addr
	place  *inbound.Place
	quiet  bool // the lines about the session are at slog.LevelDebug
}

const (
	// inboundMemory is the memory of peers' messages of over 16 KiB, in bytes.
	inboundMemory = 64 << 20

	// maxVersion is the largest VERSION of a peer, in bytes; Bitcoin Core's has 126 at most
	// and the user agent.
	maxVersion = 1 << 10

	// maxFirst is the largest packet before the VERSION, decoys too, in bytes: it fits the
	// buffer, so that a stranger is given no memory.
	maxFirst = 15 << 10

	// versionTimeout is how long a peer may take from its connection to its VERSION.
	versionTimeout = 30 * time.Second
)

var errNoVersion = plainError("the peer did not send a VERSION in time")

// ServeInbound accepts peers on l until Shutdown, Close or a permanent error: it speaks
// BIP324 with them, as the responder, and v1 with the node. It closes l. The error is never
// nil.
func (s *Server) ServeInbound(l net.Listener, in Inbound) error {
	about := listener{address: l.Addr().String(), node: &in}
	return s.serve(l, about, func(conn net.Conn) (tell func()) { return s.acceptPeer(conn, about) })
}

// acceptPeer starts a session for a peer, unless the node is down or the gate refuses it. tell
// is as in start.
func (s *Server) acceptPeer(conn net.Conn, about listener) (tell func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		conn.Close()
		return nil
	}
	var sess *session // nothing is made for a connection of a flood
	var place *inbound.Place
	addr, err := peerAddr(conn), about.node.Node.Down()
	if err == nil {
		place, err = s.gate.Enter(addr, func(err error) { sess.fail(err) })
	}
	if err != nil {
		s.inbound.tally.refused[rowOf(inboundRefusals, err).kind]++
		conn.Close()
		return nil
	}
	sess = newInboundSession(s, conn, about)
	sess.peer.addr, sess.peer.place = addr, place
	s.number++
	sess.shown.Number = s.number
	s.run(sess)
	return nil
}

// peerAddr returns the address of a peer, or the zero Addr if it has none.
func peerAddr(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func newInboundSession(server *Server, conn net.Conn, about listener) *session {
	socket, in := stream.NewSocket(conn), *about.node
	s := &session{
		server: server,
		budget: &server.inbound,
		policy: server.policy(),
		peer:   &inboundPeer{Inbound: in, socket: socket},
		from:   clientNetwork(conn.RemoteAddr()),
		about:  about,
		magic:  in.Magic,
	}
	s.dialer = &s.policy.Dialer
	s.shown = SessionInfo{Inbound: true, Began: time.Now(), State: StateHandshake, Client: in.Node.String(),
		Dest: clientName(conn.RemoteAddr()), Network: transport.NetworkName(in.Magic)}
	s.up.OnDrop = func(d v1v2.Dropped) { s.firstDropped("to_peer", d) }
	s.down.OnDrop = func(d v1v2.Dropped) { s.firstDropped("to_client", d) }
	s.own(socket)
	return s
}

// settleInbound sets up an inbound session, until both ends are ready to relay:
//
//	accept → detect → handshake → VERSION → connect to the node → bridge
func (s *session) settleInbound(ctx context.Context) (relay relaying, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, versionTimeout, errNoVersion)
	defer cancel()
	cfg := s.transportConfig()
	v1, err := v1v2.Detect(ctx, s.peer.socket, &cfg)
	switch {
	case err != nil:
		return nil, err
	case v1 && !s.mayUseV1():
		return nil, v1v2.V1Refused(&cfg)
	case v1:
		return s.settleInboundV1(ctx, cfg.Received)
	}
	v2, err := transport.Server(ctx, s.peer.socket, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.own(v2); err != nil {
		v2.Wipe()
		return nil, err
	}
	s.setShaping(v2.Shaping)
	s.count(func(t *tally) { t.observeHandshake(time.Since(began)) })
	conn := v1v2.NewConn(v2, s.magic)
	conn.Sent, conn.Received = &s.up, &s.down
	v2.LimitContents(maxFirst)
	version, err := s.awaitVersion(ctx, conn)
	v2.LimitContents(0)
	if err == nil {
		err = s.connectToNode(ctx, version)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	s.openV2(v2)
	return func(end func(error)) {
		reply := s.awaitReply()
		s.bridge(v2, conn, func(err error) {
			reply.Stop()
			end(err)
		})
	}, nil
}

// awaitVersion reads the peer's first message, which must be a VERSION, from a v1 stream.
func (s *session) awaitVersion(ctx context.Context, in io.Reader) (version []byte, err error) {
	stop := context.AfterFunc(ctx, s.peer.socket.Abort)
	defer func() {
		if !stop() {
			err = context.Cause(ctx)
		}
	}()
	version = make([]byte, v1v2.HeaderSize, v1v2.HeaderSize+maxVersion)
	if _, err := io.ReadFull(in, version); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(version[16:]) // an int has 32 bits on some systems
	switch {
	case !bytes.HasPrefix(version[4:], []byte(v1v2.VersionPrefix)):
		return nil, plainError("the peer's first message is not a VERSION")
	case size > maxVersion:
		return nil, plainError(fmt.Sprintf("the peer's VERSION has more than %d bytes", maxVersion))
	}
	version = version[:v1v2.HeaderSize+int(size)]
	_, err = io.ReadFull(in, version[v1v2.HeaderSize:])
	return version, err
}

// connectToNode connects to the node, and sends it the peer's VERSION.
func (s *session) connectToNode(ctx context.Context, version []byte) error {
	if err := s.peer.place.Establish(); err != nil {
		return err
	}
	s.show(func(info *SessionInfo) { info.State = StateDialing })
	conn, attempt, err := s.peer.Node.Dial(ctx, s.peer.addr)
	s.server.logNode(s.peer.Node, attempt, err)
	if err != nil {
		return err
	}
	node := stream.NewSocket(conn)
	if err := s.own(node); err != nil {
		return err
	}
	if s.server.listensOn(conn.RemoteAddr()) {
		return s.server.ownNode(s.peer.Node)
	}
	s.client = node
	s.in = stream.NewReader(node)
	s.in.SetMemory((*stream.Memory)(s.budget.memory))
	s.in.SetIdle(s.server.idleTimeout())
	s.messages = s.newMessages()
	s.show(func(info *SessionInfo) { info.Source = clientName(node.LocalAddr()) })
	node.SetWriteDeadline(time.Now().Add(s.server.idleTimeout()))
	if _, err := node.Write(version); err != nil {
		return &v1v2.EndError{Side: v1v2.ClientSide, Err: err}
	}
	return nil
}

// isClient reports whether c is the connection to the client, or to the node.
func (s *session) isClient(c net.Conn) bool {
	if s.peer != nil {
		return c != s.peer.socket.Conn
	}
	return c == s.client.Conn
}
