package v1v2

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"bip324proxy/transport"
)

// Read and Write drop and count what the loops do.
func TestConnDrops(t *testing.T) {
	conn, peer := connAndPeer(t)
	var reported []Dropped
	conn.Sent.OnDrop = func(d Dropped) { reported = append(reported, d) }
	conn.Received.OnDrop = conn.Sent.OnDrop
	up, down := v1Bytes(mainnet, "pong", nil), v1Bytes(mainnet, "ping", nil)
	for _, bad := range badMessages {
		before := conn.Sent.DroppedFor(bad.want.Reason) + conn.Received.DroppedFor(bad.want.Reason)
		reported = nil
		if bad.raw != nil {
			if n, err := conn.Write(append(bytes.Clone(bad.raw), up...)); n != len(bad.raw)+len(up) || err != nil {
				t.Fatalf("%+v: got %d, %v", bad.want, n, err)
			}
			checkPackets(t, peer, [][]byte{v2Bytes("pong", nil)})
		} else {
			if err := errors.Join(peer.Queue(bad.contents), peer.WritePacket(v2Bytes("ping", nil))); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(down))
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, down) {
				t.Fatalf("%+v: got %x, %v, want %x", bad.want, got, err, down)
			}
		}
		if n := conn.Sent.DroppedFor(bad.want.Reason) + conn.Received.DroppedFor(bad.want.Reason); n != before+1 {
			t.Errorf("%+v: counted %d times, want once", bad.want, n-before)
		}
		if len(reported) > 1 || len(reported) == 1 && reported[0] != bad.want {
			t.Errorf("%+v: reported as %+v", bad.want, reported)
		}
	}
}

// What the loops end for is a final error of Write. What was written before it has been sent.
func TestWriteErrors(t *testing.T) {
	ping := v1Bytes(mainnet, "ping", testBytes(8, 1))
	for _, c := range []struct {
		name string
		bad  []byte
		is   func(error) bool
	}{
		{"wrong magic", v1Bytes([4]byte{1, 2, 3, 4}, "verack", nil), isMagic},
		{"too long", lying(4_000_001), isLength(4_000_001)},
		{"much too long", lying(1<<31 - 1), isLength(1<<31 - 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, peer := connAndPeer(t)
			n, err := conn.Write(append(bytes.Clone(ping), c.bad...))
			if n != len(ping) || !c.is(err) {
				t.Errorf("got %d, %v", n, err)
			}
			if n, again := conn.Write(ping); n != 0 || again != err {
				t.Errorf("then: got %d, %v, want the same error", n, again)
			}
			_, err = conn.ReadFrom(bytes.NewReader(ping))
			checkEnded(t, err, ClientSide, c.is)
			checkPackets(t, peer, [][]byte{v2Bytes("ping", testBytes(8, 1))})
			if err := conn.CloseWrite(); err != nil {
				t.Error(err)
			}
			if _, err := peer.ReadPacket(); err != io.EOF {
				t.Errorf("the peer got %v, want the end of the stream", err)
			}
		})
	}
}

// A message that is too large for v1 is a final error of Read, after those before it.
func TestReadErrors(t *testing.T) {
	ping := v1Bytes(mainnet, "ping", testBytes(8, 1))
	for _, n := range []int{1, 5, 12} {
		conn, peer := connAndPeer(t)
		go func() {
			peer.Queue(v2Bytes("ping", testBytes(8, 1)))
			peer.WritePacket(v2Bytes("tx", testBytes(transport.MaxContents, 1)[:MaxPayload+n]))
		}()
		got, err := io.ReadAll(struct{ io.Reader }{conn})
		if !bytes.Equal(got, ping) || !isLength(int64(MaxPayload+n))(err) {
			t.Errorf("%d bytes too large: got %d bytes, %v", n, len(got), err)
		}
		if _, again := conn.Read(make([]byte, 1)); again != err {
			t.Errorf("then: got %v, want the same error", again)
		}
		if _, err := conn.WriteTo(io.Discard); !isLength(int64(MaxPayload + n))(err) {
			t.Errorf("WriteTo then: got %v, want the same error", err)
		}
	}
}

// The end of the peer's stream within a message is not the end of the stream, and both are final.
func TestReadEnds(t *testing.T) {
	for name, cut := range map[string]int{"within": 1, "between": 0} {
		t.Run(name, func(t *testing.T) {
			client, server := connPair(t, socketPairs["TCP"])
			want := io.EOF
			if cut > 0 {
				want = io.ErrUnexpectedEOF
				server.NetConn().Write([]byte{0x55}) // the first byte of a packet's length
			}
			if err := server.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if n, err := client.Read(make([]byte, 10)); n != 0 || err != want {
					t.Errorf("got %d, %v, want %v", n, err, want)
				}
			}
		})
	}
}

// CloseWrite ends the stream for the peer, without a message that was written in part; reading goes
// on, and writing does not.
func TestCloseWrite(t *testing.T) {
	ping := v1Bytes(mainnet, "ping", testBytes(8, 1))
	for name, pair := range map[string]func() (client, server *Conn){
		"v2": func() (client, server *Conn) { return connPair(t, socketPairs["TCP"]) },
		"v1": func() (client, server *Conn) {
			a, b := socketPairs["TCP"](t)
			return newPlainConn(a, mainnet), newPlainConn(b, mainnet)
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := pair()
			written, want := append(bytes.Clone(ping), ping[:30]...), ping
			if name == "v1" {
				want = written // as it is
			}
			if _, err := client.Write(written); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := client.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := io.ReadAll(server); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the peer got %x, %v, want %x", got, err, want)
			}
			if n, err := client.Write(ping); n != 0 || err != io.ErrClosedPipe {
				t.Errorf("Write: got %d, %v, want %v", n, err, io.ErrClosedPipe)
			}
			if _, err := client.ReadFrom(bytes.NewReader(ping)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("ReadFrom: got %v, want %v", err, io.ErrClosedPipe)
			}
			if _, err := server.Write(ping); err != nil {
				t.Fatal(err)
			}
			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, ping) {
				t.Errorf("got %x, %v, want %x", got, err, ping)
			}
			client.Close()
		})
	}
}
