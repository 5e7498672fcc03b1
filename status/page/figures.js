// The chart of the throughput, the bars of the outcomes, and the lists.

import * as words from "./words.js";
import { $, text, make } from "./dom.js";

const svg = (tag, attributes) => {
	const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
	for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
	return node;
};

const left = 72, above = 12, bottom = 172, height = 200, slots = 150;

// ceiling returns n rounded up to 1, 2 or 5 times a power of ten.
function ceiling(n) {
	const power = 10 ** Math.floor(Math.log10(Math.max(n, 100)));
	return [1, 2, 5, 10].map(f => f * power).find(c => c >= n);
}

let drawn; // the chart's parts

function draw() {
	const chart = $("chart"), lines = [], labels = [], ends = [];
	for (const y of [above, (above + bottom) / 2, bottom]) {
		lines.push(svg("line", { class: "grid", x1: left, y1: y, y2: y }));
		labels.push(svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }));
	}
	for (const [anchor, what] of [["start", "5 min ago"], ["end", "now"]]) {
		const label = svg("text", { x: left, y: bottom + 20, "text-anchor": anchor });
		label.textContent = what;
		ends.push(label);
	}
	const down = svg("polyline", { class: "to-client" }), up = svg("polyline", { class: "to-peer" });
	addEventListener("resize", () => throughput(drawn.report));
	chart.append(...lines, ...labels, ...ends, down, up);
	return { chart, lines, labels, ends, up, down };
}

export function throughput(report) {
	drawn ||= draw();
	drawn.report = report;
	const t = report.throughput, up = t.bytes_to_peer_per_second, down = t.bytes_to_client_per_second;
	const right = (drawn.chart.clientWidth || 560) - 4, most = ceiling(Math.max(0, ...up, ...down));
	drawn.chart.setAttribute("viewBox", `0 0 ${right + 4} ${height}`);
	for (const line of drawn.lines) line.setAttribute("x2", right);
	drawn.ends[1].setAttribute("x", right);
	[most, most / 2, 0].forEach((v, i) => text(drawn.labels[i], words.bytes(v) + "/s"));
	for (const [line, values] of [[drawn.down, down], [drawn.up, up]]) {
		const points = values.map((v, i) => {
			const x = right - (values.length - 1 - i) * (right - left) / (slots - 1);
			return x.toFixed(1) + "," + (bottom - v / most * (bottom - above)).toFixed(1);
		});
		line.setAttribute("points", points.join(" "));
	}
	const now = values => words.bytes(values.at(-1) || 0) + "/s", peak = values => words.bytes(Math.max(0, ...values)) + "/s";
	text($("rate-client"), now(down));
	text($("rate-peer"), now(up));
	text($("chart-text"), up.length ? `Peak: ${peak(down)} to clients, ${peak(up)} to peers.` : "No values yet.");
}

function label(o) {
	switch (o.outcome) {
	case "v1": return "v1: " + (words.fallbacks[o.cause] || o.cause);
	case "refused": return "failed: " + (words.refusals[o.cause] || o.cause);
	}
	return o.outcome === "v2" ? "v2, encrypted" : "passed through";
}

function percent(share) {
	const n = 100 * share;
	return (n > 0 && n < 1 ? "under 1" : Math.round(n)) + " %";
}

function shares(list, report) {
	const sum = (outcome, part) => list.filter(o => !outcome || o.outcome === outcome).reduce((n, o) => n + o[part], 0);
	const which = report.inbound ? "outbound " : ""; // inbound ones have a panel
	return `Of ${words.count(sum("", "count"), which + "connection", which + "connections")} ${percent(sum("v1", "share"))} fell back to v1, and ${percent(sum("refused", "share"))} failed.`;
}

const bars = new Map();

export function outcomes(report) {
	const list = report.outcomes.filter(o => o.count > 0);
	if (list.length > 0) text($("shares"), shares(list, report));
	for (const [key, bar] of bars) {
		if (!list.some(o => label(o) === key)) { bar.li.remove(); bars.delete(key); }
	}
	list.forEach((o, i) => {
		const key = label(o);
		let bar = bars.get(key);
		if (!bar) {
			bar = { number: make("span", "number"), bar: make("div", "bar") };
			const track = make("div", "track", bar.bar);
			track.setAttribute("aria-hidden", "true");
			bar.li = make("li", "", make("div", "text", make("span", "", key), bar.number), track);
			bar.li.dataset.kind = o.outcome;
			bars.set(key, bar);
		}
		text(bar.number, percent(o.share) + " · " + words.number(o.count));
		bar.bar.style.width = 100 * o.share + "%";
		if ($("outcome-rows").children[i] !== bar.li) $("outcome-rows").insertBefore(bar.li, $("outcome-rows").children[i] || null);
	});
}

// pairs fills a list with rows of texts, and builds each row once.
function pairs(node, rows, build) {
	while (node.children.length > rows.length * build.size) node.lastElementChild.remove();
	rows.forEach((texts, i) => {
		if (node.children.length <= i * build.size) node.append(...build(texts));
		build.fill(node, i, texts);
	});
}

const fact = () => [make("dt"), make("dd")];
fact.size = 2;
fact.fill = (node, i, texts) => texts.slice(0, 2).forEach((s, j) => text(node.children[2 * i + j], s));

const settingRow = () => {
	const cells = [make("td", "", make("code")), make("td", "", make("code")), make("td")], tr = make("tr", "", ...cells);
	for (const cell of cells) cell.setAttribute("role", "cell");
	tr.setAttribute("role", "row");
	return [tr];
};
settingRow.size = 1;
settingRow.fill = (node, i, [name, value, origin]) => {
	const cells = node.children[i].children;
	text(cells[0].firstChild, name);
	text(cells[1].firstChild, value);
	text(cells[2], origin);
};

const mib = n => words.number(Math.round(n / (1 << 20) * 10) / 10) + " MiB";

// average returns how many handshakes there were, and how long they took.
function average(h) { return words.number(h.count) + (h.count ? `, ${Math.round(1000 * h.sum_seconds / h.count)} ms on average` : ""); }

function used(memory) { return `${mib(memory.taken_bytes)} of ${mib(memory.size_bytes)}` + (memory.waiting ? `, ${words.number(memory.waiting)} waiting` : ""); }

const withoutV2 = {
	never: "refused, and nothing is sent to them: --inbound-v1 is never",
	overlay: "accepted only from Tor or CJDNS: --inbound-v1 is overlay",
	always: "accepted in plaintext: --inbound-v1 is always",
};

export function inbound(report) {
	const all = report.inbound, lines = list => list.filter(Boolean).join("\n");
	$("inbound-panel").hidden = !all;
	if (!all) return;
	const refused = Object.entries(all.refused).filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a);
	const announced = words.setting(report, "announce-v2");
	text($("inbound-count"), words.count(report.live.inbound, "session", "sessions"));
	pairs($("inbound-facts"), [
		["Listening on", lines(all.listeners.map(l => `${l.address} → node ${l.node} (${l.network})`)) || "nowhere: shutting down"],
		["The node sees them from", lines(all.listeners.map(l => l.source === "none" ? `${l.node}: one address for all peers; a node that bans one bans all` : l.source && `${l.node}: addresses in ${l.source}`)) || "a unix socket"],
		["Peers without v2", withoutV2[all.v1] || all.v1],
		["Announced with v2", announced?.length ? lines([].concat(announced)) : "nothing, so Bitcoin Core's automatic connections do not use v2: set --announce-v2"],
		["Sessions", `${words.number(report.live.inbound)} of at most ${words.number(all.max_sessions)}` + (all.pending ? `; ${words.count(all.pending, "connection has", "connections have")} sent no VERSION yet` : "")],
		["Since the start", lines([`${words.number(all.opened.v2)} on v2, ${words.number(all.opened.v1)} on v1`, all.evicted && `${words.number(all.evicted)} evicted for peers of other networks`])],
		["Refused", lines(refused.map(([kind, n]) => `${words.number(n)}: ${words.inboundRefusals[kind] || kind}`)) || "none"],
		["v2 handshakes", average(all.handshakes)],
		["Memory for large messages", used(all.message_memory)],
	], fact);
}

export function shaping(report) {
	const { live, shaped } = report, lines = list => list.filter(Boolean).join("\n");
	$("shape-panel").hidden = !words.shaped(report);
	if (!words.shaped(report)) return;
	const all = Object.values(shaped.live).reduce((sum, n) => sum + n, 0);
	const modes = Object.entries(words.shapes).filter(([shape]) => shaped.live[shape] > 0).map(([shape, does]) => `${words.number(shaped.live[shape])} ${shape}: ${does}`);
	const others = live.v2 + live.v1 + live.passthrough - all, overflows = report.shape_overflows + (report.inbound?.shape_overflows || 0);
	const amounts = f => `${words.bytes(f.to_peer)} to peers, ${words.bytes(f.from_peer)} from peers`;
	text($("shape-count"), words.count(all, "session", "sessions"));
	pairs($("shape-facts"), [
		["Live sessions", lines([...modes, others > 0 && words.number(others) + " not shaped"]) || "none"],
		["Filler in the last 24 hours", amounts(shaped.filler_last_day)],
		["Filler since the start", amounts(words.filler(report))],
		overflows && ["Backlogs too large for the shape", words.number(overflows) + ", which left at once: their times were not hidden"],
	].filter(Boolean), fact);
}

export function facts(report) {
	const { peers, handshakes, message_memory: memory } = report;
	pairs($("facts"), [
		["Known to speak v2", words.count(peers.v2, "peer", "peers") + ", never downgraded to v1"],
		["Known to speak v1", words.count(peers.v1, "peer", "peers")],
		["Recently refused v2", words.count(peers.refused_v2, "peer", "peers")],
		["v2 handshakes", average(handshakes)],
		["Memory for large messages", used(memory)],
		["Sessions", `${words.number(report.live.all - report.live.inbound)} of at most ${words.number(report.max_sessions)}`],
		["Listening on", report.listeners.join("\n") || (report.inbound?.listeners.length ? "nothing" : "nothing: shutting down")],
	], fact);
	settings(report.settings);
}

// settings shows the settings that someone set, and apart from them the others.
function settings(list) {
	const all = list.map(s => [s.name, [].concat(s.value).join("\n"), s.origin]);
	const set = all.filter(([, , origin]) => origin !== "default"), others = all.filter(([, , origin]) => origin === "default");
	const [preset, unset] = [others.filter(([, value]) => value), others.filter(([, value]) => !value)];
	pairs($("setting-rows"), set.map(([name, value, origin]) => [name, value || "none", origin]), settingRow);
	$("setting-rows").parentElement.hidden = set.length === 0;
	$("setting-empty").hidden = set.length > 0;
	text($("setting-empty"), all.length ? "All settings have their defaults." : "Unknown.");
	pairs($("default-rows"), preset, fact);
	text($("default-count"), words.number(others.length));
	text($("unset"), unset.length ? "Not set: " + unset.map(([name]) => name).join(", ") + "." : "");
}
