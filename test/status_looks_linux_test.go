package test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// eachLook shows the page in every state, at two widths, in light and dark. SCREENSHOTS=DIR keeps screenshots.
func eachLook(t *testing.T, check func(tab *tab, look string, width int)) {
	made := serveMadeStatus(t)
	tab := openStatus(t, made.addr)
	looks := func(state string, width int) {
		tab.run(fmt.Sprintf("%s-%d", state, width), func(t *testing.T) {
			for _, scheme := range []string{"light", "dark"} {
				tab.look(width, 900, scheme)
				tab.until(`document.getAnimations().length === 0`) // colors change gradually
				look := fmt.Sprintf("%s-%d-%s", state, width, scheme)
				check(tab, look, width)
				if dir := os.Getenv("SCREENSHOTS"); dir != "" {
					if err := os.WriteFile(filepath.Join(dir, look+".png"), tab.screenshot(true), 0o600); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	widths := []int{1280, 390}
	for _, state := range slices.Sorted(maps.Keys(madeStates)) {
		made.now.Store(madeStates[state]())
		for _, width := range widths {
			tab.look(width, 900, "light")
			query := fmt.Sprintf("?%s-%d", state, width) // another address, so that it is not the page before
			tab.open("http://" + made.addr + "/" + query)
			tab.until(`location.search === "` + query + `" && document.getElementById("updated")?.textContent.startsWith("updated")`)
			eval[any](tab, `document.querySelectorAll("details").forEach(d => d.open = true)`)
			looks(state, width)
		}
	}
	if all := tab.complaints(); len(all) > 0 {
		t.Errorf("unexpected console output %s", all)
	}
	made.stop()
	tab.until(`!document.getElementById("lost").hidden`)
	for _, width := range widths {
		looks("unreachable", width)
	}
}

// The page fits on wide and narrow screens, has enough contrast, and has a limited length, whatever peers and clients
// send.
func TestStatusPageLooks(t *testing.T) {
	t.Parallel()
	browserPath(t)
	eachLook(t, func(tab *tab, look string, width int) {
		t := tab.t
		if got := eval[int](tab, "document.documentElement.scrollWidth"); got > width {
			t.Errorf("%s: the page is %d wide", look, got)
		}
		if got := eval[int](tab, "document.documentElement.scrollHeight"); got > 12_000 {
			t.Errorf("%s: the page is %d high", look, got)
		}
		for _, low := range eval[[]string](tab, lowContrast) {
			t.Errorf("%s: too little contrast: %s", look, low)
		}
		for _, over := range eval[[]string](tab, overflowing) {
			t.Errorf("%s: text is outside of its cell: %s", look, over)
		}
	})
}

// overflowing finds cells that are too small for their text.
const overflowing = `[...document.querySelectorAll("td, th, dd, li")].filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1).map(e => e.tagName + " " + e.innerText.slice(0, 80))`

// axe-core finds no violation in the page.
func TestStatusPageAxe(t *testing.T) {
	t.Parallel()
	browserPath(t)
	toolchain(t, "npm")
	dir := cached(t, "axe", func(dir string) error {
		return install(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund") // runs no package scripts
	})
	script, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	eachLook(t, func(tab *tab, look string, width int) {
		if !eval[bool](tab, `"axe" in window`) {
			eval[any](tab, string(script)+"; null")
		}
		for _, found := range eval[[]string](tab, `axe.run().then(r => r.passes.length < 20 ? ["it has checked little"] : r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.html.slice(0, 200) + " " + n.failureSummary)))`) {
			tab.t.Errorf("%s: %s", look, strings.ReplaceAll(found, "\n", " "))
		}
	})
}
