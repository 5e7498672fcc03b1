package transport

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ShapeMode is how a connection hides the sizes and the times of what it sends.
type ShapeMode string

// The modes.
const (
	ShapeOff    ShapeMode = ""       // sizes and times are those of the messages
	ShapeCore   ShapeMode = "core"   // likewise, and Config.First leaves when Bitcoin Core's VERSION would
	ShapePad    ShapeMode = "pad"    // each write is filled up to a power of two
	ShapeCover  ShapeMode = "cover"  // writes have one size, and a rhythm that does not depend on what is sent
	ShapeTunnel ShapeMode = "tunnel" // likewise in both directions, if the other end has this mode, too
)

// ShapeModes are the names of all modes, in the form of ParseShape.
var ShapeModes = []string{"off", "core", "pad", "cover", "tunnel"}

// String returns the mode's name.
func (m ShapeMode) String() string {
	if m == ShapeOff {
		return "off"
	}
	return string(m)
}

// Shape configures how a connection hides the sizes and the times of what it sends: by
// decoys, which the peer ignores (BIP324), and in the modes cover and tunnel by delays. No
// message is added, dropped or altered. The zero Shape does nothing; the zero value of each
// further field is the default.
//
// Once cells have begun, packets of up to 64 KiB together wait for them. The calls that wrote them
// have returned by then: if one cannot be sent, a later call returns the error.
type Shape struct {
	Mode ShapeMode

	// Bucket is the size of the smallest write of the mode pad, in bytes: a power of two from
	// 256 to 16,384; by default 1,024. Writes of over 16 KiB are filled up to multiples of that.
	Bucket int

	// Cell is the size of a write of cover and tunnel, in bytes, from 256 to 16,384; by
	// default 1,024.
	Cell int

	// Every is the mean time from one cell to the next, from 100 ms to a minute; by default two
	// seconds, or one in a tunnel. Each is drawn anew, from half of that to one and a half.
	Every time.Duration

	// Burst is the size of a backlog that leaves a tunnel at once, in bytes, from 1,024 to
	// 65,536; by default 8,192. Smaller ones leave in cells.
	Burst int

	// Fakes is the mean time from one false burst to the next in a tunnel, at least a second; by
	// default ten minutes. Negative means none.
	Fakes time.Duration

	// Budget limits the cells and false bursts of a day, in bytes, from a MiB to a TiB; by
	// default 100 MiB. When it is used up the mode is pad for the rest of the day, which began
	// with the connection or the last renewal. Messages in cells count like filler: otherwise
	// the time of the last cell would tell how much was sent. Bursts and overflows do not count.
	Budget int64

	// Changed, if not nil, is called when the mode in force changes during the connection. It
	// may be called by any goroutine, must not block, and must not use the connection.
	Changed func(ShapeChange)
}

// ShapeChange says that the mode has changed.
type ShapeChange struct {
	Mode   ShapeMode // from now on, or once cells begin
	Reason ShapeReason
}

// ShapeReason is why the mode in force has changed.
type ShapeReason string

// The reasons.
const (
	ShapeAgreed        ShapeReason = "agreed"         // both ends have the mode tunnel
	ShapeNotAgreed     ShapeReason = "not_agreed"     // the other end of a tunnel has not answered in time
	ShapeBudgetUsed    ShapeReason = "budget_used"    // see Shape.Budget
	ShapeBudgetRenewed ShapeReason = "budget_renewed" // a day has passed
)

// Shaping is what the Shape of a connection does, and what it has cost so far.
type Shaping struct {
	Mode           ShapeMode // in force: pad until cells begin, cover until the tunnel is agreed
	SentReal       uint64    // bytes of packets that are no filler, since the handshake
	SentFiller     uint64    // bytes of filler, the handshake's too
	ReceivedFiller uint64    // bytes of the peer's decoys after its version packet
	Overflows      uint64    // how often a backlog of over 64 KiB has left at once, without cells
}

const (
	minBucket, maxBucket, defaultBucket = 256, 16 << 10, 1 << 10
	minCell, maxCell, defaultCell       = 256, 16 << 10, 1 << 10
	minBurst, maxBurst, defaultBurst    = 1 << 10, 64 << 10, 8 << 10
	minEvery, maxEvery                  = 100 * time.Millisecond, time.Minute
	coverEvery, tunnelEvery             = 2 * time.Second, time.Second
	minFakes, defaultFakes              = time.Second, 10 * time.Minute
	minBudget, maxBudget, defaultBudget = 1 << 20, 1 << 40, 100 << 20
)

// WithDefaults returns s with the defaults of its mode in place of zeros.
func (s Shape) WithDefaults() Shape {
	every := coverEvery
	if s.Mode == ShapeTunnel {
		every = tunnelEvery
	}
	setDefault(&s.Bucket, defaultBucket)
	setDefault(&s.Cell, defaultCell)
	setDefault(&s.Every, every)
	setDefault(&s.Burst, defaultBurst)
	setDefault(&s.Fakes, defaultFakes)
	setDefault(&s.Budget, defaultBudget)
	return s
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// check returns an error if s is invalid.
func (s Shape) check() error {
	d := s.WithDefaults()
	switch {
	case d.Bucket < minBucket || d.Bucket > maxBucket || d.Bucket&(d.Bucket-1) != 0:
		return fmt.Errorf("bucket=%d is invalid; must be a power of two from %d to %d", d.Bucket, minBucket, maxBucket)
	case d.Cell < minCell || d.Cell > maxCell:
		return fmt.Errorf("cell=%d is invalid; must be from %d to %d", d.Cell, minCell, maxCell)
	case d.Every < minEvery || d.Every > maxEvery:
		return fmt.Errorf("every=%v is invalid; must be from %v to %v", d.Every, minEvery, maxEvery)
	case d.Burst < minBurst || d.Burst > maxBurst:
		return fmt.Errorf("burst=%d is invalid; must be from %d to %d", d.Burst, minBurst, maxBurst)
	case d.Fakes > 0 && d.Fakes < minFakes:
		return fmt.Errorf("fakes=%v is invalid; must be at least %v, or off", d.Fakes, minFakes)
	case d.Budget < minBudget || d.Budget > maxBudget:
		return fmt.Errorf("budget=%d is invalid; must be from %d to %d MiB", d.Budget>>20, minBudget>>20, maxBudget>>20)
	}
	switch s.Mode {
	case ShapeOff, ShapeCore, ShapePad, ShapeCover, ShapeTunnel:
		return nil
	}
	return fmt.Errorf("%q is invalid; must be one of %s", string(s.Mode), strings.Join(ShapeModes, ", "))
}

// FillerPerDay returns how many bytes the cells and false bursts of a connection have in a day,
// whatever they carry. It returns zero for the other modes: the filler of pad depends on what is
// sent.
func (s Shape) FillerPerDay() int64 {
	if s.Mode != ShapeCover && s.Mode != ShapeTunnel {
		return 0
	}
	s = s.WithDefaults()
	n := int64(s.Cell) * int64(day) / int64(s.Every)
	if s.Mode == ShapeTunnel && s.Fakes > 0 {
		n += int64(meanFake) * int64(day/s.Fakes)
	}
	return min(n, s.Budget)
}

// shapeKey is a key of ParseShape.
type shapeKey struct {
	name  string
	modes string // those that have it
	set   func(s *Shape, value string) error
	get   func(s *Shape) string // empty: the default
}

func (k *shapeKey) belongsTo(m ShapeMode) bool {
	return m != ShapeOff && strings.Contains(k.modes, string(m))
}

var shapeKeys = []shapeKey{
	{"bucket", "pad cover tunnel", func(s *Shape, v string) error { return parseInt(&s.Bucket, v) },
		func(s *Shape) string { return formatInt(s.Bucket) }},
	{"cell", "cover tunnel", func(s *Shape, v string) error { return parseInt(&s.Cell, v) },
		func(s *Shape) string { return formatInt(s.Cell) }},
	{"every", "cover tunnel", func(s *Shape, v string) error { return parseDuration(&s.Every, v) },
		func(s *Shape) string { return formatDuration(s.Every) }},
	{"burst", "tunnel", func(s *Shape, v string) error { return parseInt(&s.Burst, v) },
		func(s *Shape) string { return formatInt(s.Burst) }},
	{"fakes", "tunnel", func(s *Shape, v string) error {
		if v == "off" {
			s.Fakes = -1
			return nil
		}
		if parseDuration(&s.Fakes, strings.TrimPrefix(v, "1/")) != nil {
			return errors.New("must be a positive duration, such as 10m, or off")
		}
		return nil
	}, func(s *Shape) string {
		if s.Fakes < 0 {
			return "off"
		}
		return formatDuration(s.Fakes)
	}},
	{"budget", "cover tunnel", func(s *Shape, v string) error {
		var mib int
		err := parseInt(&mib, v)
		s.Budget = int64(mib) << 20
		return err
	}, func(s *Shape) string { return formatInt(int(s.Budget >> 20)) }},
}

// ParseShape parses MODE[,key=value…], such as "pad", "cover,cell=2048,every=4s" and
// "tunnel,fakes=off". The keys are the fields of Shape in lower case; budget is in MiB.
func ParseShape(text string) (Shape, error) {
	mode, rest, more := strings.Cut(text, ",")
	if !slices.Contains(ShapeModes, mode) {
		return Shape{}, &ShapeError{Word: mode, Valid: ShapeModes}
	}
	s := Shape{Mode: ShapeMode(mode)}
	if mode == "off" {
		s.Mode = ShapeOff
	}
	seen := make(map[string]bool)
	for more {
		var pair string
		pair, rest, more = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return Shape{}, fmt.Errorf("%q is invalid; must be key=value, such as cell=2048", pair)
		}
		if seen[name] {
			return Shape{}, fmt.Errorf("%s is given twice", name)
		}
		seen[name] = true
		if err := s.set(name, value); err != nil {
			return Shape{}, err
		}
	}
	if err := s.check(); err != nil {
		return Shape{}, err
	}
	return s, nil
}

// set sets the field that ParseShape calls name.
func (s *Shape) set(name, value string) error {
	var valid []string
	for _, k := range shapeKeys {
		if !k.belongsTo(s.Mode) {
			continue
		}
		if k.name == name {
			if err := k.set(s, value); err != nil {
				return fmt.Errorf("%s=%s is invalid; %w", name, value, err)
			}
			return nil
		}
		valid = append(valid, k.name)
	}
	return &ShapeError{Word: name, Valid: valid, Mode: s.Mode.String()}
}

// ShapeError is an unknown mode, or a key that the mode does not have.
type ShapeError struct {
	Word  string   // the unknown one
	Valid []string // the known ones
	Mode  string   // whose key it is; empty if it is a mode
}

func (e *ShapeError) Error() string {
	valid := strings.Join(e.Valid, ", ")
	if last := len(e.Valid) - 1; last > 0 {
		valid = strings.Join(e.Valid[:last], ", ") + " or " + e.Valid[last]
	}
	switch {
	case e.Mode == "":
		return fmt.Sprintf("%q is invalid; must be %s", e.Word, valid)
	case len(e.Valid) == 0:
		return fmt.Sprintf("%q is invalid; %s has no keys", e.Word, e.Mode)
	}
	return fmt.Sprintf("%q is not a key of %s; must be %s", e.Word, e.Mode, valid)
}

// String returns s in the form of ParseShape, without the fields that are zero.
func (s Shape) String() string {
	text := s.Mode.String()
	for _, k := range shapeKeys {
		if value := k.get(&s); value != "" && k.belongsTo(s.Mode) {
			text += "," + k.name + "=" + value
		}
	}
	return text
}

func parseInt(field *int, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n <= 0 || n > 1<<30 {
		return errors.New("must be a positive integer")
	}
	*field = n
	return nil
}

func parseDuration(field *time.Duration, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return errors.New("must be a positive duration, such as 2s")
	}
	*field = d
	return nil
}

func formatInt(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func formatDuration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
