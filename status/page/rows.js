// The tables. All text is set as text, never as HTML: user agents and names are chosen by others.

import * as words from "./words.js";

export const $ = id => document.getElementById(id);

export function text(node, s) { if (node.textContent !== s) node.textContent = s; }

export function make(tag, className, ...children) {
	const node = document.createElement(tag);
	if (className) node.className = className;
	node.append(...children);
	return node;
}

export function say(s) { text($("said"), s); }

// Rows updates the rows of a table from a list, by key, and touches only what has changed, so that
// focus and selection stay.
class Rows {
	constructor(body, empty, key, build, update) {
		Object.assign(this, { body: $(body), empty: $(empty), key, build, update, rows: new Map() });
	}

	show(list, report) {
		const items = new Map(list.map(item => [this.key(item), item]));
		for (const [key, row] of this.rows) {
			if (!items.has(key)) this.remove(key, row.tr);
		}
		let at = this.body.firstElementChild;
		for (const [key, item] of items) {
			let row = this.rows.get(key);
			if (!row) this.rows.set(key, row = this.build(item));
			this.update(row, item, report);
			if (row.tr === at) at = at.nextElementSibling;
			else this.body.insertBefore(row.tr, at);
		}
	}

	remove(key, tr) {
		if (tr.contains(document.activeElement)) this.body.closest("section").querySelector("h2").focus();
		this.rows.delete(key);
		tr.remove();
	}

	// filter shows the rows that have all words, and returns their number.
	filter(wanted) {
		let n = 0;
		for (const { tr, search } of this.rows.values()) {
			const hit = wanted.every(word => search.includes(word));
			tr.hidden = !hit;
			if (hit) n++;
		}
		this.empty.hidden = n > 0;
		return n;
	}
}

function cell(tr, label, className, ...children) {
	const td = make("td", className, make("div", "", ...children));
	td.setAttribute("role", "cell");
	td.dataset.label = label;
	tr.append(td);
	return td;
}

function line(className) { return make("div", className); }

function newRow() {
	const tr = make("tr");
	tr.setAttribute("role", "row");
	return tr;
}

// withOptions appends words to node, with options that do not break over two lines.
function withOptions(node, words) {
	for (const part of words.split(/((?<![\w-])-[\w-]+=?)/)) node.append(part.startsWith("-") ? make("span", "option", part) : part);
	return node;
}

async function copy(code, button) {
	try {
		await navigator.clipboard.writeText(code.textContent);
	} catch { // not allowed, or the page is not on localhost
		const all = document.createRange();
		all.selectNodeContents(code);
		getSelection().removeAllRanges();
		getSelection().addRange(all);
		if (!document.execCommand("copy")) {
			say("The session id is selected: press Ctrl+C to copy it.");
			text(button, "Selected");
			return;
		}
	}
	say(""); // so that a screen reader repeats the same words
	setTimeout(() => say("Copied the session id."), 50);
	text(button, "Copied");
	clearTimeout(button.timer);
	button.timer = setTimeout(() => text(button, "Copy"), 2000);
}

function buildSession() {
	const tr = newRow(), row = { tr };
	for (const part of ["dest", "peerAgent", "transport", "network", "client", "clientAgent", "up", "upCount", "down", "downCount", "age"]) row[part] = line("");
	row.dest.className = "main";
	for (const part of ["peerAgent", "clientAgent"]) row[part].className = "quiet agent";
	for (const part of ["network", "upCount", "downCount"]) row[part].className = "quiet";
	for (const part of ["up", "down", "upCount", "downCount", "age"]) row[part].classList.add("amount");
	row.code = make("code");
	row.button = make("button", "", "Copy");
	row.button.type = "button";
	row.button.onclick = () => copy(row.code, row.button);
	row.chip = make("span", "chip");
	row.transport.append(row.chip);
	cell(tr, "Peer", "", row.dest, row.peerAgent);
	cell(tr, "Transport", "", row.transport, row.network);
	row.idCell = cell(tr, "Session id", "session-id", make("div", "id", row.code, row.button));
	cell(tr, "Client", "", row.client, row.clientAgent);
	cell(tr, "To the peer", "", row.up, row.upCount);
	cell(tr, "To the client", "", row.down, row.downCount);
	cell(tr, "Age", "", row.age);
	return row;
}

function moved(bytes, last) { return words.bytes(bytes) + (last ? ", last " + last : ""); }

function messages(n, dropped) {
	return words.count(n, "message", "messages") + (dropped ? ", " + words.number(dropped) + " dropped" : "");
}

function updateSession(row, s, report) {
	const kind = words.kind(s), translated = s.transport === "v2";
	row.search = [s.dest, s.client, s.peer_agent, s.client_agent, s.session_id, s.network, s.transport, s.state, s.transport === "v1" && !s.overlay ? "plaintext" : ""].join(" ").toLowerCase();
	text(row.dest, s.dest || "not known yet");
	text(row.peerAgent, s.peer_agent || "");
	row.chip.dataset.kind = kind;
	text(row.chip, words.speaks[kind] || "… " + (words.states[s.state] || s.state));
	text(row.network, [s.network, s.fallback && words.fallbacks[s.fallback]].filter(Boolean).join(" · "));
	text(row.code, s.session_id || "");
	row.idCell.classList.toggle("none", !s.session_id);
	row.button.setAttribute("aria-label", "Copy the session id of " + (s.dest || "session " + s.number));
	text(row.client, s.client);
	text(row.clientAgent, s.client_agent || "");
	text(row.up, moved(s.bytes_to_peer, s.last_to_peer));
	text(row.upCount, translated ? messages(s.messages_to_peer) : "");
	text(row.down, moved(s.bytes_to_client, s.last_to_client));
	text(row.downCount, translated ? messages(s.messages_to_client, s.dropped) : "");
	text(row.age, words.duration(words.since(report, s.began)));
}

// buildEnded builds the row of an ended session, and of its repetitions.
function buildEnded(e) {
	const tr = newRow(), when = line("when"), exact = line("quiet when");
	const what = e.kind ? words.refusals[e.kind] || e.kind : words.speaks[e.transport] || e.transport;
	const chip = make("span", "chip", what);
	chip.dataset.kind = e.kind ? "refused" : e.transport;
	const times = line("quiet"), why = line("reason"), hint = line("hint"), client = line("quiet");
	const reason = [chip, why, hint];
	cell(tr, "Peer", "", make("div", "main", e.dest || "not known yet"), make("div", "quiet agent", [e.peer_agent, e.network].filter(Boolean).join(" · ")),
		client);
	cell(tr, "When", "", when, exact, times);
	cell(tr, "Why", "wide", ...reason);
	return { tr, when, exact, times, why, hint, client, what };
}

function updateEnded(row, e, report) {
	text(row.when, words.duration(words.since(report, e.time)) + " ago");
	text(row.exact, new Date(e.time).toLocaleTimeString() + (e.kind ? "" : ", lasted " + words.duration(e.seconds)));
	text(row.times, e.count > 1 ? `${words.number(e.count)} times since ${new Date(e.first).toLocaleTimeString()}` : "");
	text(row.why, e.reason);
	text(row.client, "client " + e.client);
	const hint = words.advice(e, report);
	row.hint.hidden = !hint;
	if (row.hint.textContent !== hint) {
		row.hint.replaceChildren();
		withOptions(row.hint, hint);
	}
	row.search = [e.dest, e.client, e.peer_agent, e.reason, e.kind, row.what].join(" ").toLowerCase();
}

// endedKey is the same for an ended session and its repetitions.
const endedKey = e => [e.first, e.kind, e.transport, e.dest].join(" ");

export const sessions = new Rows("session-rows", "sessions-empty", s => String(s.number), buildSession, updateSession);
export const refused = new Rows("refusal-rows", "refusals-empty", endedKey, buildEnded, updateEnded);
export const closed = new Rows("closed-rows", "closed-empty", endedKey, buildEnded, updateEnded);
