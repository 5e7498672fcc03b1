package test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// torControl is a connection to a Tor's ControlPort (control-spec).
type torControl struct {
	conn net.Conn
	out  *lines     // Tor's output; events begin with 650
	mu   sync.Mutex // held from a command to its answer
}

// dialTorControl connects and authenticates. The connection lasts as long as the test.
func dialTorControl(t *testing.T, addr string) *torControl {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &torControl{conn: conn, out: newLines()}
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(c.out, conn)
	}()
	t.Cleanup(func() {
		conn.Close()
		<-read
	})
	c.command(t, "AUTHENTICATE")
	return c
}

// command sends a line and returns Tor's answer, which must report success.
func (c *torControl) command(t *testing.T, command string) []string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.out.all())
	if _, err := io.WriteString(c.conn, command+"\r\n"); err != nil {
		t.Fatal(err)
	}
	var answer []string
	eventually(t, "an answer to "+command, func() bool {
		answer = slices.DeleteFunc(slices.Clone(c.out.all()[before:]),
			func(line string) bool { return strings.HasPrefix(line, "650") })
		return len(answer) > 0 && len(answer[len(answer)-1]) > 3 && answer[len(answer)-1][3] == ' '
	})
	if last := answer[len(answer)-1]; !strings.HasPrefix(last, "250") {
		t.Fatalf("Tor answers %q with %q", command, last)
	}
	return answer
}

func (c *torControl) version(t *testing.T) string {
	t.Helper()
	_, version, _ := strings.Cut(c.command(t, "GETINFO version")[0], "version=")
	return "Tor " + version
}

// torStream is Tor's report of one SOCKS request.
type torStream struct {
	id             int
	target         string // "host:port" as requested
	user, password string // the request's
	circuit        string // the last one it was attached to
	connected      bool
}

// torWatch reads Tor's reports of the requests for one target from now on. Earlier, the port may have been another
// target's.
type torWatch struct {
	*torControl
	target string
	after  int // number of lines
}

func (c *torControl) watch(target string) torWatch {
	return torWatch{c, target, len(c.out.all())}
}

// connected returns the requests that were connected, finished ones included, oldest first.
func (w torWatch) connected(t *testing.T) []torStream {
	t.Helper()
	all := map[int]*torStream{}
	for _, line := range w.out.all()[w.after:] {
		fields := strings.Fields(line) // 650 STREAM id status circuit target key=value...
		if len(fields) < 6 || fields[1] != "STREAM" {
			continue
		}
		id, err := strconv.Atoi(fields[2])
		if err != nil {
			t.Fatalf("invalid stream number: %s", line)
		}
		s := all[id]
		if s == nil {
			s = &torStream{id: id}
			all[id] = s
		}
		keys := torKeys(line)
		switch fields[3] {
		case "NEW", "NEWRESOLVE":
			s.target = fields[5]
			s.user, s.password = keys["SOCKS_USERNAME"], keys["SOCKS_PASSWORD"]
		case "SENTCONNECT", "SENTRESOLVE":
			s.circuit = fields[4]
		case "SUCCEEDED":
			s.circuit, s.connected = fields[4], true
		}
	}
	var streams []torStream
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if s := all[id]; s.connected && s.target == w.target {
			streams = append(streams, *s)
		}
	}
	return streams
}

// await waits until Tor has reported that many connected streams.
func (w torWatch) await(t *testing.T, count int) []torStream {
	t.Helper()
	var streams []torStream
	eventually(t, fmt.Sprintf("Tor reports %d connected streams to %s", count, w.target), func() bool {
		streams = w.connected(t)
		return len(streams) >= count
	})
	return streams
}

// path returns the relays of a circuit, first hop first.
func (c *torControl) path(t *testing.T, circuit string) []string {
	t.Helper()
	for _, line := range slices.Backward(c.out.all()) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[1] == "CIRC" && fields[2] == circuit && fields[3] == "BUILT" {
			return strings.Split(fields[4], ",")
		}
	}
	for _, line := range c.command(t, "GETINFO circuit-status") { // circuits built earlier
		line = strings.TrimPrefix(line, "250+circuit-status=")
		line = strings.TrimPrefix(line, "250-circuit-status=")
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == circuit {
			return strings.Split(fields[2], ",")
		}
	}
	t.Fatalf("Tor does not know circuit %s", circuit)
	return nil
}

var torKey = regexp.MustCompile(`([A-Z_]+)=("(?:[^"\\]|\\.)*"|\S*)`)

func torKeys(line string) map[string]string {
	keys := map[string]string{}
	for _, m := range torKey.FindAllStringSubmatch(line, -1) {
		value := m[2]
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		keys[m[1]] = value
	}
	return keys
}
