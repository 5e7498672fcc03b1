package stream

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Bodies of many sizes are allocated and freed concurrently; none overlap, and at the end all
// memory is one free block.
func TestMemoryConcurrently(t *testing.T) {
	m := NewMemory(4 << 20)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 300 {
				b, err := m.take(1+rng.IntN(2<<20), time.Now().Add(time.Minute), nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for at := 0; at < len(b); at += pageSize {
					b[at] = byte(i)
				}
				for at := 0; at < len(b); at += pageSize {
					if b[at] != byte(i) {
						t.Error("two bodies share memory")
						return
					}
				}
				m.put(b)
			}
		})
	}
	group.Wait()
	requireUnused(t, m)
}

// Requests are served in order, even if a later one would fit into what is free.
func TestMemoryInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(10 * pageSize)
		forever := time.Now().Add(time.Hour)
		held, err := m.take(6*pageSize, forever, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var served []int
		ask := func(n int) {
			go func() {
				b, err := m.take(n*pageSize, forever, nil, nil)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				served = append(served, n)
				mu.Unlock()
				m.put(b)
			}()
			synctest.Wait()
		}
		ask(10)
		ask(1)
		ask(9)
		if len(served) > 0 {
			t.Errorf("served %v before the first request", served)
		}
		m.put(held)
		synctest.Wait()
		if len(served) != 3 || served[0] != 10 {
			t.Errorf("served in the order %v", served)
		}
		requireUnused(t, m)
		time.Sleep(2 * keepUnused) // for the timer
	})
}

// A wait ends with its deadline or when it is stopped, and requests behind it are served.
func TestMemoryWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(10 * pageSize)
		held, err := m.take(5*pageSize, time.Now(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		failed := make(chan error, 2)
		begin := time.Now()
		go func() {
			_, err := m.take(6*pageSize, begin.Add(time.Hour), stop, nil)
			failed <- err
		}()
		go func() {
			_, err := m.take(7*pageSize, begin.Add(time.Minute), nil, nil)
			failed <- err
		}()
		synctest.Wait()
		served := false
		go func() {
			b, err := m.take(5*pageSize, begin.Add(time.Hour), nil, nil)
			if err != nil {
				t.Error(err)
			}
			served = true
			m.put(b)
		}()
		if err := <-failed; err != ErrMemory || time.Since(begin) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		close(stop)
		if err := <-failed; err != ErrMemory {
			t.Error(err)
		}
		synctest.Wait()
		if !served {
			t.Error("a request behind one that ended was not served")
		}
		m.put(held)
		requireUnused(t, m)
		time.Sleep(2 * keepUnused)
	})
}

// Requests larger than the budget fail at once.
func TestMemoryTooLittle(t *testing.T) {
	m := NewMemory(10*pageSize + pageSize/2)
	if _, err := m.take(10*pageSize+1, time.Now().Add(time.Hour), nil, nil); err != ErrMemory {
		t.Error(err)
	}
	b, err := m.take(10*pageSize, time.Now().Add(time.Hour), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.put(b)
}

// Memory unused for a while is returned to the system, and can be used again.
func TestMemoryUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(10 * pageSize)
		use := func() {
			b, err := m.take(3*pageSize, time.Now(), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * keepUnused) // in use it is kept
			b[0] = 1
			m.put(b)
		}
		mapped := func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.arena != nil
		}
		use()
		time.Sleep(keepUnused / 2)
		use() // which restarts the timer
		time.Sleep(keepUnused - time.Second)
		if !mapped() {
			t.Error("the memory was returned too soon")
		}
		time.Sleep(2 * time.Second)
		if mapped() {
			t.Error("the memory was not returned")
		}
		use()
		time.Sleep(2 * keepUnused)
		if mapped() {
			t.Error("the memory was not returned the second time")
		}
	})
}
