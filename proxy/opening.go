package proxy

import (
	"sync"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/v1v2"
)

// opening is the start of what the peer says, up to the moment when it is known
// whose it is. If the client's VERSION comes first, or within holdFor, it belongs to
// the handshake: a v2 responder may send its key at once. Otherwise it belongs to
// the client: there are protocols in which the server begins. A v1 VERSION of the
// peer's is held until the client has spoken, for its own network decides.
type opening struct {
	peer  *stream.Socket
	in    *stream.Reader // on peer; has the bytes that are held
	limit time.Duration  // of holding them
	once  sync.Once
	spoke chan struct{} // closed when the peer has said something

	mu      sync.Mutex
	passed  bool          // it is the client's
	taken   bool          // it is the handshake's
	decided chan struct{} // closed when the client has shown what it speaks
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

// await waits until it is known whose the peer's first bytes are, and reports whether
// they are the client's. The error is how the peer's stream ended before it had any.
func (o *opening) await() (pass bool, err error) {
	switch _, err = o.in.Peek(1); {
	case err == nil:
		o.heard()
		o.hold()
	case isTimeout(err): // the client has spoken, or the session is to end
		err = nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.passed = !o.taken
	return o.passed, err
}

// hold returns when the bytes that were read have been held for long enough.
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

// decide ends the wait: the client has shown whether it speaks v1. It reports whether
// the bytes are the handshake's, which they are with v1 unless they went to the client
// before.
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

// heard notes that the peer has said something.
func (o *opening) heard() { o.once.Do(func() { close(o.spoke) }) }

// hasPassed reports whether something that the peer has said went to the client.
func (o *opening) hasPassed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.passed && o.hasSpoken()
}

// hasSpoken reports whether the peer has said anything.
func (o *opening) hasSpoken() bool { return isClosed(o.spoke) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
