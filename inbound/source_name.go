package inbound

// String returns the prefix that the addresses are of, or "none".
func (s *Source) String() string {
	if s == nil {
		return "none"
	}
	return s.prefix.String()
}
