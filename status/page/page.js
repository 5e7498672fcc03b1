// The page asks /api/status every two seconds, as long as somebody looks at it.

import * as words from "./words.js";
import * as figures from "./figures.js";
import { $, text, say, sessions, refused, closed } from "./rows.js";

const every = 2000, longest = 30000, shown = 300; // milliseconds, milliseconds, sessions

let timer, failures = 0, lastGood, paused = false, state, asking = false;

function show(report) {
	const { v2, v1, passthrough } = report.live, answer = words.answer(report);
	$("answer").dataset.state = answer.state;
	text($("mark"), answer.mark);
	text($("headline"), answer.headline);
	text($("detail"), words.detail(report));
	text($("why"), words.why(report));
	$("why").hidden = !words.why(report);
	document.title = answer.title + " — bip324-proxy";
	if (state !== undefined && state !== answer.state) say(answer.headline); // not at each change of a number
	if (state === undefined) requestAnimationFrame(() => requestAnimationFrame(() => $("answer").classList.add("settled"))); // not from grey to green
	state = answer.state;

	for (const [name, n] of Object.entries({ v2, v1, passthrough })) {
		const overlay = name === "v1" && report.live.v1_overlay;
		text($("live-" + name), words.number(n));
		text($("opened-" + name), (overlay ? words.number(overlay) + " within Tor or CJDNS, " : "") + words.number(report.opened[name]) + " since the start");
	}
	text($("refused-last"), report.refusals.length ? `last ${words.duration(words.since(report, report.refusals[0].time))} ago` : "");

	sessions.show(report.sessions, report);
	refused.show(report.refusals, report);
	closed.show(report.closed, report);
	const all = report.live.all;
	text($("sessions-count"), all > report.sessions.length ? `the newest ${words.number(report.sessions.length)} of ${words.number(all)}` : words.number(all));
	const nothing = Object.values(report.refused).reduce((a, b) => a + b, 0), unlisted = nothing - report.refusals.length;
	text($("refused"), words.number(nothing));
	text($("refused-count"), (report.refusals.length >= 50 ? "the last 50" : words.number(report.refusals.length))
		+ (unlisted > 0 ? `; ${words.number(unlisted)} more are not listed: older ones, and those of every day` : ""));
	text($("closed-count"), report.closed.length >= 50 ? "the last 50" : words.number(report.closed.length));
	filter();

	figures.throughput(report);
	figures.outcomes(report);
	figures.facts(report);
	text($("version"), report.version);
	text($("uptime"), `Up for ${words.duration(report.uptime_seconds)}.`);
}

function filter() {
	const wanted = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
	const [live, nothing, over] = [sessions, refused, closed].map(rows => rows.filter(wanted));
	const none = live + nothing + over === 0;
	text($("found"), !wanted.length ? "" : none ? "Not among the live sessions, nor among the last 50 that came to nothing or ended. Does the client use this proxy?"
		: `${live} live, ${nothing} came to nothing, ${over} ended`);
}

function lost(why) {
	const wait = Math.min(every * 2 ** failures++, longest);
	const since = lastGood ? "since " + lastGood.toLocaleTimeString() : "so far";
	text($("lost"), why || `The proxy is not reachable, ${since}. What is shown is from then.`);
	$("lost").hidden = false;
	$("answer").classList.add("stale");
	document.title = "not reachable — bip324-proxy";
	return wait;
}

async function ask() {
	if (asking) return;
	asking = true;
	clearTimeout(timer);
	let wait = every;
	try {
		const response = await fetch("api/status?sessions=" + shown, { cache: "no-store", signal: AbortSignal.timeout(10000) });
		const body = await (response.ok ? response.json() : response.text());
		lastGood = new Date();
		if (response.ok) found(body);
		else wait = lost(body.trim());
	} catch {
		wait = lost();
	}
	asking = false;
	if (!paused && !document.hidden) timer = setTimeout(ask, wait);
}

function found(report) {
	failures = 0;
	$("lost").hidden = true;
	$("answer").classList.remove("stale");
	text($("updated"), "updated " + lastGood.toLocaleTimeString());
	try {
		show(report);
	} catch (e) {
		console.error(e);
		text($("lost"), "This page has failed; /api/status has what it should show. " + e);
		$("lost").hidden = false;
	}
}

function goOn() {
	if (paused || document.hidden) clearTimeout(timer);
	else ask();
}

$("pause").onclick = () => {
	paused = !paused;
	$("pause").setAttribute("aria-pressed", String(paused));
	if (paused) text($("updated"), "paused");
	goOn();
};
$("filter").oninput = filter;
$("find").onsubmit = e => e.preventDefault();
document.addEventListener("visibilitychange", goOn);
ask();
