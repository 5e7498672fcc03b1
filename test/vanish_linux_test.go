package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	product "bip324proxy/proxy"
	"bip324proxy/test/hostile"
	"bip324proxy/transport"
)

// far creates a second network namespace at 10.9.1.2, connected by a cable to this one at 10.9.1.1.
func far(t *testing.T) (listen func() *net.TCPListener, cut func()) {
	t.Helper()
	name := fmt.Sprintf("bip324-proxy-test-%d", os.Getpid()) // /run is shared
	command(t, "ip", "netns", "add", name)
	t.Cleanup(func() { command(t, "ip", "netns", "delete", name) })
	command(t, "ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", name)
	command(t, "ip", "address", "add", "10.9.1.1/24", "dev", "here")
	command(t, "ip", "link", "set", "here", "up")
	command(t, "ip", "-n", name, "address", "add", "10.9.1.2/24", "dev", "there")
	command(t, "ip", "-n", name, "link", "set", "there", "up")
	listen = func() *net.TCPListener {
		var l net.Listener
		var err error
		inNetwork(t, name, func() { l, err = net.Listen("tcp", "10.9.1.2:0") })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.(*net.TCPListener)
	}
	return listen, func() { command(t, "ip", "-n", name, "link", "set", "there", "down") }
}

// A peer that vanishes while data is in flight to it ends its session soon, with a reason that says so; one that only
// does not read keeps it.
func TestVanishedPeer(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	listen, cut := far(t)
	const ackTimeout = 3 * time.Second
	u := startServer(t, &product.Server{AckTimeout: ackTimeout})
	payload := bytes.Repeat([]byte("something else than v1\n"), 1<<20)

	stalled, vanishing := listen(), listen()
	read, taken := make(chan struct{}), make(chan int64, 1)
	go func() {
		nc, err := stalled.AcceptTCP()
		if err != nil {
			return
		}
		<-read
		n, _ := io.Copy(io.Discard, nc)
		taken <- n
		nc.Close()
	}()
	patient, err := hostile.Connect(u.addr, stalled.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer patient.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := patient.Write(payload)
		patient.CloseWrite()
		sent <- err
	}()
	time.Sleep(3 * ackTimeout)
	if lines, _ := u.of(patient.LocalAddr().String()); len(lines) != 1 || lines[0].Msg != "session opened" {
		t.Errorf("unexpected end with a live peer that does not read: %+v", lines)
	}
	close(read)
	if err := <-sent; err != nil {
		t.Errorf("a client whose peer did not read for a while: %v", err)
	}
	if n := <-taken; n != int64(len(payload)) {
		t.Errorf("the peer got %d of %d bytes", n, len(payload))
	}

	var clients []*net.TCPConn
	connect := func() *net.TCPConn {
		c, err := hostile.Connect(u.addr, vanishing.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		clients = append(clients, c)
		return c
	}
	accept := func() *net.TCPConn {
		nc, err := vanishing.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc
	}
	passed := connect()
	fmt.Fprint(passed, "something else than v1\n")
	io.ReadFull(accept(), make([]byte, 23))
	translated := connect()
	translated.Write(hello)
	c, err := transport.Server(context.Background(), accept(), transport.Config{Magic: [4]byte{0xf9, 0xbe, 0xb4, 0xd9}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadPacket(); err != nil {
		t.Fatal(err)
	}
	idle := connect()
	fmt.Fprint(idle, "something else than v1\n")
	io.ReadFull(accept(), make([]byte, 23))

	cut()
	began := time.Now()
	fmt.Fprint(passed, "more\n")
	translated.Write(hostile.V1("ping", junk[:8]))
	for _, c := range clients[:2] {
		c.SetReadDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, c)
		if took := time.Since(began); took < ackTimeout || took > 3*ackTimeout {
			t.Errorf("ended after %v, want %v, or up to two thirds more", took, ackTimeout)
		}
		var reason string
		eventually(t, "the session is logged", func() bool {
			lines, _ := u.of(c.LocalAddr().String())
			reason = lines[len(lines)-1].Reason
			return reason != ""
		})
		if !strings.Contains(reason, "the peer does not acknowledge data") {
			t.Errorf("unexpected reason %q", reason)
		}
	}
	if lines, _ := u.of(idle.LocalAddr().String()); len(lines) != 1 {
		t.Errorf("unexpected end of an idle session: %+v", lines)
	}
}
