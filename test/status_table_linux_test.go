package test

import (
	"fmt"
	"strings"
	"testing"

	product "bip324proxy/proxy"
)

// peers are the addresses in the first three rows.
const peers = `[...document.querySelectorAll("#session-rows tr")].slice(0, 3).map(tr => tr.querySelector(".main").textContent).join(" ")`

// A table of a thousand sessions can be sorted, searched and extended by keyboard. An update changes neither the focus
// nor the selection nor the scroll position, and the URL has the user's choices.
func TestStatusPageTable(t *testing.T) {
	t.Parallel()
	browserPath(t)
	made := serveMadeStatus(t)
	made.now.Store(madeStates["thousand"]())
	tab := openStatus(t, made.addr)
	equal := func(expression, want string) {
		t.Helper()
		tab.until(fmt.Sprintf(`%s === %q`, expression, want))
	}
	sort := func(column string) {
		t.Helper()
		eval[any](tab, fmt.Sprintf(`[...document.querySelectorAll(".sessions th button")].find(b => b.textContent === %q).focus()`, column))
		tab.press("Enter")
	}
	const count, hash, sorted = `document.getElementById("sessions-count").textContent`, `location.hash`,
		`[...document.querySelectorAll("[aria-sort]")].map(th => th.textContent + " " + th.ariaSort).join()`

	equal(count, "1,000; 50 shown, plaintext first, 950 not shown")
	equal(peers, "198.51.3.231:8333 198.51.3.230:8333 "+onionOf(997))
	if nodes := eval[int](tab, `document.querySelectorAll("*").length`); nodes > 2500 {
		t.Errorf("the page has %d elements", nodes)
	}
	sort("Age")
	equal(peers, "198.51.0.0:8333 198.51.0.1:8333 198.51.0.2:8333")
	equal(sorted, "Age descending")
	equal(hash, "#sessions=-age")
	sort("Age")
	equal(peers, "198.51.3.231:8333 198.51.3.230:8333 "+onionOf(997))
	equal(sorted, "Age ascending")
	sort("Age")
	equal(hash, "")
	sort("Client")
	equal(peers, "198.51.0.0:8333 198.51.0.1:8333 198.51.0.2:8333")
	sort("Peer")
	equal(sorted, "Peer ascending")
	sort("Peer") // numbers within names are compared as such
	equal(peers, strings.Join([]string{onionOf(997), onionOf(988), onionOf(979)}, " "))
	sort("To the client")
	equal(peers, "198.51.3.231:8333 198.51.3.230:8333 "+onionOf(997))

	// The row with the focus becomes the last of those shown, and the one with the selection the first.
	const button, address = `document.querySelectorAll("#session-rows button")[1]`, `document.querySelectorAll("#session-rows .main")[2]`
	update := func(change func(all []product.SessionInfo)) {
		t.Helper()
		next := *made.now.Load()
		next.Sessions = append([]product.SessionInfo(nil), next.Sessions...)
		change(next.Sessions)
		made.now.Store(&next)
	}
	eval[any](tab, `window.focused = `+button+`; focused.focus(); window.selected = `+address+`; getSelection().selectAllChildren(selected)`)
	update(func(all []product.SessionInfo) { all[998].BytesToClient = 2 << 30 })
	equal(peers, "198.51.3.230:8333 198.51.3.231:8333 "+onionOf(997))
	if !eval[bool](tab, `document.activeElement === focused`) {
		t.Error("the focus is lost when its row moves")
	}
	eval[any](tab, `focused.blur()`)
	update(func(all []product.SessionInfo) { all[997].BytesToClient = 4 << 30 })
	equal(peers, onionOf(997)+" 198.51.3.230:8333 198.51.3.231:8333")
	if got := eval[string](tab, `getSelection().toString()`); got != onionOf(997) {
		t.Errorf("got selection %q, want the whole address", got)
	}

	eval[any](tab, `document.querySelector(".more button").focus()`)
	tab.press("Enter")
	equal(count, "1,000; 150 shown, sorted, 850 not shown")
	if !eval[bool](tab, `document.activeElement.textContent === "Show 100 more"`) {
		t.Error("the focus is lost when there are more rows")
	}
	eval[any](tab, `document.querySelector(".region").scrollTop = 1000; scrollTo(0, 300)`)
	update(func(all []product.SessionInfo) { all[0].BytesToClient = 8 << 30 })
	tab.until(strings.Replace(peers, "slice(0, 3)", "slice(0, 1)", 1) + ` === "198.51.0.0:8333"`)
	if eval[bool](tab, `document.querySelector(".region").scrollTop < 1000 || scrollY !== 300`) {
		t.Error("an update has scrolled")
	}

	eval[any](tab, `document.activeElement.blur()`)
	tab.press("/")
	for _, key := range strings.Split("198.51.0.1", "") {
		tab.press(key)
	}
	tab.until(`document.getElementById("found").textContent.startsWith("87 live")`)
	equal(hash, "#find=198.51.0.1&sessions=-down")
	tab.call("Page.reload", nil, nil)
	tab.until(`document.getElementById("found")?.textContent.startsWith("87 live") && document.getElementById("filter").value === "198.51.0.1"`)
	equal(sorted, "To the client descending")
	equal(strings.Replace(peers, "slice(0, 3)", "slice(0, 1)", 1), "198.51.0.199:8333")
	tab.press("/")
	tab.press("Escape")
	equal(hash, "#sessions=-down")
	equal(count, "1,000; 50 shown, sorted, 950 not shown")
	eval[any](tab, `location.hash = "#refusals"`) // as a link of the page does
	equal(hash, "#sessions=-down")
	eval[any](tab, `location.hash = "#find=198.51.3.231&transport=v2&sessions=nothing"`)
	tab.until(`document.getElementById("found").textContent.startsWith("1 live") && document.querySelectorAll(".tile [aria-pressed=true]").length === 1`)
	if all := tab.complaints(); len(all) > 0 {
		t.Errorf("unexpected console output %s", all)
	}
}

// Long names are cut on the screen only: hovering, focus and copying give all of them.
func TestStatusPageShortens(t *testing.T) {
	t.Parallel()
	browserPath(t)
	made := serveMadeStatus(t)
	hostile := madeStates["hostile"]()
	made.now.Store(hostile)
	tab := openStatus(t, made.addr)
	wide := hostile.Sessions[0]
	for _, width := range []int{1280, 390} {
		tab.look(width, 900, "light")
		for selector, want := range map[string]string{".peer .main": wide.Dest, ".peer .agent": wide.PeerAgent} {
			node := row(3) + fmt.Sprintf(`.querySelector(%q)`, selector)
			eval[any](tab, `document.activeElement.blur(); getSelection().selectAllChildren(`+node+`)`)
			if got := eval[string](tab, `getSelection().toString()`); got != want {
				t.Errorf("%d: %s is copied as %q, want %q", width, selector, got, want)
			}
			if got := eval[string](tab, node+`.title`); got != want {
				t.Errorf("%d: the title of %s is %q, want %q", width, selector, got, want)
			}
			const height = `.getBoundingClientRect().height`
			if eval[float64](tab, node+height) > 30 {
				t.Errorf("%d: %s has more than one line", width, selector)
			}
			eval[any](tab, row(3)+`.querySelector("button").focus({focusVisible: true})`)
			if !eval[bool](tab, node+height+` > 30 && `+node+`.scrollWidth <= `+node+`.clientWidth`) {
				t.Errorf("%d: %s is not whole when its row has the focus", width, selector)
			}
		}
	}
	// A row without a session id is reached, too.
	eval[any](tab, row(0)+`.querySelector("[tabindex='0']").focus({focusVisible: true})`)
	if !eval[bool](tab, row(0)+`.querySelector(".agent").getBoundingClientRect().height > 30`) {
		t.Error("a user agent is not whole when its row has the focus")
	}
}

// The tab's icon follows the answer.
func TestStatusPageIcon(t *testing.T) {
	t.Parallel()
	browserPath(t)
	made := serveMadeStatus(t)
	tab := openStatus(t, made.addr)
	seen := make(map[string]string)
	icon := func(state string) {
		t.Helper()
		const href = `document.getElementById("icon").href`
		got := eval[string](tab, href)
		if other := seen[got]; other != "" {
			t.Errorf("%s and %s have the same icon", other, state)
		}
		seen[got] = state
		if w := eval[int](tab, `new Promise(done => { const i = new Image(); i.onload = () => done(i.width); i.onerror = () => done(0); i.src = `+href+`; })`); w == 0 {
			t.Errorf("%s: the icon %s is not an image, or not allowed", state, got)
		}
	}
	icon("no connections")
	for state, title := range map[string]string{"one": "1 encrypted", "plaintext": "1 plaintext, ", "failing": "attempts fail"} {
		made.now.Store(madeStates[state]())
		tab.until(fmt.Sprintf(`document.title.startsWith(%q)`, title))
		icon(state)
	}
	failing := eval[string](tab, `document.title`)
	made.now.Store(madeStates["one"]())
	tab.until(`document.title.startsWith("1 encrypted")`)
	made.stop()
	tab.until(`document.title.startsWith("unreachable")`)
	if got := eval[string](tab, `document.getElementById("icon").href`); seen[got] != "failing" {
		t.Errorf("the icon of an unreachable proxy is that of %s, want that of failing; %s", seen[got], failing)
	}
}
