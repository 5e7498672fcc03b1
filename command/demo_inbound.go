package command

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"

	"bip324proxy/inbound"
	"bip324proxy/internal/stream"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// demoInbound runs a v1 node behind the proxy and a v2 peer that connects to it, and prints what
// they send. The session id that the proxy logs comes from ids.
func demoInbound(ctx context.Context, out io.Writer, server *proxy.Server, ids <-chan string) error {
	nodeListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer nodeListener.Close()
	peerListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	nodeAddr, inboundAddr := nodeListener.Addr().String(), peerListener.Addr().String()
	go server.ServeInbound(peerListener, proxy.Inbound{
		Node:  &inbound.Node{Network: "tcp", Address: nodeAddr},
		Magic: demoMagic,
	})
	fmt.Fprintf(out, "\nThe other way round: a v2 peer connects to a v1 node behind this proxy (--inbound %s=%s).\n",
		inboundAddr, nodeAddr)
	var got []byte
	node := make(chan error, 1)
	go func() (err error) {
		defer func() { node <- err }()
		got, err = runV1Node(ctx, nodeListener)
		return err
	}()
	wire := new(wiretap)
	peer, err := runPeer(ctx, wire, inboundAddr)
	if err != nil {
		return fmt.Errorf("the peer failed: %w", err)
	}
	if err := <-node; err != nil {
		return fmt.Errorf("the node failed: %w", err)
	}
	sent := wire.bytes()
	fmt.Fprintf(out, `
What the peer sent (the first bytes of %d):
%s
What the node got, in v1 plaintext:
%s`, len(sent), hexdump(sent, 112), hexdump(got, 112))
	for _, clear := range [][]byte{demoMagic[:], []byte("version"), []byte("v2-peer")} {
		if bytes.Contains(sent, clear) {
			return fmt.Errorf("%q was sent in plaintext", clear)
		}
	}
	return tellSession(out, <-ids, "peer", peer)
}

// runPeer runs a peer that speaks only v2, until the node has answered its VERSION.
func runPeer(ctx context.Context, wire *wiretap, addr string) (sessionID string, err error) {
	nc, err := wire.dial(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	version := v1v2.AppendContents(nil, v1v2.TypeOf("version"), versionPayload("/v2-peer:1.0/"))
	conn, err := transport.Client(ctx, nc, transport.Config{Magic: demoMagic, First: [][]byte{version}})
	if err != nil {
		return "", err
	}
	deadline, _ := ctx.Deadline()
	nc.SetDeadline(deadline)
	contents, err := conn.ReadPacket()
	if err != nil {
		return "", err
	}
	if t, payload, _ := v1v2.Decode(contents); t.String() != "version" || v1v2.UserAgent(payload) != "/v1-node:1.0/" {
		return "", errors.New("the first message is not the node's VERSION")
	}
	id := conn.SessionID()
	return hex.EncodeToString(id[:]), nil
}

// runV1Node runs a node that speaks only v1, until its one peer leaves, and returns the peer's
// VERSION message.
func runV1Node(ctx context.Context, l net.Listener) (version []byte, err error) {
	conn, err := l.Accept()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	messages := v1v2.NewReader(stream.NewReader(conn), demoMagic)
	m, ok, err := messages.Next()
	if err == nil && !ok {
		err = errors.New("the VERSION has an invalid checksum")
	}
	if err != nil {
		return nil, err
	}
	version = v1v2.AppendMessage(nil, demoMagic, m.Type, m.Payload())
	answer := v1v2.AppendMessage(nil, demoMagic, v1v2.TypeOf("version"), versionPayload("/v1-node:1.0/"))
	if _, err := conn.Write(answer); err != nil {
		return nil, err
	}
	messages.Next() // the peer leaves
	return version, nil
}
