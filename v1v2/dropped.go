package v1v2

import "strconv"

// Reason is why a message is dropped. Zero means that it is not.
type Reason uint8

// The reasons.
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

var reasonNames = [endOfReasons]string{"", "unknown_id", "empty", "short_type", "invalid_type", "wrong_checksum"}

// String returns the reason's name in metrics and the log.
func (r Reason) String() string { return reasonNames[r] }

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
	end := len(t)
	for end > 0 && t[end-1] == 0 {
		end--
	}
	quoted := strconv.QuoteToASCII(string(t[:end]))
	return quoted[1 : len(quoted)-1]
}
