package transport

import (
	"testing"
	"unsafe"
)

// ownConn counts the bytes of writes that are in own.
type ownConn struct {
	discardConn
	own      []byte
	in, size int
}

func (c *ownConn) Write(p []byte) (int, error) {
	begin, at := uintptr(unsafe.Pointer(unsafe.SliceData(c.own))), uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	if begin <= at && at < begin+uintptr(len(c.own)) {
		c.in += len(p)
	}
	c.size += len(p)
	return len(p), nil
}

// A large message is not copied, but for its ends: its memory has a limit, which a copy would evade.
func TestShapeDoesNotCopy(t *testing.T) {
	for _, mode := range []ShapeMode{ShapePad, ShapeCover} {
		for _, waits := range []int{0, 1, 16<<10 - 40, 20_000} {
			conn := new(ownConn)
			c := shapedTo(t, conn, Shape{Mode: mode, Every: maxEvery})
			if mode == ShapeCover {
				tickNow(c)
			}
			for n := waits; n > 0; n -= 5000 {
				if err := c.Queue(make([]byte, min(n, 5000))); err != nil {
					t.Fatal(err)
				}
			}
			conn.own, conn.size = make([]byte, 3_000_000), 0
			if err := c.WriteInPlace(conn.own); err != nil {
				t.Fatal(err)
			}
			if copied := len(conn.own) - conn.in; copied > 32<<10 || conn.size < len(conn.own) || conn.size%defaultBucket != 0 {
				t.Errorf("%v, %d bytes before: %d bytes are copied; %d are sent", mode, waits, copied, conn.size)
			}
			c.Close()
		}
	}
}
