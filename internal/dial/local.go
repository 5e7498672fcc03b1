package dial

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The sockets of the programs that resolve names in .local, and the configuration of the
// system's C library for names. A program without that library, as in the packages, has to
// query these programs itself.
var (
	resolvedSocket = "/run/systemd/resolve/io.systemd.Resolve"
	avahiSocket    = "/run/avahi-daemon/socket"
	nsswitch       = "/etc/nsswitch.conf"
)

const (
	askTimeout = 8 * time.Second // an mDNS query without an answer takes five
	maxAnswer  = 64 * 1024       // bytes
)

// lookupMulticast resolves name, which is in .local.
func lookupMulticast(ctx context.Context, name string) ([]netip.Addr, error) {
	for _, ask := range []func(context.Context, string) []netip.Addr{askResolved, askAvahi} {
		if ips := ask(ctx, name); ips != nil {
			return ips, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, &net.DNSError{Err: "no answer in time", Name: name, IsTimeout: true, UnwrapErr: ctx.Err()}
	case runtime.GOOS == "darwin", runtime.GOOS == "windows", hasLibrary && nssHas(isOtherSource):
		return bothFamilies(ctx, net.DefaultResolver, name) // which knows mDNS, or more
	}
	return nil, &net.DNSError{Err: "no such host: " + ErrMulticastName.Error(), Name: name, IsNotFound: true, UnwrapErr: ErrMulticastName}
}

// nssHas reports whether one of the sources for hosts in nsswitch.conf(5) matches.
func nssHas(matches func(source string) bool) bool {
	b, _ := os.ReadFile(nsswitch) // nil if there is none
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		if sources, ok := strings.CutPrefix(strings.TrimSpace(line), "hosts:"); ok {
			return slices.ContainsFunc(strings.Fields(sources), func(word string) bool {
				return !strings.ContainsAny(word, "[]=") && matches(word) // not [NOTFOUND=return]
			})
		}
	}
	return false
}

// isOtherSource reports whether a source may know names in .local, and has not been queried
// yet.
func isOtherSource(source string) bool {
	return source != "files" && source != "dns" && source != "resolve" && source != "myhostname" && !strings.HasPrefix(source, "mdns")
}

// askResolved queries systemd-resolved through Varlink: JSON messages, each with a zero byte
// at its end. It returns nil if there is no valid answer.
func askResolved(ctx context.Context, name string) []netip.Addr {
	question, err := json.Marshal(map[string]any{
		"method": "io.systemd.Resolve.ResolveHostname", "parameters": map[string]string{"name": name},
	})
	if err != nil {
		return nil
	}
	return resolvedAddresses(converse(ctx, resolvedSocket, append(question, 0), 0))
}

// resolvedAddresses parses systemd-resolved's answer.
func resolvedAddresses(answer []byte) (ips []netip.Addr) {
	var reply struct {
		Error      string `json:"error"`
		Parameters struct {
			Addresses []struct {
				Interface int    `json:"ifindex"`
				Address   []byte `json:"address"`
			} `json:"addresses"`
		} `json:"parameters"`
	}
	if err := json.Unmarshal(answer, &reply); err != nil || reply.Error != "" {
		return nil
	}
	for _, each := range reply.Parameters.Addresses {
		if ip, ok := netip.AddrFromSlice(each.Address); ok {
			ips = append(ips, zoned(ip, each.Interface))
		}
	}
	return sixFirst(ips)
}

// askAvahi queries the Avahi daemon like nss-mdns, for both families at once. It returns nil
// if there is no valid answer.
func askAvahi(ctx context.Context, name string) (ips []netip.Addr) {
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil
	}
	families := []string{"IPV6", "IPV4"}
	found := make(chan netip.Addr, len(families))
	for _, family := range families {
		go func() {
			answer := converse(ctx, avahiSocket, []byte("RESOLVE-HOSTNAME-"+family+" "+name+"\n"), '\n')
			found <- avahiAddress(string(answer))
		}()
	}
	for range families {
		if ip := <-found; ip.IsValid() {
			ips = append(ips, ip)
		}
	}
	return sixFirst(ips)
}

// avahiAddress parses "+ INTERFACE PROTOCOL NAME ADDRESS".
func avahiAddress(answer string) netip.Addr {
	words := strings.Fields(answer)
	if len(words) != 5 || words[0] != "+" {
		return netip.Addr{}
	}
	ip, _ := netip.ParseAddr(words[4])
	i, _ := strconv.Atoi(words[1])
	return zoned(ip.WithZone(""), i)
}

// zoned adds the interface to a link-local address.
func zoned(ip netip.Addr, i int) netip.Addr {
	ip = ip.Unmap()
	if !ip.Is6() || !ip.IsLinkLocalUnicast() || i <= 0 {
		return ip
	}
	if on, err := net.InterfaceByIndex(i); err == nil {
		return ip.WithZone(on.Name)
	}
	return ip.WithZone(strconv.Itoa(i))
}

// sixFirst sorts ips by family and returns them.
func sixFirst(ips []netip.Addr) []netip.Addr {
	slices.SortStableFunc(ips, func(a, b netip.Addr) int { return b.BitLen() - a.BitLen() })
	return ips
}

// converse sends question to the unix socket at path and returns the answer up to the byte
// end, at most maxAnswer bytes, or nil.
func converse(ctx context.Context, path string, question []byte, end byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(question); err != nil {
		return nil
	}
	answer, err := bufio.NewReader(io.LimitReader(conn, maxAnswer)).ReadBytes(end)
	if err != nil {
		return nil
	}
	return answer[:len(answer)-1]
}
