package stream

// Copy is like the built-in copy, but leaves what it has copied in the CPU's cache for
// whoever reads it next: on amd64 copies of over a megabyte bypass the cache.
func Copy(dst, src []byte) (n int) {
	n = min(len(dst), len(src))
	for at := 0; at < n; at += step {
		copy(dst[at:n], src[at:min(n, at+step)])
	}
	return n
}
