package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"syscall"

	"bip324proxy/transport/fallback"

	"bip324proxy/internal/dial"
	"bip324proxy/internal/stream"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// hiddenAddr stands for an address where the log is to have none.
const hiddenAddr = "(hidden)"

// errHidden stands for an error of a kind that is not known to be without addresses.
var errHidden = errors.New("an error that may have an address in it")

// plainErrors are known to be without addresses.
var plainErrors = []error{
	ErrNoEgress, errClearnet, errNotCJDNS, errUpstreamIsRemote, errUpstreamIsNotTor, errPeerFirst, errNotTor, errProbe, errOwnAddress, errOwnUpstream, errPeerClosed, errClientLeft, errPassthroughDenied, errStopping,
	errTooManySessions, errTooOften, errTooManyWaiting, errMadeRoom, errUnacknowledged,
	transport.ErrSilent, transport.ErrNoTerminator, transport.ErrAuthentication, transport.ErrV1Peer, transport.ErrV1OtherNetwork,
	fallback.ErrKnownV1, fallback.ErrRefusedV2,
	v1v2.ErrNotVersion, stream.ErrMemory, stream.ErrSlow,
	dial.ErrMulticastName,
	io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, io.ErrNoProgress, io.ErrShortWrite,
	net.ErrClosed, os.ErrDeadlineExceeded, context.Canceled, context.DeadlineExceeded,
}

// hidden is err without the addresses of clients and peers, to be explained as err
// is. Errors that have places for addresses are copied with something else there, of
// wrappers nothing is left but what they wrap, and for what is not known here stands
// errHidden.
func hidden(err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *dialError:
		return &dialError{e.code, hidden(e.err)}
	case *resolveError:
		return &resolveError{e.code, hidden(e.err)}
	case *rules.DeniedError:
		if e.Rule == "" {
			return &rules.DeniedError{Dest: hiddenAddr, Local: e.Local, Err: hidden(e.Err)}
		}
		return &rules.DeniedError{Dest: hiddenAddr, Rule: hiddenAddr}
	case *rules.ClientError:
		return &rules.ClientError{Own: e.Own, Relays: e.Relays}
	case *NoDestinationError:
		if !e.addr.IsValid() {
			return e
		}
		return &NoDestinationError{why: "the address in its VERSION " + e.why}
	case *socks.NegotiationError:
		return &socks.NegotiationError{Stage: e.Stage, Reply: e.Reply, Err: hiddenUnlessWords(e.Err)}
	case *socks.UpstreamError: // its own address is neither a client's nor a peer's
		return &socks.UpstreamError{Op: e.Op, Dest: hiddenAddr, Upstream: e.Upstream, Stage: e.Stage, Code: e.Code, Err: hiddenUnlessWords(e.Err)}
	case *socks.AddrError:
		c := *e
		c.Addr = hiddenAddr
		return &c
	case *transport.HandshakeError:
		return &transport.HandshakeError{Stage: e.Stage, Sent: e.Sent, Received: e.Received, ProvenV2: e.ProvenV2, Err: hidden(e.Err), First: e.First}
	case *fallback.RedialError:
		return &fallback.RedialError{Addr: hiddenAddr, Err: hidden(e.Err), First: hidden(e.First)}
	case *fallback.OverlayError:
		return &fallback.OverlayError{Err: hidden(e.Err), First: hidden(e.First)}
	case *v1v2.EndError:
		return &v1v2.EndError{Side: e.Side, Err: hidden(e.Err)}
	case *net.OpError:
		return &net.OpError{Op: e.Op, Net: e.Net, Err: hidden(e.Err)}
	case *net.DNSError:
		return &net.DNSError{Name: hiddenAddr, Err: dnsTrouble(e), IsTimeout: e.IsTimeout, IsTemporary: e.IsTemporary, IsNotFound: e.IsNotFound}
	case *net.AddrError:
		return &net.AddrError{Err: e.Err, Addr: hiddenAddr}
	case *os.SyscallError:
		return os.NewSyscallError(e.Syscall, hidden(e.Err))
	case *silentClientError, *stalledError, *socks.NotSOCKS5Error, *v1v2.MagicError, *v1v2.LengthError, *transport.SizeError, syscall.Errno:
		return err
	}
	if slices.Contains(plainErrors, err) {
		return err
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return hidden(inner)
		}
	case interface{ Unwrap() []error }:
		if all := e.Unwrap(); len(all) > 0 {
			return hidden(all[0])
		}
	}
	if isTimeout(err) {
		return os.ErrDeadlineExceeded
	}
	return errHidden
}

// hiddenUnlessWords is hidden for what package socks has to say, which has no
// addresses where it is in words: those are in a *socks.AddrError. Of several errors
// the first is the cause; that the client could not be told either comes after it.
func hiddenUnlessWords(err error) error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		return hiddenUnlessWords(several.Unwrap()[0])
	}
	if reflect.TypeOf(err) == reflect.TypeOf(io.EOF) { // of errors.New
		return err
	}
	return hidden(err)
}

// dnsTrouble is e.Err, which may have the addresses of a failed connection.
func dnsTrouble(e *net.DNSError) string {
	switch {
	case errors.Is(e, dial.ErrMulticastName):
		return "no such host: " + dial.ErrMulticastName.Error()
	case e.IsNotFound:
		return "no such host"
	case e.IsTimeout:
		return "i/o timeout"
	}
	return "the resolver failed"
}
