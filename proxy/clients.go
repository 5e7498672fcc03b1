package proxy

import (
	"errors"

	"bip324proxy/rules"
)

// isOwnClient reports whether err is that this machine's own address was not admitted,
// from which check asks who answers.
func isOwnClient(err error) bool {
	var e *rules.ClientError
	return errors.As(err, &e) && e.Own
}

// authHint says how to admit a client that failed to authenticate.
func (s *session) authHint() string {
	e := s.policy.Clients.Check(s.client.RemoteAddr())
	if s.hides() {
		e = hidden(e)
	}
	client, ok := e.(*rules.ClientError)
	if !ok {
		return ""
	}
	return "some clients, such as Bitcoin Core, can be given no password; " + clientHint(client)
}

// clientHint says how to admit the client.
func clientHint(e *rules.ClientError) string {
	if !e.IP.IsValid() {
		return "if it may use the proxy, add its address to --clients"
	}
	what := rules.Spelling(e.IP)
	if e.Own {
		return "bip324-proxy check on this machine comes from there, and is nothing to worry about; with some container engines so do connections to a published port: do not publish it"
	}
	if e.Relays {
		return "do not publish or forward the proxy's port; if only programs of that machine come from there, add --clients " + what
	}
	return "if it may use the proxy, add --clients " + what
}

// admission reports whether the client needs the password, or returns an error if it is
// not admitted at all: a listener that is open to others takes clients that Policy.Clients has, and
// otherwise those that know the password.
func (s *session) admission() (auth bool, err error) {
	p := s.policy
	if !s.public || len(p.Clients) == 0 && (p.Socks.Auth == nil || s.fixed == "") {
		return p.Socks.Auth != nil, nil
	}
	err = p.Clients.Check(s.client.RemoteAddr())
	if err != nil && p.Socks.Auth != nil && s.fixed == "" {
		return true, nil
	}
	return false, err
}
