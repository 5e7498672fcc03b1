package v1v2

import "sync/atomic"

// Counts counts the messages of one direction. Any goroutine may read it at any time.
type Counts struct {
	Messages atomic.Uint64 // translated
	Bytes    atomic.Uint64 // of these, in v1

	// OnDrop, if not nil, is called by Drop with the first message dropped for each
	// Reason. It must be set before the first call to Drop.
	OnDrop func(Dropped)

	dropped [endOfReasons]atomic.Uint64
	last    atomic.Pointer[Type]
	agent   atomic.Pointer[string]
}

// Add counts a message of n bytes, header included.
func (c *Counts) Add(t Type, n int) { c.addBatch(&batch{messages: 1, bytes: uint64(n), last: t}) }

// batch counts messages that leave together, without the cost of an atomic addition for each.
type batch struct {
	messages, bytes uint64
	last            Type
	total           int64 // bytes of all batches
}

func (b *batch) add(t Type, n int) {
	b.messages++
	b.bytes += uint64(n)
	b.last = t
	b.total += int64(n)
}

// addBatch counts the messages of b, and begins a new batch.
func (c *Counts) addBatch(b *batch) {
	if b.messages == 0 {
		return
	}
	c.Messages.Add(b.messages)
	c.Bytes.Add(b.bytes)
	if last := c.last.Load(); last == nil || *last != b.last {
		last = &otherType
		if known := b.last.known(); known != nil {
			last = &known.Type
		}
		c.last.Store(last)
	}
	b.messages, b.bytes = 0, 0
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

// LastType returns the type of the last message: empty before the first, "other" for an
// unknown one.
func (c *Counts) LastType() string {
	if t := c.last.Load(); t != nil {
		return t.String()
	}
	return ""
}

// NoteVersion records the user agent in the payload of a VERSION message, unless an
// earlier one had it.
func (c *Counts) NoteVersion(payload []byte) {
	if c.agent.Load() != nil {
		return
	}
	if agent := UserAgent(payload); agent != "" {
		c.agent.CompareAndSwap(nil, &agent)
	}
}

// UserAgent returns the user agent that NoteVersion recorded, or empty.
func (c *Counts) UserAgent() string {
	if agent := c.agent.Load(); agent != nil {
		return *agent
	}
	return ""
}

// otherType stands for all types that are not known, so that a peer that makes up types
// does not make Add allocate.
var otherType = TypeOf("other")
