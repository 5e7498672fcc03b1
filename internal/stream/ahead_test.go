package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
)

// cores sets how many cores the program uses, until the test ends.
func cores(t *testing.T, n int) {
	old := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

// A body that was handed over keeps its contents while the next one is read, and is then freed.
func TestHandOver(t *testing.T) {
	cores(t, 2)
	first, second := pattern(aheadFrom), bytes.Repeat([]byte{0}, aheadFrom)
	for where, memory := range memories() {
		r := readerOf(io.MultiReader(bytes.NewReader(first), bytes.NewReader(second)))
		r.SetMemory(memory)
		var b Body
		if err := r.ReadBody(&b, 0, len(first), 0, nil); err != nil {
			t.Fatal(err)
		}
		handed, read := b.Bytes, make(chan bool)
		if !r.HandOver(&b, func() error {
			<-read
			if !bytes.Equal(handed, first) {
				t.Errorf("%s: the body has changed", where)
			}
			return nil
		}) {
			t.Fatalf("%s: not handed over", where)
		}
		if err := r.ReadBody(&b, 0, len(second), 0, nil); err != nil || !bytes.Equal(b.Bytes, second) {
			t.Errorf("%s: the next body differs, %v", where, err)
		}
		close(read)
		if err := r.Settle(); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		b.Release()
		if memory != nil && memory.Usage().Taken > 0 {
			t.Errorf("%s: %d bytes are still taken", where, memory.Usage().Taken)
		}
	}
}

// Where there is no memory for two bodies the next one waits for the first, and not in the queue,
// where it would have slow bodies reclaimed, the first one, too.
func TestHandOverTakesNoMemoryFromOthers(t *testing.T) {
	cores(t, 2)
	synctest.Test(t, func(t *testing.T) {
		m := NewReclaimingMemory(aheadFrom + aheadFrom/2)
		r := readerOf(bytes.NewReader(make([]byte, 2*aheadFrom)))
		r.SetMemory(m)
		var b Body
		if err := r.ReadBody(&b, 0, aheadFrom, 0, nil); err != nil {
			t.Fatal(err)
		}
		used, read := make(chan bool), make(chan error, 1)
		r.HandOver(&b, func() error { <-used; return nil })
		go func() { read <- r.ReadBody(&b, 0, aheadFrom, 0, nil) }()
		synctest.Wait()
		if u := m.Usage(); u.Waiting != 0 || len(read) != 0 {
			t.Errorf("%d bodies wait for memory, %d were read", u.Waiting, len(read))
		}
		close(used)
		if err := <-read; err != nil {
			t.Error(err)
		}
		b.Release()
	})
}

// When what was handed over fails, the read in progress ends.
func TestHandOverFails(t *testing.T) {
	cores(t, 2)
	x, y := net.Pipe()
	defer x.Close()
	defer y.Close()
	go x.Write(make([]byte, aheadFrom+1))
	r := NewReader(y)
	var b Body
	if err := r.ReadBody(&b, 0, aheadFrom, 0, nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	fail := make(chan bool)
	r.HandOver(&b, func() error { <-fail; return broken })
	if _, err := r.Peek(1); err != nil {
		t.Fatal(err)
	}
	close(fail)
	if _, err := r.Peek(2); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read ended with %v", err)
	}
	if err := r.Settle(); err != broken {
		t.Errorf("Settle returned %v", err)
	}
}

// Small bodies, and those of a program with one core, are not handed over.
func TestNotHandedOver(t *testing.T) {
	for _, c := range []struct{ cores, size int }{{2, aheadFrom - 1}, {1, aheadFrom}} {
		cores(t, c.cores)
		r := readerOf(bytes.NewReader(make([]byte, c.size)))
		var b Body
		if err := r.ReadBody(&b, 0, c.size, 0, nil); err != nil {
			t.Fatal(err)
		}
		if r.HandOver(&b, func() error { return errors.New("called") }) || r.Settle() != nil || len(b.Bytes) != c.size {
			t.Errorf("%d bytes with %d cores were handed over", c.size, c.cores)
		}
		b.Release()
	}
}
