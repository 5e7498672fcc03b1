package localnet

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
)

const (
	rtmFIBMatch = 0x2000 // RTM_F_FIB_MATCH: the answer is the route itself (since Linux 4.13)
	rtaVia      = 18     // RTA_VIA
	rtaEncap    = 22     // RTA_ENCAP
)

// routedLocally reports whether the kernel delivers packets to ip on this machine or sends
// them to a network without a router. Tunnels and PPP, which have no routers either, and
// multipath routes do not count.
func routedLocally(ip netip.Addr) (bool, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 1}); err != nil {
		return false, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Sendto(fd, routeRequest(ip), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return false, os.NewSyscallError("sendto", err)
	}
	var b [8192]byte
	n, _, err := syscall.Recvfrom(fd, b[:], 0)
	if err != nil {
		return false, os.NewSyscallError("recvfrom", err)
	}
	messages, err := syscall.ParseNetlinkMessage(b[:n])
	if err != nil {
		return false, err
	}
	for _, m := range messages { // an error message means that there is no route
		if m.Header.Type == syscall.RTM_NEWROUTE {
			return isLocalRoute(&m)
		}
	}
	return false, nil
}

// routeRequest returns a request for the route to ip: struct nlmsghdr, struct rtmsg, RTA_DST.
func routeRequest(ip netip.Addr) []byte {
	dst := ip.AsSlice()
	b := make([]byte, syscall.SizeofNlMsghdr+syscall.SizeofRtMsg, 64)
	family := byte(syscall.AF_INET)
	if ip.Is6() {
		family = syscall.AF_INET6
	}
	b[syscall.SizeofNlMsghdr], b[syscall.SizeofNlMsghdr+1] = family, byte(ip.BitLen())
	binary.NativeEndian.PutUint32(b[syscall.SizeofNlMsghdr+8:], rtmFIBMatch)
	b = binary.NativeEndian.AppendUint16(b, uint16(syscall.SizeofRtAttr+len(dst)))
	b = binary.NativeEndian.AppendUint16(b, syscall.RTA_DST)
	b = append(b, dst...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], syscall.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], syscall.NLM_F_REQUEST)
	return b
}

// isLocalRoute is routedLocally for a route.
func isLocalRoute(m *syscall.NetlinkMessage) (bool, error) {
	if len(m.Data) < syscall.SizeofRtMsg || m.Data[1] < MinNetwork {
		return false, nil
	}
	switch kind := m.Data[7]; kind {
	case syscall.RTN_LOCAL, syscall.RTN_BROADCAST, syscall.RTN_ANYCAST:
		return true, nil
	case syscall.RTN_UNICAST:
	default:
		return false, nil
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return false, err
	}
	index := 0
	for _, a := range attrs {
		switch a.Attr.Type {
		case syscall.RTA_GATEWAY, syscall.RTA_MULTIPATH, rtaVia, rtaEncap:
			return false, nil
		case syscall.RTA_OIF:
			if len(a.Value) >= 4 {
				index = int(binary.NativeEndian.Uint32(a.Value))
			}
		}
	}
	interfaces, err := net.Interfaces()
	return slices.ContainsFunc(interfaces, func(i net.Interface) bool {
		return i.Index == index && i.Flags&net.FlagBroadcast != 0 && i.Flags&net.FlagPointToPoint == 0
	}), err
}
