package proxy

import "time"

// Redact exports redact for tests that need package hints, which imports this package.
var Redact = redact

// WithReplyTimeout returns in with another nodeReplyTimeout.
func (in Inbound) WithReplyTimeout(d time.Duration) Inbound {
	in.replyTimeout = d
	return in
}
