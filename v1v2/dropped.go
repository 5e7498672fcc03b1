package v1v2

import (
	"cmp"
	"strconv"
	"strings"
)

// Reason is why a message is dropped. Zero means that it is not.
type Reason uint8

const (
	UnknownID     Reason = 1 + iota // v2: the id is not in messageIDs
	Empty                           // v2: the packet has no contents
	ShortType                       // v2: the contents end within the long form's type
	InvalidType                     // v1, or v2's long form
	WrongChecksum                   // v1
	endOfReasons
)

// Reasons holds all reasons.
var Reasons = []Reason{UnknownID, Empty, ShortType, InvalidType, WrongChecksum}

var reasonNames = map[Reason]string{
	UnknownID: "unknown_id", Empty: "empty", ShortType: "short_type", InvalidType: "invalid_type", WrongChecksum: "wrong_checksum",
}

// String returns the reason's name in metrics and the log.
func (r Reason) String() string { return cmp.Or(reasonNames[r], "reason "+strconv.Itoa(int(r))) }

// Dropped describes a message that was not translated.
type Dropped struct {
	Reason Reason
	ID     byte // if Reason is UnknownID
	Type   Type // otherwise, as far as it arrived; its bytes are the sender's choice
}

// droppedContents describes dropped contents of a v2 packet.
func droppedContents(contents []byte, r Reason) Dropped {
	d := Dropped{Reason: r}
	if r == UnknownID {
		d.ID = contents[0]
	} else if len(contents) > 0 {
		copy(d.Type[:], contents[1:])
	}
	return d
}

// Quoted returns the type in printable ASCII, at most 48 bytes, with everything else
// escaped as in Go.
func (t Type) Quoted() string {
	quoted := strconv.QuoteToASCII(strings.TrimRight(string(t[:]), "\x00"))
	return quoted[1 : len(quoted)-1]
}
