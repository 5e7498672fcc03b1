package v1v2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

var versionMessage = v1Bytes(mainnet, "version", testBytes(100, 1))

// The first message decides, however it is cut, and arrives with what follows it. Any magic does.
func TestLaterCutAnywhere(t *testing.T) {
	magic := [4]byte{1, 2, 3, 4}
	version, verack := v1Bytes(magic, "version", testBytes(30, 1)), v1Bytes(magic, "verack", nil)
	dropped := bytes.Clone(version)
	dropped[30] ^= 1
	both := append(bytes.Clone(version), verack...)
	for name, c := range map[string]struct {
		stream, want []byte
		drops        uint64
	}{
		"VERSION":               {both, both, 0},
		"wrong checksum before": {append(dropped, version...), version, 1},
	} {
		for _, protocol := range []string{"v1", "v2"} {
			for _, loop := range []bool{false, true} {
				t.Run(fmt.Sprintln(name, protocol, loop), func(t *testing.T) {
					for cut := range len(c.stream) + 1 {
						synctest.Test(t, func(t *testing.T) {
							a, b := net.Pipe()
							decide := speakV2(a)
							if protocol == "v1" {
								decide = speakV1(a)
							}
							conn := Later(a, decide)
							defer conn.Close()
							if got := conn.Transport(); got != "detecting" {
								t.Errorf("at first: got %q", got)
							}
							go writeCut(t, conn, c.stream, cut, loop)
							got := readAll(t, protocol, magic, b)
							synctest.Wait()
							if n := conn.Sent.DroppedFor(WrongChecksum); !bytes.Equal(got, c.want) || n != c.drops {
								t.Errorf("cut at %d: got %x and %d dropped, want %x and %d", cut, got, n, c.want, c.drops)
							}
							if got := conn.Transport(); got != protocol {
								t.Errorf("got %q, want %q", got, protocol)
							}
							if _, ok := conn.SessionID(); ok != (protocol == "v2") {
								t.Errorf("%s: SessionID returned %v", protocol, ok)
							}
						})
					}
				})
			}
		}
	}
}

// writeCut writes stream in two pieces, the second with ReadFrom if loop is true.
func writeCut(t *testing.T, conn *Conn, stream []byte, cut int, loop bool) {
	_, err := conn.Write(stream[:cut])
	if loop {
		_, again := conn.ReadFrom(&scripted{data: bytes.Clone(stream[cut:]), chunk: every(7)})
		err = errors.Join(err, again)
	} else {
		_, again := conn.Write(stream[cut:])
		err = errors.Join(err, again)
	}
	if err := errors.Join(err, conn.CloseWrite()); err != nil {
		t.Errorf("cut at %d: %v", cut, err)
	}
}

// readAll reads a stream to its end.
func readAll(t *testing.T, protocol string, magic [4]byte, nc net.Conn) []byte {
	var r io.Reader = nc
	if protocol == "v2" {
		server, err := Server(context.Background(), nc, transport.Config{Magic: magic})
		if err != nil {
			t.Error(err)
			return nil
		}
		defer server.Close()
		r = server
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return got
}

// Nothing reaches the peer of a stream that does not begin with a valid VERSION.
func TestLaterNotVersion(t *testing.T) {
	dropped := bytes.Clone(versionMessage)
	dropped[30] ^= 1
	long := lying(MaxPayload + 1)
	copy(long[4:], VersionPrefix)
	for name, c := range map[string]struct {
		stream []byte
		is     func(error) bool
	}{
		"verack":                   {v1Bytes(mainnet, "verack", nil), is(ErrNotVersion)},
		"unknown magic":            {v1Bytes([4]byte{1, 2, 3, 4}, "verack", nil), is(ErrNotVersion)},
		"another protocol":         {[]byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), is(ErrNotVersion)},
		"like VERSION":             {v1Bytes(mainnet, "versionx", nil), is(ErrNotVersion)},
		"too long":                 {long, isLength(MaxPayload + 1)},
		"after a wrong checksum":   {append(bytes.Clone(dropped), v1Bytes(mainnet, "verack", nil)...), is(ErrNotVersion)},
		"another magic after that": {append(bytes.Clone(dropped), v1Bytes([4]byte{1}, "version", nil)...), isMagic},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, write := range []func(*Conn) error{
					func(conn *Conn) error { _, err := conn.Write(bytes.Clone(c.stream)); return err },
					func(conn *Conn) error { _, err := conn.ReadFrom(bytes.NewReader(c.stream)); return err },
				} {
					a, b := net.Pipe()
					conn := Later(a, func(context.Context, [4]byte, []byte) (*transport.Conn, net.Conn, error) {
						t.Error("decide was called")
						return nil, a, nil
					})
					for range 2 {
						if err := write(conn); !c.is(err) {
							t.Errorf("got %v", err)
						}
					}
					synctest.Wait()
					b.SetReadDeadline(past)
					if n, err := b.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
						t.Errorf("the peer got %d bytes, %v", n, err)
					}
					conn.Close()
				}
			})
		})
	}
}

// testError is an error of decide.
type testError struct{}

func (*testError) Error() string { return "this is a test" }

// If decide fails, all calls have its error, and the connection is closed.
func TestLaterFails(t *testing.T) {
	for name, begin := range map[string]func(*Conn) error{
		"Write":     func(c *Conn) error { _, err := c.Write(versionMessage); return err },
		"ReadFrom":  func(c *Conn) error { _, err := c.ReadFrom(bytes.NewReader(versionMessage)); return err },
		"Handshake": func(c *Conn) error { return c.Handshake(context.Background(), mainnet) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				failed := fmt.Errorf("dialling: %w", new(testError))
				conn := Later(a, func(context.Context, [4]byte, []byte) (*transport.Conn, net.Conn, error) {
					return nil, nil, failed
				})
				read := make(chan error)
				go func() {
					_, err := conn.Read(make([]byte, 1))
					read <- err
				}()
				synctest.Wait()
				check := func(name string, err error) {
					t.Helper()
					var want *testError
					if !errors.Is(err, failed) || !errors.As(err, &want) {
						t.Errorf("%s: got %v, want decide's error", name, err)
					}
				}
				check("the call", begin(conn))
				check("Read in progress", <-read)
				for name, call := range map[string]func() (int, error){
					"Read":       func() (int, error) { return conn.Read(make([]byte, 1)) },
					"Write":      func() (int, error) { return conn.Write(versionMessage) },
					"WriteTo":    func() (int, error) { n, err := conn.WriteTo(io.Discard); return int(n), err },
					"ReadFrom":   func() (int, error) { n, err := conn.ReadFrom(bytes.NewReader(versionMessage)); return int(n), err },
					"CloseWrite": func() (int, error) { return 0, conn.CloseWrite() },
				} {
					n, err := call()
					if check(name, err); n != 0 {
						t.Errorf("%s: got %d", name, n)
					}
				}
				if _, err := b.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("the peer got %v, want the end", err)
				}
				if got := conn.Transport(); got != "detecting" {
					t.Errorf("got %q", got)
				}
				if err := conn.Close(); err != nil {
					t.Errorf("Close: got %v", err)
				}
				if _, err := conn.Read(make([]byte, 1)); err != net.ErrClosed {
					t.Errorf("Read after Close: got %v", err)
				}
			})
		})
	}
}

// Deadlines hold while nothing is decided, meanwhile, and for what was decided on.
func TestLaterDeadlines(t *testing.T) {
	for _, protocol := range []string{"v1", "v2"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				gone := make(chan bool)
				conn := Later(a, func(ctx context.Context, magic [4]byte, first []byte) (*transport.Conn, net.Conn, error) {
					<-gone
					if protocol == "v1" {
						return nil, a, nil
					}
					return speakV2(a)(ctx, magic, first)
				})
				defer conn.Close()
				read := func() (int, error) { return conn.Read(make([]byte, 1)) }
				write := func() (int, error) { return conn.Write(versionMessage) }
				conn.SetReadDeadline(time.Now().Add(time.Second))
				timesOut(t, time.Second, read)
				conn.SetDeadline(past)
				timesOut(t, 0, read)
				if n := timesOut(t, 0, write); n != 0 {
					t.Errorf("took %d bytes after the deadline", n)
				}
				conn.SetDeadline(time.Now().Add(time.Hour))
				time.AfterFunc(time.Second, func() { conn.SetWriteDeadline(past) })
				if n := timesOut(t, time.Second, write); n != len(versionMessage) {
					t.Errorf("took %d bytes, want all", n)
				}
				conn.SetDeadline(time.Now().Add(time.Minute))
				timesOut(t, time.Minute, func() (int, error) { return 0, conn.CloseWrite() })
				timesOut(t, 0, read)

				close(gone)
				if protocol == "v2" {
					server, err := Server(context.Background(), b, transport.Config{Magic: mainnet})
					if err != nil {
						t.Fatal(err)
					}
					defer server.Close()
					b = server
				}
				synctest.Wait()
				timesOut(t, 0, read)
				if n := timesOut(t, 0, write); n != 0 {
					t.Errorf("took %d bytes after the deadline", n)
				}
				// The first message arrives once, with the next Write at the latest.
				conn.SetWriteDeadline(time.Time{})
				go conn.Write(v1Bytes(mainnet, "verack", nil))
				want := append(bytes.Clone(versionMessage), v1Bytes(mainnet, "verack", nil)...)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("the peer got %x, %v, want %x", got, err, want)
				}
				timesOut(t, 0, read)
			})
		})
	}
}

// The first message leaves in one piece in v1, even if a deadline cuts it.
func TestLaterDeadlineWithinFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		conn := Later(a, speakV1(a))
		defer conn.Close()
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		got := make([]byte, len(versionMessage)+3)
		go io.ReadFull(b, got[:10])
		if n := timesOut(t, time.Second, func() (int, error) { return conn.Write(versionMessage) }); n != len(versionMessage) {
			t.Errorf("took %d bytes, want all", n)
		}
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		go io.ReadFull(b, got[10:20])
		if n := timesOut(t, time.Second, func() (int, error) { return conn.Write([]byte("raw")) }); n != 0 {
			t.Errorf("took %d bytes, want none", n)
		}
		conn.SetWriteDeadline(time.Time{})
		go conn.Write([]byte("raw"))
		if _, err := io.ReadFull(b, got[20:]); err != nil || string(got) != string(versionMessage)+"raw" {
			t.Errorf("got %x, %v", got, err)
		}
	})
}

// A peer that speaks v1 gets the stream byte for byte, and so does the user, also by the loops.
func TestLaterV1(t *testing.T) {
	for _, loops := range []bool{false, true} {
		a, b := socketPairs["TCP"](t)
		conn := Later(a, speakV1(a))
		sent := append(bytes.Clone(versionMessage), testBytes(1<<20, 2)...) // not messages
		answer := testBytes(1<<20, 3)
		errs := make(chan error, 2)
		go func() {
			var err error
			if loops {
				_, err = io.Copy(conn, bytes.NewReader(sent))
			} else {
				_, err = conn.Write(sent)
			}
			errs <- errors.Join(err, conn.CloseWrite())
		}()
		go func() {
			_, err := b.Write(answer)
			errs <- errors.Join(err, b.(*net.TCPConn).CloseWrite())
		}()
		var got [2]bytes.Buffer
		read := make(chan error)
		go func() {
			_, err := io.Copy(&got[0], b)
			read <- err
		}()
		var from io.Reader = conn
		if !loops {
			from = struct{ io.Reader }{conn}
		}
		_, err := io.Copy(&got[1], from)
		if err := errors.Join(err, <-read, <-errs, <-errs); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[0].Bytes(), sent) || !bytes.Equal(got[1].Bytes(), answer) {
			t.Errorf("%d and %d bytes arrived, want %d and %d as they were", got[0].Len(), got[1].Len(), len(sent), len(answer))
		}
		conn.Close()
	}
}
