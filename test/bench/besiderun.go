package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// besideRow is a line of the table with the contenders side by side: the figures of each, one a round.
type besideRow struct {
	what    string
	figures map[*contender]series
}

// beside measures all contenders in turn. A round gets a new process with one session, because some proxies are busy
// with past sessions for ever, and returns one figure for each name of what.
func (b *bench) beside(rounds int, what []string, round func(*contender, besideSession) ([]float64, error)) error {
	all, failed := b.contenders(), map[*contender]error{}
	rows := make([]besideRow, len(what))
	for i, w := range what {
		rows[i] = besideRow{w, map[*contender]series{}}
	}
	for range rounds {
		for _, c := range all {
			if failed[c] != nil {
				continue
			}
			s, err := c.start(b.dir)
			var figures []float64
			if err == nil {
				figures, err = round(c, s)
				s.close()
			}
			c.stop()
			if failed[c] = err; err != nil {
				continue
			}
			for i, f := range figures {
				rows[i].figures[c] = append(rows[i].figures[c], f)
			}
		}
	}
	for _, c := range all {
		if len(c.failed) > 0 {
			fmt.Fprintf(os.Stderr, "%s: %d of %d connects failed: %v\n", c.name, len(c.failed), c.opened, errors.Join(c.failed...))
		}
		if failed[c] != nil {
			text, _ := os.ReadFile(c.log)
			fmt.Fprintf(os.Stderr, "%s: %v\n%s\n", c.name, failed[c], text[max(0, len(text)-500):])
		}
	}
	if head := besideHead(all); !strings.Contains(b.after, head) {
		b.after += head
	}
	for _, r := range rows {
		b.after += r.line(all, failed)
	}
	return failed[all[0]]
}

func besideHead(all []*contender) string {
	head, line := "| what |", "|---|"
	for _, c := range all {
		head, line = head+" "+c.name+" |", line+"---|"
	}
	return head + "\n" + line + "\n"
}

// line formats the row as Markdown: median and spread of the rounds, and the ratio to the first contender.
func (r besideRow) line(all []*contender, failed map[*contender]error) string {
	cells := []string{r.what}
	for _, c := range all {
		if failed[c] != nil {
			cells = append(cells, "failed")
			continue
		}
		cell := spreadOut(r.figures[c], figure(r.figures[c].median()))
		if ours := r.figures[all[0]]; c != all[0] && ours.median() > 0 {
			cell += fmt.Sprintf(" (× %s)", figure(r.figures[c].median()/ours.median()))
		}
		cells = append(cells, cell)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// roundTime is how long a round of one contender takes, if it can do at least one message in that time.
func (b *bench) roundTime() float64 {
	if b.quick {
		return 0.02
	}
	return 1.5
}

// besideBlocks and besideInvs measure messages that a proxy can also decode, as some do.
func (b *bench) besideBlocks(direction string) ([]row, error) {
	return b.besideTraffic("blocks of 1.5 MB", direction, traffic{{"block", decodableBlock(1_500_000)}}, perGB)
}

func (b *bench) besideInvs(direction string) ([]row, error) {
	per := perMessage
	per.wall = "wall clock µs/message"
	return b.besideTraffic("inv of 37 bytes", direction, slices.Repeat(traffic{{"inv", decodableInv()}}, 1000), per)
}

// besideTraffic measures t, down or up.
func (b *bench) besideTraffic(what, direction string, t traffic, per unit) ([]row, error) {
	names := []string{what + ", " + direction + ", " + per.cpu, what + ", " + direction + ", " + per.wall}
	times := map[*contender]int{} // how many take roundTime
	return nil, b.beside(b.rounds, names, func(c *contender, s besideSession) ([]float64, error) {
		for n := max(1, times[c]/5); times[c] != 1; n *= 3 { // warm up
			used, err := c.transfer(s, t, direction, n)
			if err != nil {
				return nil, err
			}
			if times[c] > 0 {
				break
			}
			if used.wall > b.roundTime()/3 {
				times[c] = max(1, int(float64(n)*b.roundTime()/used.wall))
				break
			}
		}
		used, err := c.transfer(s, t, direction, times[c])
		n := float64(times[c]) * per.of(t)
		return []float64{used.cpu / n, used.wall / n}, err
	})
}

// transfer sends t through s, times times.
func (c *contender) transfer(s besideSession, t traffic, direction string, times int) (spent, error) {
	s.deadline()
	var from, to end = s.client, s.peer
	if direction == "down" {
		from, to = to, from
	}
	before, err := c.cpu()
	if err != nil {
		return spent{}, err
	}
	begin, sent := time.Now(), make(chan error, 1)
	go func() { sent <- from.send(t, times) }()
	err = to.receive(len(t) * times)
	if err != nil {
		s.close() // ends send
	}
	if err := errors.Join(err, <-sent); err != nil {
		return spent{}, err
	}
	wall := time.Since(begin).Seconds()
	after, err := c.cpu()
	return spent{cpu: after - before, wall: wall}, err
}

// besideConnects measures sessions that close as soon as they are open, one after the other.
func (b *bench) besideConnects() ([]row, error) {
	names := []string{"connect, CPU ms", "connect, wall clock ms"}
	return nil, b.beside(b.rounds, names, func(c *contender, _ besideSession) ([]float64, error) {
		before, err := c.cpu()
		if err != nil {
			return nil, err
		}
		n, wall := 0.0, 0.0
		for ; n < 5 || wall < b.roundTime(); n++ {
			begin := time.Now()
			s, err := c.open()
			c.opened++
			if err != nil { // some proxies fail now and then
				if c.failed = append(c.failed, err); len(c.failed) > 10 {
					return nil, err
				}
				continue
			}
			wall += time.Since(begin).Seconds()
			s.close()
		}
		time.Sleep(50 * time.Millisecond) // the last ones close
		after, err := c.cpu()
		return []float64{(after - before) / n * 1e3, wall / n * 1e3}, err
	})
}

// besideIdle measures idle sessions.
func (b *bench) besideIdle() ([]row, error) {
	n, wait := 200, 3*time.Second
	if b.quick {
		n, wait = 5, 100*time.Millisecond
	}
	names := []string{"one session, resident MB", fmt.Sprintf("%d idle sessions, resident KiB each", n), fmt.Sprintf("%d idle sessions, CPU %%", n)}
	return nil, b.beside(1, names, func(c *contender, _ besideSession) ([]float64, error) {
		time.Sleep(wait)
		one, err := c.prog.proc.MemoryInfo()
		if err != nil {
			return nil, err
		}
		for i := range n {
			s, err := c.open()
			if err != nil {
				return nil, fmt.Errorf("after %d sessions: %w", i+1, err)
			}
			defer s.close()
		}
		time.Sleep(wait)
		all, err1 := c.prog.proc.MemoryInfo()
		before, err2 := c.cpu()
		time.Sleep(wait)
		after, err3 := c.cpu()
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		each := (float64(all.RSS) - float64(one.RSS)) / float64(n)
		return []float64{float64(one.RSS) / 1e6, each / (1 << 10), (after - before) / wait.Seconds() * 100}, nil
	})
}
