package inbound

import (
	"golang.org/x/time/rate"

	"bip324proxy/internal/rates"
)

const (
	// ratePerAddress and burstPerAddress limit the connections of one address a second, and
	// at once.
	ratePerAddress, burstPerAddress = 2, 10

	// rateInAll limits the connections of all peers a second; burst seconds' worth may come
	// at once. A handshake takes half a millisecond of a processor.
	rateInAll = 100
	burst     = 2
)

// connectRates limits how often peers connect.
type connectRates struct {
	addresses, groups *rates.Limiters
	local, remote     *rate.Limiter // half of rateInAll each
}

func newConnectRates() connectRates {
	return connectRates{
		addresses: rates.New(ratePerAddress, burstPerAddress),
		groups:    rates.New(rateInAll/groupShare, burst*rateInAll/groupShare),
		local:     rate.NewLimiter(rateInAll/2, burst*rateInAll/2),
		remote:    rate.NewLimiter(rateInAll/2, burst*rateInAll/2),
	}
}

// allow reports whether a connection is within the rates. A connection that an address or a
// group has too many of takes nothing from others.
func (r *connectRates) allow(from networks) bool {
	own, other := r.local, r.remote
	if !from.local {
		if !r.addresses.Allow(from.address) || !r.groups.Allow(from.group) {
			return false
		}
		own, other = other, own
	}
	return own.Allow() || other.Tokens() > burst*rateInAll/4 && other.Allow()
}
