package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// tops returns an expression for where the first characters within the elements are, in pixels from the top.
func tops(selector string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => { const r = document.createRange(); r.selectNodeContents(e); return Math.round(r.getClientRects()[0].top); })`, selector)
}

// lineCounts returns an expression for how many lines each of the elements has, in small print.
func lineCounts(selector string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => { const r = document.createRange(); r.selectNodeContents(e); return Math.round(r.getBoundingClientRect().height / 20); })`, selector)
}

// Four sessions and four failures are few enough to see at a glance, on wide and narrow screens.
func TestStatusPageLayout(t *testing.T) {
	t.Parallel()
	browserPath(t)
	made := serveMadeStatus(t)
	made.now.Store(madeStates["newcomer"]())
	tab := openStatus(t, made.addr)
	tab.until(`!!` + row(3))
	for selector, want := range map[string]string{
		"#refused-count":      "4 destinations, 32 failures; 4 more are not listed: older ones and routine failures",
		"#answer .detail":     "4 destinations failed in the last ten minutes: see why",
		"#refusal-rows .chip": "Connection failed",
		"#refusal-rows .hint": "To speak v1 to such peers, in plaintext, run with --v1-fallback always.",
		"#updated":            "updated ", // and the time, of 24 hours
	} {
		got := eval[string](tab, fmt.Sprintf(`document.querySelector(%q).textContent`, selector))
		if got != want && (selector != "#updated" || strings.HasSuffix(got, "M")) {
			t.Errorf("%s says %q, want %q", selector, got, want)
		}
	}
	for _, want := range []string{"! v2 handshake", "no answer after 23 s"} {
		if s := eval[string](tab, row(0)+`.innerText`); !strings.Contains(s, want) {
			t.Errorf("the row of a handshake that hangs lacks %q: %q", want, s)
		}
	}
	set := eval[[]string](tab, `[...document.querySelectorAll("#setting-rows td:first-child")].map(td => td.textContent)`)
	if !slices.Equal(set, []string{"v1-fallback", "deny"}) {
		t.Errorf("got settings %q, want those that are not defaults", set)
	}

	same := func(what, expression string) {
		t.Helper()
		if got := eval[[]int](tab, expression); len(got) < 2 || slices.Min(got) != slices.Max(got) {
			t.Errorf("%s differ: %d", what, got)
		}
	}
	same("the tops of the tiles' titles", tops(".tile dt :is(button, a)"))
	same("the lines of the times", lineCounts("#refusal-rows .when, #refusal-rows .when + .quiet:not(:empty)"))
	same("the bottoms of the columns", `[...document.querySelectorAll(".pair > div > :last-child")].map(e => Math.round(e.getBoundingClientRect().bottom))`)

	tab.look(390, 900, "light")
	for from, where := range map[int]string{0: ":nth-child(-n+2)", 2: ":nth-child(n+3)"} {
		same(fmt.Sprintf("the tops of titles from %d", from), tops(".tile"+where+" dt :is(button, a)"))
		same(fmt.Sprintf("the tops of numbers from %d", from), tops(".tile"+where+" b"))
	}
	same("the lines of the tiles", lineCounts(".tile dt :is(button, a), .tile dd span, .tile small"))
	for what, limit := range map[string]int{"#refusals": 1650, "footer": 4200} {
		if got := eval[int](tab, fmt.Sprintf(`Math.round(document.querySelector(%q).getBoundingClientRect().top + scrollY)`, what)); got > limit {
			t.Errorf("%s begins at %d, want at most %d", what, got, limit)
		}
	}
	if got := eval[string](tab, `document.getElementById("facts").lastElementChild.innerText`); got != "127.0.0.1:1324\n[::1]:1324" {
		t.Errorf("the listeners are %q, want one a line", got)
	}
	if eval[bool](tab, `[...document.querySelectorAll(".sort")].some(e => e.checkVisibility())`) {
		t.Error("four rows can be sorted")
	}
}

// On a narrow screen a menu sorts the rows, which have no headings there.
func TestStatusPageSortMenu(t *testing.T) {
	t.Parallel()
	browserPath(t)
	made := serveMadeStatus(t)
	made.now.Store(madeStates["thousand"]())
	tab := openStatus(t, made.addr)
	tab.look(390, 900, "light")
	const menu = `document.querySelector(".sort select")`
	tab.until(menu + `.checkVisibility()`)
	eval[any](tab, menu+`.focus()`)
	for _, key := range strings.Split("age", "") {
		tab.press(key)
	}
	tab.until(`location.hash === "#sessions=-age"`)
	tab.until(peers + ` === "198.51.0.0:8333 198.51.0.1:8333 198.51.0.2:8333"`)
	eval[any](tab, `location.hash = "#sessions=peer"`)
	tab.until(menu + `.selectedOptions[0].textContent === "peer, ascending"`)
	tab.press("Tab")
	if eval[bool](tab, `!!document.activeElement.closest("th")`) {
		t.Error("the keyboard reaches a heading that is not shown")
	}
}

// A list without rows does not also say that it has some.
func TestStatusPageNoFailures(t *testing.T) {
	t.Parallel()
	browserPath(t)
	made := serveMadeStatus(t)
	s := madeSnapshot()
	s.Refused["client"] = 2
	made.now.Store(s)
	tab := openStatus(t, made.addr)
	const want = "None but 2 routine failures, such as a client that only checks whether the port is open."
	tab.until(fmt.Sprintf(`document.getElementById("refusal-empty").innerText === %q && document.getElementById("refused-count").textContent === ""`, want))
}
