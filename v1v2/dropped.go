package v1v2

import "strconv"

// Reason is why a message is dropped. Zero is none.
type Reason uint8

// The reasons.
const (
	UnknownID     Reason = 1 + iota // v2: nobody has assigned it, as far as is known here
	Empty                           // v2: a packet without contents
	ShortType                       // v2: a long form that ends within its type
	InvalidType                     // v2's long form, or v1
	WrongChecksum                   // v1
	endOfReasons
)

// Reasons are all reasons.
var Reasons = []Reason{UnknownID, Empty, ShortType, InvalidType, WrongChecksum}

// String returns the reason's name in metrics and the log.
func (r Reason) String() string {
	switch r {
	case UnknownID:
		return "unknown_id"
	case Empty:
		return "empty"
	case ShortType:
		return "short_type"
	case InvalidType:
		return "invalid_type"
	case WrongChecksum:
		return "wrong_checksum"
	}
	return "reason " + strconv.Itoa(int(r))
}

// Dropped is a message that was not translated.
type Dropped struct {
	Reason Reason
	ID     byte // of UnknownID
	Type   Type // of all others, as far as it arrived; its bytes are the sender's choice
}

// droppedContents describes the contents of a v2 packet that were dropped.
func droppedContents(contents []byte, r Reason) Dropped {
	d := Dropped{Reason: r}
	if r == UnknownID {
		d.ID = contents[0]
	} else if len(contents) > 0 {
		copy(d.Type[:], contents[1:])
	}
	return d
}

// Quoted returns the type in printable ASCII, at most 48 bytes: everything else is
// escaped as in Go.
func (t Type) Quoted() string {
	end := len(t)
	for end > 0 && t[end-1] == 0 {
		end--
	}
	quoted := strconv.QuoteToASCII(string(t[:end]))
	return quoted[1 : len(quoted)-1]
}
