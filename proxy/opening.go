package proxy

import (
	"sync"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/v1v2"
)

// opening holds the peer's first bytes until it is known whom they are for. If the
// client's VERSION comes before them, or within holdFor, they are for the handshake: a v2
// responder may send its key at once. Otherwise they are for the client: in some protocols
// the server begins. A v1 VERSION is held until the client has spoken, whose network
// decides.
type opening struct {
	peer  *stream.Socket
	in    *stream.Reader // of peer; has the bytes that are held
	limit time.Duration  // of holding them
	once  sync.Once
	spoke chan struct{} // closed once the peer has sent something

	mu      sync.Mutex
	passed  bool          // the bytes are for the client
	taken   bool          // the bytes are for the handshake
	decided chan struct{} // closed once it is known what the client speaks
}

func newOpening(peer *stream.Socket, limit time.Duration) *opening {
	return &opening{
		peer:    peer,
		in:      stream.NewReader(peer),
		limit:   limit,
		spoke:   make(chan struct{}),
		decided: make(chan struct{}),
	}
}

// await waits until it is known whom the peer's first bytes are for, and reports whether
// they are for the client. The error is how the peer's stream ended if there were none.
func (o *opening) await() (pass bool, err error) {
	switch _, err = o.in.Peek(1); {
	case err == nil:
		o.heard()
		o.hold()
	case isTimeout(err): // decide woke it, or the session was interrupted
		err = nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.passed = !o.taken
	return o.passed, err
}

// hold returns when the bytes need not be held any longer.
func (o *opening) hold() {
	until := time.Now().Add(o.limit)
	o.mu.Lock()
	if !isClosed(o.decided) {
		o.peer.SetReadDeadline(until)
	}
	o.mu.Unlock()
	expired := make(<-chan time.Time)
	if _, v1, _ := v1v2.Classify(o.in); !v1 {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-o.decided:
	case <-expired:
	}
}

// decide ends the wait: the client speaks v1, or does not. It reports whether the peer's
// bytes are for the handshake: with v1, unless they went to the client before.
func (o *opening) decide(v1 bool) (taken bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if isClosed(o.decided) {
		return o.taken
	}
	o.taken = v1 && !o.passed
	if !o.passed {
		o.peer.Wake() // ends await
	}
	close(o.decided)
	return o.taken
}

// heard notes that the peer has sent something.
func (o *opening) heard() { o.once.Do(func() { close(o.spoke) }) }

// hasPassed reports whether bytes of the peer went to the client.
func (o *opening) hasPassed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.passed && o.hasSpoken()
}

// hasSpoken reports whether the peer has sent anything.
func (o *opening) hasSpoken() bool { return isClosed(o.spoke) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
