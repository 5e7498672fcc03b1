package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/wire/v2"
)

// Proxies that decode messages must be able to, and must find the node's address.
func TestBesideMessagesDecode(t *testing.T) {
	block, version := new(wire.MsgBlock), new(wire.MsgVersion)
	for _, each := range []struct {
		to      wire.Message
		payload []byte
	}{
		{block, decodableBlock(1_500_000)},
		{new(wire.MsgInv), decodableInv()},
		{version, versionTo("127.0.0.1:4660").payload},
	} {
		in := bytes.NewBuffer(each.payload)
		if err := each.to.BtcDecode(in, wire.ProtocolVersion, wire.WitnessEncoding); err != nil || in.Len() != 0 {
			t.Errorf("%s: %v, %d bytes left", each.to.Command(), err, in.Len())
		}
	}
	if n := len(decodableBlock(1_500_000)); n < 1_499_000 || n > 1_500_100 {
		t.Errorf("the block has %d bytes", n)
	}
	if len(decodableInv()) != 37 {
		t.Errorf("the inv has %d bytes", len(decodableInv()))
	}
	if to := version.AddrYou; to.IP.String() != "127.0.0.1" || to.Port != 4660 {
		t.Errorf("VERSION is to %v, port %d", to.IP, to.Port)
	}
}

func TestBesideFlags(t *testing.T) {
	defer func(before []*contender) { others = before }(others)
	for _, bad := range []string{"", "name", "=command {port}", "name=", "name=command"} {
		if addBeside(false)(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	others = nil
	if err := addBeside(true)("name=command a=b {listen}"); err != nil {
		t.Fatal(err)
	}
	if c := others[0]; len(others) != 1 || c.name != "name" || !c.redirect || !strings.HasSuffix(strings.Join(c.command, " "), "command a=b {listen}") {
		t.Errorf("%+v", others)
	}
}
