package status

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"bip324proxy/proxy"
)

const (
	defaultSessions = 1000 // listed in a report
	maxSearch       = 256  // bytes
)

// transports are the values of the parameter transport: plaintext is v1 outside of a network that
// encrypts, pending is not open yet.
var transports = slices.Concat(proxy.Transports, []string{"plaintext", "pending"})

// query selects the live sessions that a report lists.
type query struct {
	sessions  int      // how many to list at most
	transport string   // one of transports, or empty for all
	inbound   string   // "true" or "false", or empty for both
	words     []string // in lower case; a session must have each
}

// parseQuery parses the query of a request for /api/status. An unknown or repeated parameter is an
// error: ignoring it would list the wrong sessions.
func parseQuery(raw string) (query, error) {
	q := query{sessions: defaultSessions}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("the query is invalid: %w", err)
	}
	for name, all := range values {
		if len(all) > 1 {
			return q, fmt.Errorf("the parameter %.40q is given %d times; give it once", name, len(all))
		}
		value := all[0]
		switch {
		case name != "sessions" && name != "transport" && name != "inbound" && name != "q":
			return q, fmt.Errorf("unknown parameter %.40q; must be sessions, transport, inbound or q", name)
		case value == "":
		case name == "sessions":
			if q.sessions, err = strconv.Atoi(value); err != nil || q.sessions < 0 {
				return q, fmt.Errorf("sessions=%.40q is invalid; must be a number of sessions", value)
			}
		case name == "transport":
			if !slices.Contains(transports, value) {
				return q, fmt.Errorf("transport=%.40q is invalid; must be one of %s", value, strings.Join(transports, ", "))
			}
			q.transport = value
		case name == "inbound":
			if value != "true" && value != "false" {
				return q, fmt.Errorf("inbound=%.40q is invalid; must be true or false", value)
			}
			q.inbound = value
		case len(value) > maxSearch:
			return q, fmt.Errorf("q has %d bytes; must be at most %d", len(value), maxSearch)
		default:
			q.words = strings.Fields(strings.ToLower(value))
		}
	}
	return q, nil
}

const ranks = 3

// rank returns the place of a session in a report: plaintext, passed through, all others. Those not
// known to be encrypted come first, for there may be thousands of others.
func rank(s *proxy.SessionInfo) int {
	switch {
	case s.Plaintext():
		return 0
	case s.Transport == "passthrough":
		return 1
	}
	return 2
}

// matches reports whether q selects s.
func (q query) matches(s *proxy.SessionInfo) bool {
	transport, plaintext := cmp.Or(s.Transport, "pending"), ""
	if s.Plaintext() {
		plaintext = "plaintext"
	}
	if q.transport != "" && q.transport != transport && q.transport != plaintext {
		return false
	}
	if q.inbound != "" && q.inbound != strconv.FormatBool(s.Inbound) {
		return false
	}
	if len(q.words) == 0 {
		return true
	}
	direction := ""
	if s.Inbound {
		direction = "inbound"
	}
	texts := [...]string{s.Dest, s.Client, s.Source, s.PeerAgent, s.ClientAgent, s.SessionID,
		s.Network, s.Shape, s.Transport, string(s.State), plaintext, direction}
	return !slices.ContainsFunc(q.words, func(word string) bool {
		return !slices.ContainsFunc(texts[:], func(text string) bool { return strings.Contains(strings.ToLower(text), word) })
	})
}
