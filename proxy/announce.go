package proxy

import "bip324proxy/v1v2"

// newMessages returns a Reader of what our side of the session, the client or the node,
// sends to the peer, with what Policy.Announce alters.
func (s *session) newMessages() *v1v2.Reader {
	messages := v1v2.NewReader(s.in, s.magic)
	if len(s.policy.Announce) > 0 {
		messages.Alter = s.policy.Announce.Alter
	}
	return messages
}
