package netns

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// setUpLoopback brings loopback up, and makes every address the namespace's. It reports whether
// the system has IPv6. With reaches, IPv6 addresses are looked up, too.
func setUpLoopback(reaches bool) (six bool, err error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return false, err
	}
	l := loopback{conn, binary.NativeEndian.AppendUint32(nil, uint32(lo.Index))}
	if err := l.up(); err != nil {
		return false, fmt.Errorf("bring it up: %w", err)
	}
	if err := l.own(unix.AF_INET, Addr); err != nil {
		return false, err
	}
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil { // IPv6 is switched off
		return false, nil
	}
	c.Close()
	extra := Addr6
	if !reaches {
		extra = netip.Addr{}
	}
	return true, l.own(unix.AF_INET6, extra)
}

// loopback is the interface; see rtnetlink(7).
type loopback struct {
	conn  *netlink.Conn
	index []byte
}

func (l loopback) up() error {
	up := binary.NativeEndian.AppendUint32(nil, unix.IFF_UP)
	link := append([]byte{unix.AF_UNSPEC, 0, 0, 0}, l.index...)
	return l.execute(unix.RTM_NEWLINK, 0, append(append(link, up...), up...))
}

// own makes all addresses of a family local, and gives the interface one, if it is valid.
func (l loopback) own(family byte, addr netip.Addr) error {
	if addr.IsValid() {
		// Without duplicate address detection: until that has ended, no route may name the address.
		address := append([]byte{family, byte(addr.BitLen()), unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE}, l.index...)
		err := l.execute(unix.RTM_NEWADDR, netlink.Create, append(address, attribute(unix.IFA_LOCAL, addr.AsSlice())...))
		if err != nil {
			return fmt.Errorf("address %v: %w", addr, err)
		}
	}
	route := []byte{family, 0, 0, 0, unix.RT_TABLE_LOCAL, unix.RTPROT_STATIC, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0}
	route = append(route, attribute(unix.RTA_OIF, l.index)...)
	if addr.IsValid() { // or a connection would come from its destination
		route = append(route, attribute(unix.RTA_PREFSRC, addr.AsSlice())...)
	}
	err := l.execute(unix.RTM_NEWROUTE, netlink.Create, route)
	if err != nil {
		return fmt.Errorf("route: %w", err)
	}
	return nil
}

func (l loopback) execute(kind netlink.HeaderType, flags netlink.HeaderFlags, data []byte) error {
	_, err := l.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: flags | netlink.Request | netlink.Acknowledge}, Data: data,
	})
	return err
}

// attribute encodes an attribute whose length is a multiple of 4, so that it needs no padding.
func attribute(kind uint16, data []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
	return append(binary.NativeEndian.AppendUint16(b, kind), data...)
}
