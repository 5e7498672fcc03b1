package testkit

import "sync"

// Each calls f for 0 to n-1, up to workers at a time, and waits for all of them.
func Each(n, workers int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, workers)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}
