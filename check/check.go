// Package check diagnoses the proxy and its peers: whether the proxy answers, this machine
// has a route to the internet and the upstream proxy is Tor, who sees names, and what a
// peer speaks.
//
//	Subject → checks, one after another → Report → text or JSON
//
// It acts as a client and as a peer, and changes nothing: it opens no listener and does not
// use the known peers. It contacts only the proxy, its upstream proxy, the node behind it and
// the given peer;
// and, if the look-up of the peer's name failed or was slow, each DNS server.
package check

import (
	"fmt"
	"io"
	"strings"

	"bip324proxy/internal/terminal"
	"bip324proxy/proxy"
	"bip324proxy/status"
)

// Subject is the proxy to check: its settings.
type Subject struct {
	Policy      proxy.Policy
	Listeners   []Listener
	Inbound     []Inbound
	Shapes      []Shape
	MaxSessions int // 0 is the default
	Descriptors int // reserved for other uses than sessions

	Status  string           // address of the status page, HOST:PORT or unix:/PATH; empty: none
	Guessed bool             // Status is the default: there may be no page
	Token   string           // of the status page
	InForce []status.Setting // to compare with the running proxy's

	// Route returns the local address for packets to the given one. Nil asks the system,
	// which sends nothing.
	Route func(network, to string) (from string, err error)
}

// Listener is a listener of the proxy.
type Listener struct {
	Address string // HOST:PORT or unix:/PATH
	Peer    string // of --peer: where its clients are connected to
	Spare   bool   // a default listener that may be missing

	Transparent bool // of --transparent
	Activated   bool // Address is systemd:NAME
}

// State is the outcome of a check.
type State string

// The states. A report is OK unless a check Failed.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
	Skipped State = "skipped" // there was nothing to check
)

// Result is the result of one check.
type Result struct {
	// Name is, of a check of the proxy, configuration, listener, inbound, inbound_v1, node,
	// upstream, network, names, shape, sessions or status; with --redirected redirected or
	// udp; of a peer connect, names, v2, version, tunnel or v1.
	Name  string `json:"name"`
	State State  `json:"state"`
	What  string `json:"what"`           // the finding
	Hint  string `json:"hint,omitempty"` // what to do, or what it means
}

// Report is the outcome of all checks. Its JSON is an interface of the program: names keep
// their meaning.
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

// Count returns the number of checks with that state.
func (r *Report) Count(state State) (n int) {
	for _, result := range r.Checks {
		if result.State == state {
			n++
		}
	}
	return n
}

// width is the longest line, in characters, unless a word is longer.
const width = 96

// WriteText writes the report as text, at least one line for each check.
func (r *Report) WriteText(w io.Writer) error {
	var lines []string
	for _, result := range r.Checks {
		head := fmt.Sprintf("%-8s %-14s ", result.State, result.Name)
		lines = append(lines, terminal.Advise(head, result.What, result.Hint, width)...)
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}
