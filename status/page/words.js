// What the page says: numbers, times, kinds, and the answer to its question.

export const refusals = {
	dial: "connection failed",
	upstream: "upstream proxy unavailable",
	no_v2_answer: "no answer to the v2 handshake",
	handshake: "the v2 handshake failed",
	second_dial: "the second connection failed",
	resolve: "name resolution failed",
	denied: "denied by a rule",
	no_egress: ".onion or .i2p without an upstream proxy",
	own_address: "the destination is this proxy",
	passthrough_denied: "the client does not speak v1; passthrough is denied",
	peer: "the peer hung up, or spoke first",
	client: "the client sent nothing, or nothing valid",
	client_not_allowed: "the client's address is not in --clients",
	client_left: "the client closed the connection early",
	too_many_sessions: "too many sessions",
	client_rate: "the client's address connects too often",
	stopping: "the proxy was stopping",
	other: "other",
};

// advice returns what to do about a session that ended. A dead peer is no reason to do
// anything, unless all are.
export function advice(e, report) {
	if (e.hint) return e.hint;
	const wrong = report.failing || report.upstream?.state === "failed";
	return e.kind === "dial" && !wrong ? "Nothing is wrong here: clients try many addresses, and most of them are old." : "";
}

export const fallbacks = {
	hung_up: "the peer hung up on the v2 handshake",
	silent: "the peer was silent",
	spoke_v1: "the peer sent a v1 VERSION by itself",
	known_v1: "the peer is known to speak v1",
	refused_v2: "the peer refused v2 a moment ago",
};

export const states = {
	asking: "asked where to",
	dialing: "connecting",
	granted: "waiting for the client",
	handshake: "v2 handshake",
};

export const speaks = {
	v2: "✓ v2, encrypted",
	v1: "! v1, plaintext",
	overlay: "! v1, within Tor or CJDNS",
	passthrough: "→ passed through",
};

export function number(n) { return n.toLocaleString("en"); }

export function count(n, one, many) { return number(n) + " " + (n === 1 ? one : many); }

export function bytes(n) {
	for (const unit of ["B", "kB", "MB", "GB"]) {
		if (n < 999.5) return (n < 9.95 && unit !== "B" ? n.toFixed(1) : Math.round(n)) + " " + unit;
		n /= 1000;
	}
	return n.toFixed(1) + " TB";
}

export function duration(seconds) {
	const s = Math.max(0, Math.round(seconds)), units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
	const i = units.findIndex(([size]) => s >= size);
	if (i < 0) return "0 s";
	const [[size, unit], next] = [units[i], units[i + 1]];
	const rest = next && i < 2 ? Math.floor(s % size / next[0]) : 0;
	return Math.floor(s / size) + " " + unit + (rest ? " " + rest + " " + next[1] : "");
}

export function since(report, time) { return (Date.parse(report.time) - Date.parse(time)) / 1000; }

export function setting(report, name) { return report.settings.find(s => s.name === name)?.value; }

// kind is what a session speaks, as the style sheet names it.
export function kind(session) { return session.overlay ? "overlay" : session.transport || "pending"; }

// answer is what the page is there for, in words. How sure it is shows in its state:
// good, partly, bad, or none, which is to say that it cannot tell.
export function answer(report) {
	const live = report.live, plain = live.v1 - live.v1_overlay, open = live.v2 + live.v1 + live.passthrough;
	const parts = [
		[live.v2, "encrypted by BIP324"],
		[plain, "in plaintext v1"],
		[live.v1_overlay, "on v1 within Tor or CJDNS, which encrypts"],
		[live.passthrough, "passed through as it came"],
	].filter(([n]) => n > 0).map(([n, what]) => number(n) + " " + what).join(", ");
	const which = open === 1 ? "The one connection" : open === 2 ? "Both connections" : "All " + number(open) + " connections";
	const is = open === 1 ? "is" : "are";
	const title = [[plain, "plaintext"], [live.passthrough, "passed through"], [live.v2 + live.v1_overlay, "encrypted"]]
		.filter(([n]) => n > 0).map(([n, what]) => number(n) + " " + what).join(", ");
	switch (report.encrypted) {
	case "none": return none(report);
	case "yes": return { state: "good", mark: "✓", headline: live.v2 === open ? `Yes. ${which} through this proxy ${is} encrypted.` : `Yes. ${parts}.`, title };
	case "no": return { state: "bad", mark: "!", headline: plain === open ? `No. ${which} ${is} in plaintext (v1).` : `No. ${parts}.`, title };
	case "partly": return { state: "partly", mark: "!", headline: `Partly. ${parts}.`, title };
	default: return { state: "none", mark: "?", headline: `Not known. ${which} ${is} passed through as ${open === 1 ? "it" : "they"} came.`, title };
	}
}

// none is the answer if no connection is open: why not, if that is known.
function none(report) {
	const failing = report.failing;
	if (report.upstream?.state === "failed") return { state: "failing", mark: "!", headline: "No connections: the upstream proxy cannot be used.", title: "upstream proxy down" };
	if (!failing) return { state: "none", mark: "–", headline: "No connections right now.", title: "no connections" };
	const which = failing.count === 1 ? "the last attempt" : ever(report) ? `the last ${number(failing.count)} attempts` : `all ${number(failing.count)} attempts`;
	return { state: "failing", mark: "!", headline: `No connections: ${which} failed.`, title: "attempts fail" };
}

function ever(report) { return report.opened.v2 + report.opened.v1 + report.opened.passthrough; }

function sentence(s) { return s && s[0].toUpperCase() + s.slice(1) + (/[.!?]$/.test(s) ? "" : "."); }

// trouble says what is wrong, if nothing gets through: with the upstream proxy, or what
// failed most often since a session last opened.
function trouble(report, open) {
	const { upstream, failing } = report;
	if (upstream?.state === "failed") return [sentence(upstream.reason), sentence(upstream.hint)];
	if (open > 0 || !failing) return [];
	const most = failing.count === failing.of_kind ? "" : `Most often, ${number(failing.of_kind)} of ${number(failing.count)} times: `;
	return [most + sentence((failing.dest ? failing.dest + ": " : "") + failing.reason), sentence(failing.hint || "")];
}

// detail is what there is to say on the answer, in sentences.
export function detail(report) {
	const live = report.live, said = [], fallback = setting(report, "v1-fallback");
	const open = live.v2 + live.v1 + live.passthrough;
	const wrong = trouble(report, open);
	said.push(...wrong.filter(Boolean));
	if (report.stopping) said.push("The proxy is stopping and takes no more clients.");
	else if (open === 0 && !ever(report) && !wrong.length) said.push(`Set your Bitcoin client's SOCKS5 proxy to ${report.listeners.join(" or ") || "this proxy"}, and its connections show here. If it is set, restart the client.`);
	if (open === 0 && ever(report)) said.push(`Since the start: ${number(report.opened.v2)} on v2, ${number(report.opened.v1)} on v1, ${number(report.opened.passthrough)} passed through.`);
	if (live.pending > 0) said.push(count(live.pending, "is", "are") + " being made.");
	if (live.v1 > live.v1_overlay) {
		said.push("Anyone on the path can read the plaintext connections." + (fallback ? ` Set --v1-fallback to never to refuse them; it is ${fallback}.` : ""));
	} else if (fallback === "never") {
		said.push("Traffic from v1 clients is encrypted or not sent at all: --v1-fallback is never.");
	} else if (fallback === "always") {
		said.push("A peer without v2 is spoken to in plaintext, for --v1-fallback is always" + (report.opened.v1 ? `; ${number(report.opened.v1)} were since the start.` : "."));
	}
	if (live.passthrough > 0) said.push("What is passed through is not looked into: it may be v2 of the client's own, or not Bitcoin. With -v2transport=0 Bitcoin Core leaves v2 to this proxy, and it shows here.");
	if (live.v2 > 0) said.push("Encryption does not say who the peer is; if a peer is yours, compare the session id there.");
	if (open > 0) said.push("Not seen here: connections that others open to your node, and peers on this machine or your network, for which Bitcoin Core uses no proxy.");
	return said.join(" ");
}

// why leads to the reasons, if connections failed of late.
export function why(report) {
	const recent = report.refusals.filter(r => since(report, r.time) < 600).length;
	if (recent === 0) return "";
	return (recent >= 50 ? "At least " : "") + count(recent, "destination", "destinations") + " failed in the last ten minutes: see why.";
}
