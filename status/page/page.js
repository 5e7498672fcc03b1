// The page polls api/status every two seconds while it is visible, less often if it shows thousands of sessions.

import * as words from "./words.js";
import * as figures from "./figures.js";
import { $, text, make, say, withOptions } from "./dom.js";
import { icon } from "./icon.js";
import { sessions, refused, closed } from "./rows.js";

const every = 2000, longest = 30000; // milliseconds
const tables = { sessions, failed: refused, ended: closed }; // by their names in the address

let timer, failures = 0, lastGood, paused = false, state, polling = false;
let transport = "", direction = "", typed, last; // selected, "true" is inbound; timer since the last key; last report, and its query

// query returns the query of the next request. The proxy searches all sessions, not only those shown,
// and lists plaintext ones first; for another order the page needs all of them.
function query() {
	const q = new URLSearchParams({ sessions: sessions.order ? 1e6 : sessions.most });
	const words = $("filter").value.trim();
	if (transport) q.set("transport", transport);
	if (direction) q.set("inbound", direction);
	if (words) q.set("q", words);
	return String(q);
}

// remember stores the user's choices in the page's URL; recall restores them.
function remember() {
	const chosen = { find: $("filter").value.trim(), transport, inbound: direction };
	for (const [name, table] of Object.entries(tables)) chosen[name] = table.order;
	const all = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
	history.replaceState(null, "", all.size ? "#" + all : location.pathname + location.search);
}

function recall() {
	const chosen = new URLSearchParams(location.hash.slice(1));
	for (const [name, table] of Object.entries(tables)) table.sort(chosen.get(name) || "");
	$("filter").value = (chosen.get("find") || "").slice(0, $("filter").maxLength);
	direction = $("direction").value = ["true", "false"].includes(chosen.get("inbound")) ? chosen.get("inbound") : "";
	press(document.querySelector(`.tile button[value="${CSS.escape(chosen.get("transport") || "")}"]`)?.value || "");
}

function details(lines) {
	const list = $("detail");
	while (list.children.length > lines.length) list.lastElementChild.remove();
	lines.forEach(({ said, todo }, i) => {
		const li = list.children[i] || list.appendChild(make("li"));
		li.className = todo ? "todo" : "";
		withOptions(li, said);
	});
}

function show(report) {
	const { v2, v1, passthrough } = report.live, answer = words.answer(report);
	$("answer").dataset.state = answer.state;
	text($("mark"), answer.mark);
	text($("headline"), answer.headline);
	details(words.detail(report));
	text($("why"), words.why(report));
	$("failed").hidden = !words.why(report);
	document.title = answer.title + " — bip324-proxy";
	icon(answer.icon);
	if (state !== undefined && state !== answer.state) say(answer.headline); // not at each change of a number
	if (state === undefined) requestAnimationFrame(() => requestAnimationFrame(() => $("answer").classList.add("settled"))); // not from grey to green
	state = answer.state;

	for (const [name, n] of Object.entries({ v2, v1, passthrough })) {
		const overlay = name === "v1" && report.live.v1_overlay;
		text($("live-" + name), words.number(n));
		text($("opened-" + name), (overlay ? words.number(overlay) + " within Tor or CJDNS, " : "") + words.number(words.opened(report, name)) + " since the start");
	}
	const [failed] = words.both(report, "refusals");
	text($("refused-last"), failed ? `last ${words.duration(words.since(report, failed.time))} ago` : "");

	text($("refused"), words.number(words.failed(report)));
	text($("refused-count"), words.failedCount(report));
	text($("refusal-empty"), words.noneFailed(report));
	text($("closed-count"), words.closedCount(report));
	filter(report);

	figures.throughput(report);
	figures.outcomes(report);
	figures.facts(report);
	figures.inbound(report);
	figures.shaping(report);
	$("directions").hidden = !report.inbound;
	text($("version"), report.version);
	text($("uptime"), `Up for ${words.duration(report.uptime_seconds)}.`);
}

// filter shows the rows of a report that have all words of the search.
function filter(report) {
	const wanted = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
	sessions.show(report.sessions, report, wanted, report.sessions_found);
	const ofDirection = list => list.filter(e => !direction || String(e.inbound === true) === direction);
	const [failed, ended] = [[refused, "refusals"], [closed, "closed"]].map(([table, name]) => table.show(ofDirection(words.both(report, name)), report, wanted));
	if (last.query !== query()) { // the proxy has not searched yet
		text($("found"), wanted.length ? "Searching…" : "");
		return;
	}
	const found = report.sessions_found, rows = sessions.rows.size, left = found - rows, none = found + failed + ended === 0;
	text($("sessions-count"), (found < report.live.all ? `${words.number(found)} of ${words.number(report.live.all)} match` : words.number(found))
		+ (left > 0 ? `; ${words.number(rows)} shown, ${sessions.order ? "sorted" : "plaintext first"}, ${words.number(left)} not shown` : ""));
	text($("found"), !wanted.length ? "" : none ? "No match among the live sessions and the last 50 that failed or ended. Does the client use this proxy?"
		: `${words.number(found)} live, ${failed} failed, ${ended} ended`);
}

// press selects a transport, or none, and marks its tile.
function press(value) {
	transport = value;
	for (const each of document.querySelectorAll(".tile button")) each.setAttribute("aria-pressed", String(value !== "" && each.value === value));
	$("all").hidden = !value;
}

// choose shows only the sessions of a transport, or all if it was selected already.
function choose(value) {
	press(transport === value ? "" : value);
	changed();
}

// changed applies what the user has chosen.
function changed() {
	remember();
	if (last) filter(last.report);
	poll();
}

function lost(why) {
	const wait = Math.min(every * 2 ** failures++, longest);
	text($("lost"), why || (lastGood ? `The proxy has been unreachable since ${words.clock(lastGood)}; the page shows the status at that time.` : "The proxy is unreachable."));
	$("lost").hidden = false;
	const answer = words.noAnswer(last?.report, why);
	$("answer").classList.add("stale");
	text($("mark"), answer.mark);
	text($("headline"), answer.headline);
	details(answer.lines);
	$("failed").hidden = true;
	document.title = "unreachable — bip324-proxy";
	icon("failing");
	return wait;
}

async function poll() {
	if (polling) return;
	polling = true;
	clearTimeout(timer);
	let wait = every;
	const asked = query();
	try {
		const response = await fetch("api/status?" + asked, { cache: "no-store", signal: AbortSignal.timeout(10000) });
		const body = await (response.ok ? response.json() : response.text());
		lastGood = new Date();
		if (response.ok) {
			received(body, asked);
			wait *= Math.max(1, body.sessions.length / 2500); // in another order all are sent
		} else wait = lost(body.trim());
	} catch {
		wait = lost();
	}
	polling = false;
	if (asked !== query() && !failures) return poll(); // it has changed meanwhile
	if (!paused && !document.hidden) timer = setTimeout(poll, wait);
}

function received(report, asked) {
	failures = 0;
	last = { report, query: asked };
	$("lost").hidden = true;
	$("answer").classList.remove("stale");
	text($("updated"), "updated " + words.clock(lastGood));
	try {
		show(report);
	} catch (e) {
		console.error(e);
		text($("lost"), "This page has an error; /api/status has the status. " + e);
		$("lost").hidden = false;
	}
}

function resume() {
	if (paused || document.hidden) clearTimeout(timer);
	else poll();
}

$("pause").onclick = () => {
	paused = !paused;
	$("pause").setAttribute("aria-pressed", String(paused));
	if (paused) text($("updated"), "paused");
	resume();
};
$("filter").oninput = () => {
	remember();
	if (last) filter(last.report);
	clearTimeout(typed);
	typed = setTimeout(poll, 200);
};
$("filter").onkeydown = e => {
	if (e.key !== "Escape" || !$("filter").value) return;
	e.preventDefault();
	$("filter").value = "";
	changed();
};
document.addEventListener("keydown", e => {
	if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || e.target === $("filter")) return;
	e.preventDefault();
	$("filter").focus();
	$("filter").select();
});
for (const button of document.querySelectorAll(".tile button")) button.onclick = () => choose(button.value);
$("direction").onchange = () => {
	direction = $("direction").value;
	changed();
};
$("all").onclick = () => choose(transport);
$("find").onsubmit = e => e.preventDefault();
document.addEventListener("visibilitychange", resume);
recall();
for (const table of Object.values(tables)) table.onchange = changed;
addEventListener("hashchange", () => {
	if (location.hash.includes("=")) recall();
	changed(); // a link within the page does not change what is chosen
});
poll();
