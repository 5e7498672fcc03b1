package fallback

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/v1v2"
)

// readsFrom is a connection for reading only.
type readsFrom struct {
	net.Conn
	r io.Reader
}

func (c readsFrom) Read(p []byte) (int, error) { return c.r.Read(p) }

// A peer has answered in v1 once the magic and the type of a VERSION have arrived, in whatever
// pieces and however they are read. Every byte reaches the reader.
func TestV1Answer(t *testing.T) {
	for _, c := range []struct {
		name     string
		says     []byte
		answered int
	}{
		{"VERSION", theirVersion, 1},
		{"VERSION twice", slices.Concat(theirVersion, theirVersion), 1},
		{"its magic and type", theirVersion[:16], 1},
		{"one byte less", theirVersion[:15], 0},
		{"that of another network", testkit.V1Message([4]byte{1, 2, 3, 4}, "version", make([]byte, 100)), 0},
		{"another message", testkit.V1Message(mainnet, "verack", nil), 0},
		{"VERSION after something else", slices.Concat(theirVersion[:8], theirVersion), 0},
		{"nothing", nil, 0},
	} {
		for _, pieces := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
		} {
			for _, read := range []func(io.Reader) ([]byte, error){
				io.ReadAll,
				func(r io.Reader) ([]byte, error) { var b bytes.Buffer; _, err := io.Copy(&b, r); return b.Bytes(), err },
				func(r io.Reader) ([]byte, error) { return io.ReadAll(iotest.OneByteReader(r)) },
			} {
				answered := 0
				conn := newV1Conn(readsFrom{r: pieces(bytes.NewReader(c.says))}, mainnet, func() { answered++ })
				got, err := read(conn)
				if answered != c.answered || !bytes.Equal(got, c.says) || err != nil {
					t.Errorf("%s: answered %d times, read %x, %v", c.name, answered, got, err)
				}
			}
		}
	}
}

// With a peer that is known to speak v1, and speaks first, no byte is lost, and each side can close
// its direction.
func TestDialContextV1PeerSpeaksFirst(t *testing.T) {
	testkit.NoLeaks(t)
	heard := make(chan []byte, 1)
	addr := testkit.Serve(t, func(nc net.Conn) {
		nc.Write(theirVersion)
		b, _ := io.ReadAll(nc)
		heard <- b
		nc.Write(theirVersion)
		nc.Close()
	})
	d := &Dialer{Mode: Always, Peers: new(Peers)}
	d.Peers.Note(addr, SpeaksV1)
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	conn := nc.(*v1v2.Conn)
	more := testkit.RandomBytes(1<<16, 3)
	if _, err := io.Copy(conn, bytes.NewReader(slices.Concat(ourVersion, more))); err != nil || conn.Transport() != "v1" {
		t.Errorf("wrote in %s: %v", conn.Transport(), err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Error(err)
	}
	if got := <-heard; !bytes.Equal(got, slices.Concat(ourVersion, more)) {
		t.Errorf("the peer heard %d bytes", len(got))
	}
	var got bytes.Buffer
	if _, err := io.Copy(&got, conn); err != nil || !bytes.Equal(got.Bytes(), slices.Concat(theirVersion, theirVersion)) {
		t.Errorf("read %x, %v", got.Bytes(), err)
	}
}
