package status

import (
	"fmt"
	"net/netip"
	"strings"
)

// HostError reports a name that is not that of a host.
type HostError struct{ Host string }

func (e *HostError) Error() string {
	return fmt.Sprintf("%q is not a host; write a name, such as bip324-proxy or status.example, or an address, without port and without *", e.Host)
}

// ParseHost returns a host's name or address as Server.Hosts takes it. The error is a
// *HostError.
func ParseHost(text string) (string, error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil && ip.Zone() == "" {
		return ip.String(), nil
	}
	host := strings.TrimSuffix(text, ".")
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return "", &HostError{text}
		}
	}
	// A browser takes a name that ends in a number for an address.
	if len(host) > 253 || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", &HostError{text}
	}
	return host, nil
}

// isLabel reports whether text can be part of a name. Names of containers may have
// underscores.
func isLabel(text string) bool {
	return text != "" && len(text) <= 63 && !strings.ContainsFunc(text, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && !('0' <= r && r <= '9') && r != '-' && r != '_'
	})
}
