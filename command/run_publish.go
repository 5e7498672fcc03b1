package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/stream"
)

const (
	// maxPublished is how many connections to COMMAND's published ports there may be at a time.
	maxPublished = 256

	// publishTimeout bounds connecting to a port of COMMAND.
	publishTimeout = 10 * time.Second

	// maxIdle is how long a relayed connection may be idle. TCP's keepalive finds ends that are
	// gone, and the programs at both ends have time limits themselves.
	maxIdle = 24 * time.Hour
)

// published is a port of COMMAND's loopback that programs outside reach.
type published struct {
	spec string // where to listen
	port uint16
}

// parsePublished parses the values of --publish.
func parsePublished(texts []string) (all []published, err error) {
	specs := make(map[string]bool)
	for _, text := range texts {
		i := strings.LastIndexByte(text, '=') // a socket may have options
		if i < 0 {
			return nil, fmt.Errorf("--publish: %q is invalid; must be HOST:PORT=PORT, such as 127.0.0.1:8332=8332", text)
		}
		p := published{spec: text[:i]}
		address, err := listen.Parse(p.spec)
		if err != nil {
			return nil, fmt.Errorf("--publish: %w; then =PORT, such as 127.0.0.1:8332=8332", err)
		}
		port, err := strconv.ParseUint(text[i+1:], 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("--publish: %q ends with an invalid port; must be from 1 to 65535, as in 127.0.0.1:8332=8332", text)
		}
		p.port = uint16(port)
		if specs[p.spec] && !address.AnyPort() {
			return nil, fmt.Errorf("--publish: %s is given twice; remove one, or use another port", p.spec)
		}
		specs[p.spec] = true
		all = append(all, p)
	}
	return all, nil
}

// open opens the listener.
func (p published) open() (net.Listener, error) {
	l, err := listen.Open(p.spec)
	if err != nil {
		hint := listenHint(err, p.spec)
		if hint != "" {
			hint = "; " + hint
		}
		return nil, fmt.Errorf("--publish: cannot listen: %w%s", err, hint)
	}
	return l, nil
}

// serve connects the clients of l to the port by dial until l is closed.
func (p published) serve(l net.Listener, log *slog.Logger, dial func(ctx context.Context, port uint16) (net.Conn, error)) {
	failing := new(condition)
	full := func(conn net.Conn) {
		reset(conn)
		failing.warn(log, "a connection to a published port was refused: too many at a time", "at_most", maxPublished)
	}
	acceptAtMost(make(chan struct{}, maxPublished), full, l, func(conn net.Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
		defer cancel()
		to, err := dial(ctx, p.port)
		if err != nil {
			reset(conn)
			failing.warn(log, "cannot connect to a published port of the command", "port", p.port, "err", err)
			return
		}
		failing.over()
		relay(conn, to)
	})
}

// condition is something that a warning tells only the first time, until it is over.
type condition struct{ told atomic.Bool }

func (c *condition) warn(log *slog.Logger, msg string, args ...any) {
	level := slog.LevelDebug
	if !c.told.Swap(true) {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, msg, args...)
}

func (c *condition) over() { c.told.Store(false) }

// acceptAtMost calls serve, in a goroutine, for each connection that l accepts until l is closed,
// or full while places has no room.
func acceptAtMost(places chan struct{}, full func(net.Conn), l net.Listener, serve func(net.Conn)) {
	accept(l, func(conn net.Conn) {
		select {
		case places <- struct{}{}:
		default:
			full(conn)
			return
		}
		go func() {
			defer func() { <-places }()
			serve(conn)
		}()
	})
}

// accept calls serve for each connection that l accepts until l is closed.
func accept(l net.Listener, serve func(net.Conn)) {
	var wait time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			wait = 0
			serve(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		wait = min(cmp.Or(2*wait, 5*time.Millisecond), time.Second) // there may be no descriptor left
		time.Sleep(wait)
	}
}

// relay copies in both directions until both have ended, and closes both connections.
func relay(a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	r := stream.NewRelay(stream.NewSocket(a), stream.NewSocket(b), maxIdle)
	var n atomic.Uint64
	end := func(err error) {
		if err != nil {
			reset(a)
			reset(b)
		}
	}
	var other sync.WaitGroup
	other.Go(func() { end(r.AToB(&n)) })
	end(r.BToA(&n, func() {}))
	other.Wait()
}

// reset closes a connection so that its other end sees that it was cut.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
