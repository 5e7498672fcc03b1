package proxy

import (
	"cmp"
	"errors"
	"math"
	"net"
	"slices"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// Snapshot is the state of a server and its counts. The names in JSON are part of the
// program's interface: none changes its meaning.
type Snapshot struct {
	Time     time.Time `json:"time"`
	Started  time.Time `json:"started"`
	Stopping bool      `json:"stopping"` // no more clients are accepted

	Listeners   []string `json:"listeners"`             // their addresses, without those for peers
	SOCKS       []string `json:"socks_listeners"`       // those of them for SOCKS, as clients write them: HOST:PORT or unix:/PATH
	Transparent []string `json:"transparent_listeners"` // those of them for connections that the system redirects
	MaxSessions int      `json:"max_sessions"`          // at a time

	// Sessions are the live ones, by number.
	Sessions []SessionInfo `json:"sessions"`

	// Counts are those of clients' sessions.
	Counts

	// Inbound is nil if no listener accepts peers.
	Inbound *InboundSnapshot `json:"inbound,omitempty"`

	// Upstream is that of all destinations without a route; nil if there is none.
	Upstream *Upstream `json:"upstream,omitempty"`

	// Routes are the upstream proxies of some destinations; the first that matches counts.
	Routes []Upstream `json:"routes,omitempty"`

	// Peers are the counts of the known peers.
	Peers fallback.PeerCounts `json:"peers"`
	// MessageMemory is the budget for large messages of clients' sessions.
	MessageMemory transport.MemoryUsage `json:"message_memory"`
}

// Counts counts since Started, live sessions included. Inbound and outbound sessions have
// counts of their own.
type Counts struct {
	// Opened counts sessions by transport: v2, v1 and passthrough.
	Opened map[string]uint64 `json:"opened"`
	// Fallbacks counts the sessions on v1 by why they are: see FallbackCauses.
	Fallbacks map[string]uint64 `json:"fallbacks"`
	// Refused counts sessions that failed before they were open, by why: see RefusalKinds
	// and InboundRefusalKinds.
	Refused map[string]uint64 `json:"refused"`
	// Traffic is by transport.
	Traffic map[string]Traffic `json:"traffic"`
	// Dropped counts messages that were not translated by why: see v1v2.Reasons. Those
	// of sessions that did not open are not in Traffic.
	Dropped map[string]uint64 `json:"dropped"`
	ShapingTotals
	// Handshakes are the v2 handshakes that succeeded, by how long they took.
	Handshakes Histogram `json:"handshakes"`

	// Refusals and Closed are the last sessions that ended, up to 50 of each, the
	// newest first. Similar ones are one: see Outcome.Count.
	Refusals []Outcome `json:"refusals"`
	Closed   []Outcome `json:"closed"`

	// Failing is about the failures since a session last opened, nil if there are none.
	Failing *Failing `json:"failing,omitempty"`
}

// InboundSnapshot is the state of inbound sessions.
type InboundSnapshot struct {
	Listeners   []InboundListener `json:"listeners"`
	V1          string            `json:"v1"`           // where inbound peers may use v1: never, overlay or always
	MaxSessions int               `json:"max_sessions"` // at a time
	Pending     int               `json:"pending"`      // connections that have sent no VERSION yet, which Snapshot.Sessions leaves out
	Evicted     uint64            `json:"evicted"`      // open sessions that were ended for a peer of another network
	// Counts are those of peers' sessions. Refused has InboundRefusalKinds; connections
	// that ended before their VERSION are counted there, and listed nowhere.
	Counts
	// MessageMemory is the budget for large messages of peers' sessions.
	MessageMemory transport.MemoryUsage `json:"message_memory"`
}

// InboundListener is a listener for peers.
type InboundListener struct {
	Address string `json:"address"`
	Node    string `json:"node"`             // HOST:PORT or unix:/PATH
	Network string `json:"network"`          // such as mainnet
	Source  string `json:"source,omitempty"` // a prefix, or "none"; empty if the node is a unix socket
}

func newInboundListener(l net.Listener, in *Inbound) InboundListener {
	shown := InboundListener{Address: listen.Spelling(l.Addr()), Node: in.Node.String(), Network: transport.NetworkName(in.Magic)}
	if in.Node.Network != "unix" {
		shown.Source = in.Node.Source.String()
	}
	return shown
}

// SessionInfo is a live session.
type SessionInfo struct {
	Number    uint64    `json:"number"`
	Inbound   bool      `json:"inbound,omitempty"` // the peer has connected to us
	Began     time.Time `json:"began"`
	State     State     `json:"state"`
	Client    string    `json:"client"`               // its address; inbound that of the node
	Dest      string    `json:"dest,omitempty"`       // "host:port" that the client asked for; inbound the peer's address
	Source    string    `json:"source,omitempty"`     // inbound: the peer's address as the node sees it
	Network   string    `json:"network,omitempty"`    // such as mainnet
	Transport string    `json:"transport,omitempty"`  // v2, v1 or passthrough, once it is open
	SessionID string    `json:"session_id,omitempty"` // of v2: 64 hexadecimal digits (BIP324)
	Fallback  string    `json:"fallback,omitempty"`   // of v1: why, one of FallbackCauses
	Overlay   bool      `json:"overlay,omitempty"`    // of v1: the network below encrypts all the way, as Tor's and CJDNS do

	ClientAgent string `json:"client_agent,omitempty"` // the client's user agent
	PeerAgent   string `json:"peer_agent,omitempty"`

	Traffic
	Shaping
	LastToPeer   string `json:"last_to_peer,omitempty"` // the last message's type
	LastToClient string `json:"last_to_client,omitempty"`
}

// Plaintext reports whether anyone on the path can read what a Bitcoin client sends.
func (s *SessionInfo) Plaintext() bool { return s.Transport == "v1" && !s.Overlay }

// State is how far a session has come.
type State string

// The states, in their order.
const (
	StateAsking    State = "asking"    // where the client wants to go
	StateDialing   State = "dialing"   // connecting to the destination
	StateGranted   State = "granted"   // waiting for what the client says first
	StateHandshake State = "handshake" // of v2
	StateOpen      State = "open"
)

// Transports are all that SessionInfo.Transport may be, and the keys of
// Snapshot.Opened and Snapshot.Traffic.
var Transports = []string{"v2", "v1", "passthrough"}

// Traffic is what went each way. Messages are counted where they are translated,
// as v1 has them; otherwise there are only bytes.
type Traffic struct {
	MessagesToPeer   uint64 `json:"messages_to_peer"`
	MessagesToClient uint64 `json:"messages_to_client"`
	BytesToPeer      uint64 `json:"bytes_to_peer"`
	BytesToClient    uint64 `json:"bytes_to_client"`
	Dropped          uint64 `json:"dropped"` // messages that were not translated, both ways
}

func (t *Traffic) add(more Traffic) {
	t.MessagesToPeer += more.MessagesToPeer
	t.MessagesToClient += more.MessagesToClient
	t.BytesToPeer += more.BytesToPeer
	t.BytesToClient += more.BytesToClient
	t.Dropped += more.Dropped
}

// Failing summarises the failures since a session last opened.
type Failing struct {
	Count  uint64    `json:"count"`
	Since  time.Time `json:"since"`   // the first of them
	Kind   string    `json:"kind"`    // the most frequent, one of RefusalKinds or InboundRefusalKinds
	OfKind uint64    `json:"of_kind"` // how many of them are of that kind
	Dest   string    `json:"dest,omitempty"`
	Reason string    `json:"reason"` // of the last of that kind
	Hint   string    `json:"hint,omitempty"`
}

// Histogram counts durations.
type Histogram struct {
	Count   uint64    `json:"count"`
	Sum     float64   `json:"sum_seconds"`
	Bounds  []float64 `json:"bounds_seconds"` // upper ones, ascending
	Buckets []uint64  `json:"buckets"`        // how many were no longer than each bound
}

// Snapshot returns the state of the server. It may be called at any time.
func (s *Server) Snapshot() Snapshot {
	return s.Select(math.MaxInt, func(*SessionInfo) bool { return true })
}

// Select returns a Snapshot with those Sessions for which list returns true; there is room for that many
// at first. It calls list for all that Snapshot has, the newest first. list must neither keep its
// argument nor call s. Its argument is without the last messages' types. If list is nil, there are no
// Sessions.
func (s *Server) Select(room int, list func(*SessionInfo) bool) Snapshot {
	s.mu.Lock()
	s.setup()
	now := Snapshot{
		Time:        time.Now(),
		Started:     s.began,
		Stopping:    s.stopping,
		Listeners:   make([]string, 0, len(s.listeners)),
		SOCKS:       make([]string, 0, len(s.listeners)),
		Transparent: []string{},
		MaxSessions: s.outbound.max,
	}
	in := &InboundSnapshot{MaxSessions: s.inbound.max}
	for l, about := range s.listeners {
		if about.node != nil {
			in.Listeners = append(in.Listeners, newInboundListener(l, about.node))
			continue
		}
		now.Listeners = append(now.Listeners, l.Addr().String())
		switch {
		case about.transparent != nil:
			now.Transparent = append(now.Transparent, l.Addr().String())
		case about.peer == "":
			now.SOCKS = append(now.SOCKS, listen.Spelling(l.Addr()))
		}
	}
	now.Sessions, in.Pending = s.count(&now.Counts, &in.Counts, room, list)
	in.Evicted = s.inbound.tally.evicted
	s.mu.Unlock()
	if in.Listeners != nil {
		slices.SortFunc(in.Listeners, func(a, b InboundListener) int { return cmp.Compare(a.Address, b.Address) })
		in.V1, in.MessageMemory = s.policy().InboundV1.String(), s.inbound.memory.Usage()
		now.Inbound = in
	}

	now.Upstream, now.Routes = s.upstreams()
	if f := now.Failing; f != nil && f.Hint == "" {
		f.Hint = s.hint(Failure{Kind: f.Kind})
	}
	if f := in.Failing; f != nil && f.Hint == "" {
		f.Hint = s.hint(Failure{Kind: f.Kind, Inbound: true})
	}
	slices.Sort(now.Listeners)
	slices.Sort(now.SOCKS)
	slices.Sort(now.Transparent)
	now.Peers = s.policy().Dialer.Peers.Count()
	now.MessageMemory = s.outbound.memory.Usage()
	return now
}

// count sets the counts of both directions, live sessions included, and returns those that Select
// returns. s.mu is held, so that none is counted twice or not at all.
func (s *Server) count(outbound, inbound *Counts, room int, list func(*SessionInfo) bool) (listed []SessionInfo, pending int) {
	s.outbound.tally.copyTo(outbound)
	s.inbound.tally.copyTo(inbound)
	if list != nil {
		listed = make([]SessionInfo, 0, min(room, len(s.live)))
	}
	var info SessionInfo // one for all: it is large
	for _, each := range slices.Backward(s.live) {
		each.describe(&info)
		counts := outbound
		if each.budget == &s.inbound {
			counts = inbound
		}
		if info.Transport != "" {
			t := counts.Traffic[info.Transport]
			t.add(info.Traffic)
			counts.Traffic[info.Transport] = t
		}
		if info.Dropped > 0 {
			each.addDropped(counts.Dropped)
		}
		counts.ShapingTotals.add(info.Shaping)
		switch {
		case info.Inbound && info.State == StateHandshake: // most likely a scanner's
			pending++
		case list != nil && list(&info):
			each.lastTypes(&info)
			listed = append(listed, info)
		}
	}
	slices.Reverse(listed)
	return listed, pending
}

// Accepting returns how many listeners accept clients, and whether the server is
// stopping. It costs far less than a Snapshot.
func (s *Server) Accepting() (listeners int, stopping bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners), s.stopping
}

// clientName returns a client's name in the log and the status: its address, if it has one.
func clientName(addr net.Addr) string {
	if _, ok := addr.(*net.UnixAddr); ok {
		return "unix"
	}
	return addr.String()
}

// show changes the session's info. Only the session itself calls it, from one goroutine
// at a time, and so may read shown without a lock.
func (s *session) show(change func(*SessionInfo)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.shown)
}

// info returns the session's info with its counts.
func (s *session) info() (info SessionInfo) {
	s.describe(&info)
	s.lastTypes(&info)
	return info
}

// describe sets info, but for what lastTypes sets.
func (s *session) describe(info *SessionInfo) {
	s.mu.Lock()
	*info = s.shown
	s.mu.Unlock()
	info.Traffic, info.Shaping = s.traffic(), s.shapingNow()
	info.ClientAgent, info.PeerAgent = s.up.UserAgent(), s.down.UserAgent()
}

func (s *session) lastTypes(info *SessionInfo) {
	info.LastToPeer, info.LastToClient = s.up.LastType(), s.down.LastType()
}

func (s *session) traffic() Traffic {
	return Traffic{
		MessagesToPeer:   s.up.Messages.Load(),
		MessagesToClient: s.down.Messages.Load(),
		BytesToPeer:      s.up.Bytes.Load(),
		BytesToClient:    s.down.Bytes.Load(),
		Dropped:          s.up.Dropped() + s.down.Dropped(),
	}
}

// FallbackCauses are all that SessionInfo.Fallback may be, and the keys of
// Snapshot.Fallbacks: why sessions are on v1.
var FallbackCauses = []string{causeHungUp, causeSilent, causeSpokeV1, causeKnownV1, causeRefusedV2}

const (
	causeHungUp    = "hung_up"    // on the v2 handshake, without an answer
	causeSilent    = "silent"     // for longer than a peer needs that was never seen
	causeSpokeV1   = "spoke_v1"   // it sent a VERSION of the client's network by itself
	causeKnownV1   = "known_v1"   // it answered in v1 before
	causeRefusedV2 = "refused_v2" // to another session, a moment ago, and then to this one
)

// fallbackCause names a fallback.Link's Cause.
func fallbackCause(err error) string {
	switch {
	case errors.Is(err, transport.ErrV1Peer):
		return causeSpokeV1
	case errors.Is(err, fallback.ErrKnownV1):
		return causeKnownV1
	case errors.Is(err, fallback.ErrRefusedV2):
		return causeRefusedV2
	case errors.Is(err, transport.ErrSilent):
		return causeSilent
	}
	return causeHungUp
}
