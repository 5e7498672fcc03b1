package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/status"
)

// BenchmarkStatus measures the status with 10,000 sessions: the snapshot alone, and each answer over HTTP.
func BenchmarkStatus(b *testing.B) {
	const sessions = 10_000
	server := new(proxy.Server)
	server.Pretend(sessions)
	b.Run("snapshot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if n := len(server.Snapshot().Sessions); n != sessions {
				b.Fatalf("%d sessions", n)
			}
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	served := make(chan error)
	go func() { served <- (&status.Server{Snapshot: server.Snapshot, Select: server.Select}).Serve(ctx, l) }()
	defer func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		<-served
	}()
	for name, path := range map[string]string{
		"page":        "/api/status?sessions=50",
		"page-sorted": "/api/status?sessions=1000000",
		"page-search": "/api/status?sessions=50&q=198.51.7.",
		"default":     "/api/status",
		"metrics":     "/metrics",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.Get("http://" + l.Addr().String() + path)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusOK || n < 1000 {
					b.Fatal(r.StatusCode, n, err)
				}
				r.Body.Close()
			}
		})
	}
}
