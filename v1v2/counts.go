package v1v2

import "sync/atomic"

// Counts are one direction's, for another goroutine to read at any time.
type Counts struct {
	Messages atomic.Uint64 // translated
	Bytes    atomic.Uint64 // of them, as v1 has them

	// OnDrop, if not nil, is called with the first message that is dropped for each
	// Reason, by whoever calls Drop. It is to be set before anybody does.
	OnDrop func(Dropped)

	dropped [endOfReasons]atomic.Uint64
	last    atomic.Pointer[Type]
	agent   atomic.Pointer[string]
}

// Add counts a message of n bytes, header included.
func (c *Counts) Add(t Type, n int) {
	c.Messages.Add(1)
	c.Bytes.Add(uint64(n))
	if last := c.last.Load(); last == nil || *last != t {
		c.last.Store(known(t))
	}
}

// Drop counts a message that is not translated.
func (c *Counts) Drop(d Dropped) {
	if c.dropped[d.Reason].Add(1) == 1 && c.OnDrop != nil {
		c.OnDrop(d)
	}
}

// DroppedFor returns how many messages were dropped for a reason.
func (c *Counts) DroppedFor(r Reason) uint64 { return c.dropped[r].Load() }

// Dropped returns how many messages were dropped.
func (c *Counts) Dropped() (n uint64) {
	for i := range c.dropped {
		n += c.dropped[i].Load()
	}
	return n
}

// LastType is the type of the last message: empty before the first, and "other"
// for one that is not known here.
func (c *Counts) LastType() string {
	if t := c.last.Load(); t != nil {
		return t.String()
	}
	return ""
}

// NoteVersion takes the user agent from the payload of a VERSION message, the
// first that has one.
func (c *Counts) NoteVersion(payload []byte) {
	if c.agent.Load() != nil {
		return
	}
	if agent := UserAgent(payload); agent != "" {
		c.agent.CompareAndSwap(nil, &agent)
	}
}

// UserAgent is what the direction's VERSION says, or empty.
func (c *Counts) UserAgent() string {
	if agent := c.agent.Load(); agent != nil {
		return *agent
	}
	return ""
}

// longTypes are the types of Bitcoin Core's messages that have no one-byte id.
var longTypes = [...]string{
	"version", "verack", "getaddr", "sendheaders", "wtxidrelay", "sendaddrv2", "sendtxrcncl",
}

// allTypes are those that anybody knows, and otherType stands for the rest: who
// looks at a session must not make it allocate.
var allTypes, otherType = func() (all map[Type]*Type, other *Type) {
	all = make(map[Type]*Type)
	for t := range idByType {
		all[t] = &t
	}
	for _, name := range longTypes {
		t := TypeOf(name)
		all[t] = &t
	}
	unknown := TypeOf("other")
	return all, &unknown
}()

func known(t Type) *Type {
	if k, ok := allTypes[t]; ok {
		return k
	}
	return otherType
}
