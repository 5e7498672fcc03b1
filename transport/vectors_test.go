package transport

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strconv"
	"testing"
)

// mainnet is the network of BIP324's vectors.
var mainnet = [4]byte{0xf9, 0xbe, 0xb4, 0xd9}

// Every step of BIP324's packet vectors is checked: points, secret, keys, terminators, session id,
// and a packet late in the stream, which the other side opens.
func TestPacketVectors(t *testing.T) {
	for _, v := range vectors(t, "packet_encoding_test_vectors.csv") {
		t.Run("packet "+v["in_idx"], func(t *testing.T) {
			equal := func(what string, got []byte) {
				t.Helper()
				if want := v[what]; hex.EncodeToString(got) != want {
					t.Errorf("%s = %x, want %s", what, got, want)
				}
			}
			initiator := v["in_initiating"] == "1"
			ours := &privateKey{public: [KeySize]byte(unhex(t, v["in_ellswift_ours"]))}
			ours.scalar = [32]byte(unhex(t, v["in_priv_ours"]))
			theirs := [KeySize]byte(unhex(t, v["in_ellswift_theirs"]))

			x := ours.publicX()
			equal("mid_x_ours", bytesOf(&x))
			equal("mid_x_ours", decodedX(&ours.public))
			equal("mid_x_theirs", decodedX(&theirs))
			var shared, secret [32]byte
			ours.sharedX(&shared, &theirs)
			equal("mid_x_shared", shared[:])
			ours.ecdh(&secret, &theirs, initiator)
			equal("mid_shared_secret", secret[:])

			k := deriveKeys(&secret, mainnet, initiator)
			equal("out_session_id", k.sessionID[:])
			equal("mid_send_garbage_terminator", k.sendTerminator[:])
			equal("mid_recv_garbage_terminator", k.recvTerminator[:])
			initL, initP, respL, respP := k.sendL, k.sendP, k.recvL, k.recvP
			if !initiator {
				initL, initP, respL, respP = respL, respP, initL, initP
			}
			equal("mid_initiator_l", initL[:])
			equal("mid_initiator_p", initP[:])
			equal("mid_responder_l", respL[:])
			equal("mid_responder_p", respP[:])

			seal, _, err := newCiphers(k)
			if err != nil {
				t.Fatal(err)
			}
			peer := deriveKeys(&secret, mainnet, !initiator)
			_, open, err := newCiphers(peer)
			if err != nil {
				t.Fatal(err)
			}
			check := func(packet, contents, aad []byte, ignore bool) {
				t.Helper()
				n, err := open.length.openLength(packet)
				var size *SizeError
				if errors.As(err, &size) && len(contents) > MaxContents {
					n, err = size.Contents, nil // one vector is larger than any message may be
				}
				if err != nil || n != len(contents) {
					t.Fatalf("length %d, %v, want %d", n, err, len(contents))
				}
				got, decoy, err := open.open(packet[lengthSize:], aad)
				if err != nil || decoy != ignore || !bytes.Equal(got, contents) {
					t.Fatalf("opened %d bytes, decoy %v, %v", len(got), decoy, err)
				}
			}

			index, _ := strconv.Atoi(v["in_idx"])
			for range index {
				check(seal.seal(nil, nil, nil, false), nil, nil, false)
			}
			times, _ := strconv.Atoi(v["in_multiply"])
			contents := bytes.Repeat(unhex(t, v["in_contents"]), times)
			aad := unhex(t, v["in_aad"])
			ignore := v["in_ignore"] == "1"
			packet := seal.seal(nil, contents, aad, ignore)
			switch {
			case v["out_ciphertext"] != "":
				equal("out_ciphertext", packet)
			case v["out_ciphertext_endswith"] != "":
				if want := unhex(t, v["out_ciphertext_endswith"]); !bytes.HasSuffix(packet, want) {
					t.Errorf("packet ends with %x, want %x", packet[len(packet)-len(want):], want)
				}
			default:
				t.Fatal("the vector has no ciphertext")
			}
			check(packet, contents, aad, ignore)
		})
	}
}
