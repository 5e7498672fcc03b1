package test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// Bytes of a peer known to speak v1 rule v1 out, too, if they have come before the client's VERSION.
func TestEagerPeerKnownAsV1(t *testing.T) {
	t.Parallel()
	const peers = 400
	var listeners [peers]net.Listener
	var notes [peers]string
	for i := range peers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		listeners[i], notes[i] = l, l.Addr().String()+" v1 "+in(time.Hour)
	}
	u := startKnowing(t, known(t, notes[:]...), "", "--v1-fallback=always")
	each(peers, 8, func(i int) {
		said := randomPayload(uint64(i), 1+i%100)
		sent := make(chan struct{})
		go func() {
			nc, err := listeners[i].Accept()
			if err != nil {
				return
			}
			nc.Write(said)
			close(sent)
			nc.Read(make([]byte, 8192))
			nc.Close()
		}()
		client, err := hostile.Connect(u.addr, listeners[i].Addr().String(), patience)
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		<-sent
		client.Write(hostile.V1(version.name, version.payload))
		io.Copy(io.Discard, client)
		client.Close()
		m := meeting{log: u.end(t, client.LocalAddr())}
		if !m.late() && !strings.Contains(m.log.Reason, fmt.Sprintf(" %d received", len(said))) {
			t.Errorf("%d: the peer sent %d bytes; got %+v", i, len(said), m.log)
		}
	})
}
