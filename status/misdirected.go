package status

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// misdirectedFor is how long a misdirected client is reported.
const misdirectedFor = 10 * time.Minute

// Misdirected is the last client that used the page's address as its SOCKS proxy.
type Misdirected struct {
	Client string    `json:"client"` // its address, or "unix"
	Time   time.Time `json:"time"`
}

// noteMisdirected records a client that spoke SOCKS.
func (cs *conns) noteMisdirected(client net.Addr) {
	m := &Misdirected{Client: client.String(), Time: time.Now()}
	if _, ok := client.(*net.UnixAddr); ok {
		m.Client = "unix"
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.misdirected = m
}

// lastMisdirected returns the last client that spoke SOCKS, nil if that was long before now.
func (cs *conns) lastMisdirected(now time.Time) *Misdirected {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.misdirected != nil && now.Sub(cs.misdirected.Time) > misdirectedFor {
		cs.misdirected = nil
	}
	return cs.misdirected
}

// ExplainMisdirected says what is wrong with a client that uses the page's address as its proxy,
// and what to do; both are empty if there is none.
func (r *Report) ExplainMisdirected() (what, hint string) {
	if r.Misdirected == nil {
		return "", ""
	}
	to := "an address of --listen"
	if len(r.SOCKS) > 0 {
		to = strings.Join(r.SOCKS, " or ")
	}
	return fmt.Sprintf("a client (%s) uses this status page's address as its proxy", r.Misdirected.Client), "set its SOCKS5 proxy to " + to
}
