package fallback

import (
	"io"
	"net"
	"strings"

	"bip324proxy/internal/stream"
	"bip324proxy/v1v2"
)

// v1Conn is a connection for v1 that calls answered once the peer has answered with the
// VERSION of the network. It is not for several readers at a time.
type v1Conn struct {
	net.Conn
	answered func()
	awaited  string // of the VERSION header; "" once the peer has answered
}

func newV1Conn(nc net.Conn, magic [4]byte, answered func()) *v1Conn {
	return &v1Conn{nc, answered, string(magic[:]) + v1v2.VersionPrefix}
}

// NetConn returns the connection underneath.
func (c *v1Conn) NetConn() net.Conn { return c.Conn }

func (c *v1Conn) CloseWrite() error { return stream.NewSocket(c.Conn).CloseWrite() }

func (c *v1Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.awaited != "" {
		c.look(p[:n])
	}
	return n, err
}

// look looks at the next bytes of the peer's first ones.
func (c *v1Conn) look(b []byte) {
	b = b[:min(len(b), len(c.awaited))]
	if !strings.HasPrefix(c.awaited, string(b)) {
		c.awaited, c.answered = "", nil
		return
	}
	if c.awaited = c.awaited[len(b):]; c.awaited == "" {
		c.answered()
		c.answered = nil
	}
}

// WriteTo is for io.Copy, which then has the kernel copy if it can.
func (c *v1Conn) WriteTo(w io.Writer) (n int64, err error) {
	for c.awaited != "" {
		b := make([]byte, len(c.awaited))
		k, err := c.Read(b)
		if k > 0 {
			written, err := w.Write(b[:k])
			if n += int64(written); err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	k, err := io.Copy(w, c.Conn)
	return n + k, err
}

// ReadFrom is for io.Copy, too.
func (c *v1Conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }
