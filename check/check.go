// Package check says what a person needs to know before calling for help: whether
// the proxy answers, whether there is a way out, whether the upstream proxy is a
// Tor, who gets to see names, and what a peer speaks.
//
//	Subject → checks, one after another → Report → text or JSON
//
// It looks from outside, as a client and as a peer would see it, and changes
// nothing: it opens no listener and does not touch the known peers. It asks
// nobody but the proxy itself, its upstream proxy and the peer that it was given; and,
// if looking up that peer's name failed or was slow, each DNS server.
package check

import (
	"bip324proxy/proxy"
	"bip324proxy/status"
)

// Subject is what is checked: the settings that the proxy has, or would have.
type Subject struct {
	Policy      proxy.Policy
	Listeners   []Listener
	MaxSessions int // 0 is the default
	Descriptors int // that are for other things than sessions

	Status  string           // where the status page is, HOST:PORT or unix:/PATH, if there is one
	Guessed bool             // Status is only where it would be
	Token   string           // of the status page, if it wants one
	InForce []status.Setting // to be compared with those of the proxy that runs

	// Route returns the address that packets to the given one would leave from. Nil
	// means to ask the system, which sends nothing for it.
	Route func(network, to string) (from string, err error)
}

// Listener is one that the proxy should have.
type Listener struct {
	Address string // HOST:PORT or unix:/PATH
	Peer    string // where its clients are connected to, if they are not asked
	Spare   bool   // of the default ones, not the first: there may be none
}

// State is how a check went.
type State string

// The states. Only a Failed one makes a report not OK.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
	Skipped State = "skipped" // there was nothing to check
)

// Result is that of one check.
type Result struct {
	Name  string `json:"name"` // one of Names
	State State  `json:"state"`
	What  string `json:"what"`           // was found
	Hint  string `json:"hint,omitempty"` // what to do about it, or what it means
}

// Names are those that a Result may have, in the order of a report.
var Names = []string{
	"configuration", "listener", "upstream", "network", "names", "sessions", "status", // of the proxy
	"connect", "v2", "version", "v1", // of a peer
}

// Report is the outcome of all checks. Its form in JSON is part of the program's
// interface: no name changes its meaning.
type Report struct {
	OK     bool     `json:"ok"` // no check failed
	Checks []Result `json:"checks"`
	Peer   *Peer    `json:"peer,omitempty"`
}

func (r *Report) add(all ...Result) {
	for _, result := range all {
		r.Checks = append(r.Checks, result)
		r.OK = r.OK && result.State != Failed
	}
}

// Count is how many checks have that state.
func (r *Report) Count(state State) (n int) {
	for _, result := range r.Checks {
		if result.State == state {
			n++
		}
	}
	return n
}
