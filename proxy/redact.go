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

	"bip324proxy/inbound"
	"bip324proxy/internal/dial"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// Redacted replaces addresses in a redacted log.
const Redacted = "(redacted)"

// errRedacted replaces errors that are not known to be without addresses.
const errRedacted = plainError("an error that may have an address in it")

// plainErrors are errors of other packages that are known to be without addresses.
var plainErrors = []error{
	transport.ErrSilent, transport.ErrNoTerminator, transport.ErrAuthentication, transport.ErrV1Peer, transport.ErrV1OtherNetwork,
	fallback.ErrKnownV1, fallback.ErrRefusedV2, fallback.ErrNeedsProxy,
	v1v2.ErrNotVersion, transport.ErrMemory, transport.ErrSlow, transport.ErrReclaimed,
	dial.ErrMulticastName,
	io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, io.ErrNoProgress, io.ErrShortWrite,
	net.ErrClosed, os.ErrDeadlineExceeded, context.Canceled, context.DeadlineExceeded,
}

// redact returns err without the addresses of clients and peers, to be explained as err
// is. Errors with fields for addresses are copied with Redacted there, wrappers are
// replaced by what they wrap, and unknown errors by errRedacted.
func redact(err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *requestError:
		return &requestError{e.command, e.code, redact(e.err)}
	case *rules.DeniedError:
		if e.Rule == "" {
			return &rules.DeniedError{Dest: Redacted, Local: e.Local, Err: redact(e.Err)}
		}
		return &rules.DeniedError{Dest: Redacted, Rule: Redacted}
	case *rules.ClientError:
		return &rules.ClientError{Own: e.Own, Relays: e.Relays}
	case *BindError:
		return &BindError{Interface: e.Interface, Err: redact(e.Err)}
	case *NoDestinationError:
		if !e.addr.IsValid() {
			return e
		}
		return &NoDestinationError{why: "the address in its VERSION " + e.why}
	case *socks.NegotiationError:
		return &socks.NegotiationError{Stage: e.Stage, Reply: e.Reply, Err: redactSOCKS(e.Err)}
	case *socks.UpstreamError: // its own address is neither a client's nor a peer's
		return &socks.UpstreamError{Op: e.Op, Dest: Redacted, Upstream: e.Upstream, Stage: e.Stage, Code: e.Code, Err: redactSOCKS(e.Err)}
	case *socks.AddrError:
		c := *e
		c.Addr = Redacted
		return &c
	case *transport.HandshakeError:
		return &transport.HandshakeError{Stage: e.Stage, Sent: e.Sent, Received: e.Received, Err: redact(e.Err), First: e.First}
	case *inbound.NodeError: // the user's own
		return &inbound.NodeError{Node: e.Node, Source: e.Source, Err: redact(e.Err)}
	case *fallback.ProvenV2Error:
		return &fallback.ProvenV2Error{Err: redact(e.Err)}
	case *fallback.RedialError:
		return &fallback.RedialError{Addr: Redacted, Err: redact(e.Err), First: redact(e.First)}
	case *fallback.OverlayError:
		return &fallback.OverlayError{Err: redact(e.Err), First: redact(e.First)}
	case *v1v2.EndError:
		return &v1v2.EndError{Side: e.Side, Err: redact(e.Err)}
	case *net.OpError:
		return &net.OpError{Op: e.Op, Net: e.Net, Err: redact(e.Err)}
	case *net.DNSError:
		return &net.DNSError{Name: Redacted, Err: dnsTrouble(e), IsTimeout: e.IsTimeout, IsTemporary: e.IsTemporary, IsNotFound: e.IsNotFound}
	case *net.AddrError:
		return &net.AddrError{Err: e.Err, Addr: Redacted}
	case *os.SyscallError:
		return os.NewSyscallError(e.Syscall, redact(e.Err))
	case plainError, *clientLeftError, *silentClientError, *stalledError, *socks.NotSOCKS5Error, *v1v2.MagicError, *v1v2.LengthError, *transport.SizeError, inbound.Error, *inbound.PublicNodeError, syscall.Errno:
		return err
	}
	if slices.Contains(plainErrors, err) {
		return err
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return redact(inner)
		}
	case interface{ Unwrap() []error }:
		if all := e.Unwrap(); len(all) > 0 {
			return redact(all[0])
		}
	}
	if isTimeout(err) {
		return os.ErrDeadlineExceeded
	}
	return errRedacted
}

// redactSOCKS redacts the cause of an error of package socks. Its errors in words have no
// addresses: those are in a *socks.AddrError. Of several errors the first is the cause;
// that the client could not be told either comes after it.
func redactSOCKS(err error) error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		return redactSOCKS(several.Unwrap()[0])
	}
	if reflect.TypeOf(err) == reflect.TypeOf(io.EOF) { // of errors.New
		return err
	}
	return redact(err)
}

// dnsTrouble replaces e.Err, which may have the addresses of a failed connection.
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
