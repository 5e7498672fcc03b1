package test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// capture records all TCP streams that leave through an interface of a namespace, as tcpdump would.
type capture struct {
	stopping sync.Once
	stop     chan struct{}
	done     chan struct{}
	flows    map[flow][]byte // what each end of a connection sent
	other    []flow          // packets of other protocols between addresses outside 127.0.0.0/8
}

// flow is one direction of a connection.
type flow struct{ from, to netip.AddrPort }

// outside reports whether the flow is not within 127.0.0.0/8.
func (f flow) outside() bool { return !f.from.Addr().IsLoopback() || !f.to.Addr().IsLoopback() }

// startCapture captures on the loopback interface until streams is called.
func startCapture(t *testing.T) *capture {
	t.Helper()
	return startCaptureOn(t, "lo")
}

// startCaptureOn is startCapture for another interface.
func startCaptureOn(t *testing.T, name string) *capture {
	t.Helper()
	const everyProtocol = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network byte order, on a little-endian machine
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, everyProtocol)
	if err != nil {
		t.Fatal(err)
	}
	on, err := net.InterfaceByName(name)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everyProtocol, Ifindex: on.Index})
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20)
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &capture{stop: make(chan struct{}), done: make(chan struct{}), flows: make(map[flow][]byte)}
	go func() {
		defer close(c.done)
		defer unix.Close(fd)
		b := make([]byte, 128<<10)
		for {
			n, from, err := unix.Recvfrom(fd, b, 0)
			switch {
			case err == nil:
				if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING { // each packet also comes in
					c.add(b[14:n]) // after the Ethernet header
				}
			case err != unix.EAGAIN && err != unix.EINTR:
				t.Errorf("capture: %v", err)
				return
			default:
				select {
				case <-c.stop:
					if stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err != nil || stats.Drops > 0 {
						t.Errorf("the capture lacks packets: %+v, %v", stats, err)
					}
					return
				default:
				}
			}
		}
	}()
	t.Cleanup(func() { c.streams() })
	return c
}

// add adds an IP packet. On loopback none is lost or reordered.
func (c *capture) add(packet []byte) {
	if len(packet) < 20 {
		return
	}
	var f flow
	var protocol byte
	var payload []byte
	switch packet[0] >> 4 {
	case 4:
		from, to := netip.AddrFrom4([4]byte(packet[12:])), netip.AddrFrom4([4]byte(packet[16:]))
		f, protocol = flow{netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)}, packet[9]
		payload = packet[int(packet[0]&15)*4:]
	case 6:
		from, to := netip.AddrFrom16([16]byte(packet[8:])), netip.AddrFrom16([16]byte(packet[24:]))
		f, protocol = flow{netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)}, packet[6]
		payload = packet[40:]
	}
	if protocol != unix.IPPROTO_TCP {
		if f.outside() {
			c.other = append(c.other, f)
		}
		return
	}
	f.from = netip.AddrPortFrom(f.from.Addr(), binary.BigEndian.Uint16(payload))
	f.to = netip.AddrPortFrom(f.to.Addr(), binary.BigEndian.Uint16(payload[2:]))
	c.flows[f] = append(c.flows[f], payload[int(payload[12]>>4)*4:]...)
}

// streams ends the capture and returns what each end of a connection sent.
func (c *capture) streams() map[flow][]byte {
	c.stopping.Do(func() { close(c.stop) })
	<-c.done
	return c.flows
}
