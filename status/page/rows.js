// The rows of the tables.

import * as words from "./words.js";
import { make, line, text, say, short, withOptions } from "./dom.js";
import { Table } from "./table.js";

function cell(tr, label, className, ...children) {
	const td = make("td", className, make("div", "", ...children));
	td.setAttribute("role", "cell");
	td.dataset.label = label;
	tr.append(td);
	return td;
}

function newRow() {
	const tr = make("tr");
	tr.setAttribute("role", "row");
	return tr;
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
	for (const part of ["dest", "peerAgent", "direction", "transport", "network", "client", "source", "clientAgent", "up", "upCount", "upFiller", "upLast", "down", "downCount", "downFiller", "downLast", "age", "noId"]) row[part] = line("");
	row.dest.className = "main";
	for (const part of ["peerAgent", "source", "clientAgent"]) row[part].className = "quiet agent";
	for (const part of ["upCount", "upFiller", "upLast", "downCount", "downFiller", "downLast"]) row[part].className = "quiet more-of";
	row.network.className = row.noId.className = row.direction.className = "quiet";
	row.code = make("code");
	row.button = make("button", "", "Copy");
	row.button.type = "button";
	row.button.onclick = () => copy(row.code, row.button);
	row.chip = make("span", "chip");
	row.transport.append(row.chip);
	cell(tr, "Peer", "peer", row.dest, row.peerAgent, row.direction);
	cell(tr, "Transport", "speaks", row.transport, row.network);
	cell(tr, "Session id", "session-id", make("div", "id", row.code, row.button), row.noId);
	cell(tr, "Client", "client", row.client, row.source, row.clientAgent);
	cell(tr, "To the peer", "up", row.up, row.upCount, row.upFiller, row.upLast);
	cell(tr, "To the client", "down", row.down, row.downCount, row.downFiller, row.downLast);
	cell(tr, "Age", "age", row.age);
	return row;
}

function messages(n, dropped) {
	return words.count(n, "message", "messages") + (dropped ? ", " + words.number(dropped) + " dropped" : "");
}

// filler returns how much filler a shaped session has. A peer may send some to any.
function filler(s, n) { return s.shape && n ? "+ " + words.bytes(n) + " filler" : ""; }

// reachable makes a row without a button focusable if some of its text is cut.
function reachable(row) {
	if (row.tr.querySelector(".short[title]")) row.dest.tabIndex = 0;
	else row.dest.removeAttribute("tabindex");
}

function updateSession(row, s, report) {
	const late = words.waiting(s, report), kind = late ? "late" : words.kind(s), translated = s.transport === "v2";
	short(row.dest, s.dest || "not known yet", true);
	short(row.peerAgent, s.peer_agent || "");
	row.chip.dataset.kind = kind;
	text(row.chip, words.speaks[kind] || (late ? "! " : "… ") + (words.states[s.state] || s.state));
	text(row.network, [s.network, s.shape].filter(Boolean).join(" · "));
	text(row.code, s.session_id || "");
	text(row.noId, s.session_id ? "" : words.withoutId(s, report));
	row.noId.classList.toggle("late", late !== "");
	row.button.setAttribute("aria-label", "Copy the session id of " + (s.dest || "session " + s.number));
	text(row.direction, s.inbound ? words.inbound : "");
	short(row.client, s.client, true);
	text(row.source, s.inbound ? "the node" + (s.source ? "; it sees " + s.source : "") : "");
	short(row.clientAgent, s.client_agent || "");
	text(row.up, words.bytes(s.bytes_to_peer));
	text(row.upCount, translated ? messages(s.messages_to_peer) : "");
	text(row.down, words.bytes(s.bytes_to_client));
	text(row.downCount, translated ? messages(s.messages_to_client, s.dropped) : "");
	text(row.upFiller, filler(s, s.filler_to_peer));
	text(row.downFiller, filler(s, s.filler_from_peer));
	text(row.upLast, s.last_to_peer ? "last " + s.last_to_peer : "");
	text(row.downLast, s.last_to_client ? "last " + s.last_to_client : "");
	text(row.age, words.duration(words.since(report, s.began)));
	if (!s.session_id) reachable(row);
}

function what(e) { return e.kind ? (e.inbound ? words.inboundRefusals : words.refusals)[e.kind] || e.kind : words.speaks[e.transport] || e.transport; }

// buildEnded builds the row of an ended session and its repetitions.
function buildEnded(e) {
	const tr = newRow(), row = { tr };
	for (const [part, className] of Object.entries({ dest: "dest", agent: "quiet agent", client: "quiet", when: "when", exact: "quiet when", times: "quiet", why: "reason", hint: "hint" })) row[part] = line(className);
	const chip = make("span", "chip", words.capital(what(e)));
	chip.dataset.kind = e.kind ? "refused" : e.transport;
	cell(tr, "Peer", "peer", row.dest, row.agent, row.client);
	cell(tr, "When", "", row.when, row.exact, row.times);
	cell(tr, "Why", "wide", chip, row.why, row.hint);
	return row;
}

function updateEnded(row, e, report) {
	short(row.dest, e.dest || "not known yet", true);
	short(row.agent, [e.inbound ? words.inbound : "", e.peer_agent, e.network].filter(Boolean).join(" · "));
	short(row.client, (e.inbound ? "node " : "client ") + e.client, true);
	text(row.when, words.duration(words.since(report, e.time)) + " ago");
	const clock = time => words.clock(new Date(time), Date.parse(report.time));
	text(row.exact, clock(e.time) + (e.kind ? "" : ", lasted " + words.duration(e.seconds)));
	text(row.times, e.count > 1 ? `${words.number(e.count)} times since ${clock(e.first)}` : "");
	text(row.why, words.sentence(e.reason));
	const hint = words.sentence(words.advice(e, report));
	row.hint.hidden = !hint;
	withOptions(row.hint, hint);
	reachable(row);
}

// endedKey returns the key that an ended session and its repetitions share.
const endedKey = e => [e.first, e.kind, e.transport, e.inbound ? "" : e.dest].join(" "); // the port of an inbound peer differs each time

const ended = { peer: e => e.dest || "", when: e => Date.parse(e.time), what };
const exposed = ["v1", "passthrough", "overlay", "v2"]; // the most exposed first

const lower = parts => parts.join(" ").toLowerCase();
const ofEnded = e => lower([e.dest, e.client, e.source, e.peer_agent, e.reason, e.kind, what(e), e.inbound ? "inbound" : ""]);
const ofSession = s => lower([s.dest, s.client, s.source, s.inbound ? "inbound" : "", s.peer_agent, s.client_agent, s.session_id, s.network, s.shape, s.transport, s.state, s.transport === "v1" && !s.overlay ? "plaintext" : ""]);

export const sessions = new Table("session", {
	peer: s => s.dest || "",
	transport: s => s.transport ? exposed.indexOf(words.kind(s)) : "",
	id: s => s.session_id || "",
	client: s => s.client,
	up: s => s.bytes_to_peer,
	down: s => s.bytes_to_client,
	age: s => -Date.parse(s.began),
}, s => String(s.number), ofSession, buildSession, updateSession);
export const refused = new Table("refusal", ended, endedKey, ofEnded, buildEnded, updateEnded);
export const closed = new Table("closed", ended, endedKey, ofEnded, buildEnded, updateEnded);
