package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Markdown returns the tables that docs/shape-figures.md has: all but those of Summary.
func (r *Report) Markdown() string {
	var b strings.Builder
	r.method(&b)
	for _, task := range tasks {
		r.results(&b, task)
	}
	r.world(&b)
	r.sizes(&b)
	r.rules(&b)
	r.costs(&b)
	return b.String()
}

// method says what was recorded and how it was attacked.
func (r *Report) method(b *strings.Builder) {
	r.recorded(b)
	fmt.Fprintf(b, "Attacked: forests of %d trees on %d features of windows of %s, in %d folds by session, seeds %s.\n\n",
		r.Trees, r.Features, span, r.Folds, strings.Trim(fmt.Sprint(r.Seeds), "[]"))
	b.WriteString("Windows are around each event, and at random far from all; those of a fetched block around the time at which the wallet has a filter: it then asked for the block, or did not.\n")
	b.WriteString("Figures are AUC / TPR at 1 % FPR, the means of the seeds; in brackets what 95 % of 1,000 draws of sessions give.\n")
	fmt.Fprintf(b, "Chance: what the same means stay under in 39 of 40 turns of the labels round within sessions, of which there are %d; forests learn from each anew. Of sessions that show nothing, about one result in ten is over it in AUC or TPR.\n", r.Turns)
	if r.Filter > 0 && r.Block > 0 {
		fmt.Fprintf(b, "Filters have %.0f kB, blocks %.0f kB (medians); on mainnet about 20 and 1,500.\n", float64(r.Filter)/1e3, float64(r.Block)/1e3)
	}
	r.shapes(b)
	b.WriteString("`both`, `up` and `down` are the directions that the attacker sees. It learns from other sessions of the same mode, but in the last column from unshaped ones.\n\n")
}

// shapes says which modes were not recorded with their defaults.
func (r *Report) shapes(b *strings.Builder) {
	var said []string
	for _, c := range r.Costs {
		if c.Shape == "" || c.Shape == c.Mode || slices.Contains(said, c.Shape) {
			continue
		}
		said = append(said, c.Shape)
		fmt.Fprintf(b, "`%s` is `%s`", c.Mode, escape(c.Shape))
		if c.Shape == fasterTunnel {
			fmt.Fprintf(b, ": blocks come every %s here, 30 times as often as on mainnet, and so do false bursts, whose default is every 10 minutes. "+
				"Windows have the same length at both paces: on mainnet 1 %% of them is %.0f a day, nearly as many as false bursts of all sizes, so that an alarm at each burst of a block's size finds all blocks at less than 1 %% FPR",
				blockEvery, maxFalse*(perDay-1))
		}
		b.WriteString(".\n")
	}
}

// recorded says what was recorded.
func (r *Report) recorded(b *strings.Builder) {
	fmt.Fprintf(b, "Recorded: %d sessions for %s, %s, round trip %s, version %s", r.Sessions, r.Length.Round(time.Second), escape(r.Node), r.RTT, escape(r.Commit))
	if r.TooShort > 0 {
		fmt.Fprintf(b, "; %d of them ended too soon to be attacked", r.TooShort)
	}
	b.WriteString(".\n")
}

// results writes what forests find.
func (r *Report) results(b *strings.Builder, t task) {
	head(b, upper(t.Question)+"?", "mode", "client", "windows with and without", "both", "chance", "up", "chance", "down", "chance", "TPR against off", "learned from off: both")
	for _, result := range r.Results {
		if result.Task != t.Name || result.View != viewBoth {
			continue
		}
		if result.none() {
			row(b, result.Mode, result.Client, fmt.Sprintf("%d, %d", result.Positive, result.Negative), "too few", "", "", "", "", "", "", "")
			continue
		}
		cells := []string{result.Mode, result.Client, fmt.Sprintf("%d, %d", result.Positive, result.Negative)}
		for _, v := range views {
			cells = append(cells, r.result(t.Name, result.Mode, result.Client, v).columns()...)
		}
		row(b, append(cells, result.against(), naive(result.Naive))...)
	}
	b.WriteByte('\n')
}

// columns returns a result's figures and what chance gives.
func (r *Result) columns() []string {
	if r.none() {
		return []string{"too few", ""}
	}
	chance := fmt.Sprintf("≤ %.2f / %.2f", r.Chance.AUC, r.Chance.TPR)
	if r.AtChance {
		chance += ": **at chance**"
	}
	return []string{fmt.Sprintf("%s / %s", r.AUC, r.TPR), chance}
}

// String returns the mean and the interval.
func (e Estimate) String() string { return fmt.Sprintf("%.2f [%.2f, %.2f]", e.Mean, e.Low, e.High) }

func (r *Result) against() string {
	switch {
	case !r.Compared:
		return ""
	case r.Improved:
		return "lower"
	case r.Worse:
		return "**higher**"
	}
	return "no difference shown"
}

func naive(f *figures) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("%.2f / %.2f", f.AUC, f.TPR)
}

// perDay is how many windows a day has.
const perDay = float64(24*time.Hour) / float64(span)

// precision returns the share of alarms that are right if one window of a day has the event.
func precision(tpr, fpr float64) float64 {
	if tpr == 0 {
		return 0
	}
	return tpr / (tpr + fpr*(perDay-1))
}

// world writes how often an alarm is right where events are rare.
func (r *Report) world(b *strings.Builder) {
	head(b, "One own transaction a day: how many alarms are right?", "mode", "client", "found at 1 % FPR", "false alarms a day", "right",
		"found without any false alarm in the recording", "right at least (95 %)")
	for _, result := range r.Results {
		if result.Task != "tx" || result.View != viewBoth || result.none() {
			continue
		}
		// With none in n windows, the rate is under 3/n in 95 of 100 cases.
		bound := 3 / math.Max(1, float64(result.Negative))
		row(b, result.Mode, result.Client, fmt.Sprintf("%.2f", result.TPR.Mean), fmt.Sprintf("%.0f", maxFalse*(perDay-1)),
			percent(precision(result.TPR.Mean, maxFalse)), fmt.Sprintf("%.2f", result.TPR0.Mean), percent(precision(result.TPR0.Mean, bound)))
	}
	b.WriteByte('\n')
}

func (r *Report) sizes(b *strings.Builder) {
	head(b, "What the sizes of writes say about the size of an own transaction, if the attacker knows when it was sent", "mode", "client", "transactions", "bits", "bits left",
		"size unlike all others", fmt.Sprintf("bits left on the list of %d", len(transactionSizes)))
	for _, s := range r.Sizes {
		if s.Transactions == 0 {
			continue
		}
		row(b, s.Mode, s.Client, fmt.Sprint(s.Transactions), fmt.Sprintf("%.2f", s.Bits), fmt.Sprintf("%.2f", s.Left), percent(s.Alone),
			fmt.Sprintf("%.2f of %.2f", s.ListLeft, s.ListBits))
	}
	b.WriteString("\nThe largest write until the node has accepted the transaction counts, even if it was a false burst or another message's: bits left are the most that there can be.\n\n")
}

func (r *Report) rules(b *strings.Builder) {
	head(b, "Published rules: share of windows with and without the event in which they find one", "event", "mode", "client", ruleVolume, ruleBuckets, ruleExact)
	for i := 0; i < len(r.Rules); {
		first := r.Rules[i]
		found := map[string]string{}
		for ; i < len(r.Rules) && r.Rules[i].Task == first.Task && r.Rules[i].Mode == first.Mode && r.Rules[i].Client == first.Client; i++ {
			found[r.Rules[i].Rule] = fmt.Sprintf("%.2f, %.2f", r.Rules[i].TPR, r.Rules[i].FPR)
		}
		row(b, question(first.Task), first.Mode, first.Client, found[ruleVolume], found[ruleBuckets], found[ruleExact])
	}
	b.WriteByte('\n')
}

func (r *Report) costs(b *strings.Builder) {
	head(b, "Costs of one session; times at 50 % / 95 %", "mode", "client", "B/s up", "B/s down", "× off", "MB/day up on mainnet", "own transaction accepted", "median added", "block heard of",
		"CPU s/h", "overflows", "ended early", "node's min ping", "node's last ping")
	for _, c := range r.Costs {
		factor := ""
		if c.Factor > 0 {
			factor = fmt.Sprintf("%.1f", c.Factor)
		}
		mainnet, added := "", ""
		if c.Mainnet > 0 {
			mainnet = fmt.Sprintf("%.1f", c.Mainnet)
		}
		if c.Added != nil {
			added = fmt.Sprintf("%.2f s", c.Added.Seconds())
		}
		row(b, c.Mode, c.Client, fmt.Sprintf("%.0f", c.Up), fmt.Sprintf("%.0f", c.Down), factor, mainnet, c.Transaction.String(), added, c.Announce.String(),
			fmt.Sprintf("%.1f", c.CPU), fmt.Sprint(c.Overflows), fmt.Sprint(c.Disconnected), c.MinPing.String(), c.LastPing.String())
	}
	fmt.Fprintf(b, "\nBytes a second are at the recording's pace, which is about 30 times mainnet's. MB a day are for mainnet: %d writes of the mean size, or cells, and false bursts every 10 minutes. "+
		"What a tunnel sends in bursts comes on top, and it sends as much downstream.\n", writesADay)
	b.WriteString("The node's min ping is mostly that of its first ping, before the cells began; later ones wait for a cell.\n\n")
}

// String returns the times, and how many are missing.
func (d Delay) String() string {
	if d.Count == 0 {
		return ""
	}
	text := fmt.Sprintf("%.2f / %.2f s", d.Median.Seconds(), d.Most.Seconds())
	if d.Count < d.Of {
		text += fmt.Sprintf(" (%d of %d)", d.Count, d.Of)
	}
	return text
}

func (r *Report) goals(b *strings.Builder) {
	head(b, "Figures that were to be reached", "mode", "figure", "measured", "")
	for _, g := range r.Goals {
		verdict := "reached"
		if !g.Reached {
			verdict = "**missed**"
		}
		row(b, g.Mode, g.What, g.Got, verdict)
	}
	if n := strings.Count(b.String(), atChance+" |"); n > 0 {
		fmt.Fprintf(b, "\nChance alone is over its bound in one of 40 cases: with %d figures that are to be at chance, one at least misses it with a probability of up to %.0f %%.\n",
			n, 100*(1-math.Pow(1-(1-confidence)/2, float64(n))))
	}
}

// head writes the title and the first lines of a table.
func head(b *strings.Builder, title string, columns ...string) {
	fmt.Fprintf(b, "### %s\n\n", title)
	row(b, columns...)
	b.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
}

func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func question(name string) string {
	for _, t := range tasks {
		if t.Name == name {
			return t.Question
		}
	}
	return name
}

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// escape keeps what others wrote from ending a cell.
func escape(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

func percent(x float64) string {
	if x > 0 && x < 0.1 {
		return fmt.Sprintf("%.1f %%", 100*x)
	}
	return fmt.Sprintf("%.0f %%", 100*x)
}
