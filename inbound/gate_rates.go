package inbound

import (
	"golang.org/x/time/rate"

	"bip324proxy/internal/rates"
)

const (
	// ratePerAddress and burstPerAddress limit the connections of one address a second, and
	// at once.
	ratePerAddress, burstPerAddress = 2, 10

	// rateInAll limits the connections of all peers a second; burst seconds' worth are allowed
	// at once. A handshake takes half a millisecond of a processor.
	rateInAll = 100
	burst     = 2

	// secondsOfNew is how long after a connection its network group counts as new again.
	// Half of the burst is kept for new groups, so that a flood from many does not keep out
	// the others.
	secondsOfNew = 10

	// loggedPerMinute and burstLogged limit the sessions that the log has lines about, and
	// loggedOfGroup and burstOfGroup those of one network group.
	loggedPerMinute, burstLogged = 6, 250
	loggedOfGroup, burstOfGroup  = 1, 30
)

// connectRates limits how often peers connect.
type connectRates struct {
	addresses, groups *rates.Limiters
	newGroups         *rates.Limiters
	local, remote     *rate.Limiter // half of rateInAll each
}

func newConnectRates() connectRates {
	return connectRates{
		addresses: rates.New(ratePerAddress, burstPerAddress),
		groups:    rates.New(rateInAll/groupShare, burst*rateInAll/groupShare),
		newGroups: rates.New(1.0/secondsOfNew, 1),
		local:     rate.NewLimiter(rateInAll/2, burst*rateInAll/2),
		remote:    rate.NewLimiter(rateInAll/2, burst*rateInAll/2),
	}
}

// allow reports whether a connection is within the rates. A connection that an address or a
// group has too many of takes nothing from others.
func (r *connectRates) allow(from networks) bool {
	own, other, isNew := r.local, r.remote, true // local ones all look the same
	if !from.local {
		if !r.addresses.Allow(from.address) || !r.groups.Allow(from.group) {
			return false
		}
		own, other, isNew = other, own, r.newGroups.Allow(from.group)
	}
	const whole = burst * rateInAll / 2
	return (isNew || own.Tokens() > whole/2) && own.Allow() || other.Tokens() > whole*3/4 && other.Allow()
}

// logRates limits the sessions that the log has lines about.
type logRates struct {
	all    *rate.Limiter
	groups *rates.Limiters
}

func newLogRates() logRates {
	return logRates{
		all:    rate.NewLimiter(loggedPerMinute/60.0, burstLogged),
		groups: rates.New(loggedOfGroup/60.0, burstOfGroup),
	}
}

// allow reports whether one more session is within the rates. Those that a group has too many
// of take nothing from others.
func (r *logRates) allow(from networks) bool {
	return (from.local || r.groups.Allow(from.group)) && r.all.Allow()
}
