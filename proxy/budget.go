package proxy

import "bip324proxy/transport"

// budget is what the sessions of one direction share: outbound, those of clients, or inbound,
// those of peers. Strangers who use up theirs take nothing from the user's own connections.
type budget struct {
	max    int // sessions
	live   int // sessions
	memory *transport.Memory
	turns  chan struct{} // semaphore of handshakes that compute
	tally  tally
}

// newBudget returns a budget of that many sessions and turns: handshakes that compute at a
// time; with memory for large messages, for sessions with these kinds of refusals.
func newBudget(sessions int, memory *transport.Memory, turns int, kinds []string) budget {
	return budget{
		max:    sessions,
		memory: memory,
		turns:  make(chan struct{}, turns),
		tally:  newTally(kinds),
	}
}
