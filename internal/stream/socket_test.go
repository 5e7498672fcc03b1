package stream

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// After an interrupt no deadline makes a read wait, whichever method sets it; writes work until
// Abort.
func TestSocketInterrupt(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	s := NewSocket(b)
	if NewSocket(s) != s || s.NetConn() != b {
		t.Error("NewSocket wrapped a Socket")
	}
	s.Wake()
	wantTimeout(t, readOnce(s))
	s.SetDeadline(time.Time{})
	go a.Write([]byte("x"))
	if err := readOnce(s); err != nil || s.Interrupted() {
		t.Errorf("after Wake: %v", err)
	}
	s.Interrupt()
	s.Interrupt()
	for _, until := range []time.Time{{}, time.Now().Add(time.Hour)} {
		s.SetReadDeadline(until)
		wantTimeout(t, readOnce(s))
		s.SetDeadline(until)
		wantTimeout(t, readOnce(s))
	}
	go readOnce(a)
	if _, err := s.Write([]byte("y")); err != nil || !s.Interrupted() {
		t.Errorf("write after Interrupt: %v", err)
	}
	s.Abort()
	if _, err := s.Write([]byte("z")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write after Abort: %v", err)
	}
}

func readOnce(c net.Conn) error {
	_, err := c.Read(make([]byte, 1))
	return err
}
