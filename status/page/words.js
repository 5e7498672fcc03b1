// The page's words: the answer to its question, kinds, numbers and times.

export const refusals = {
	dial: "connection failed",
	upstream: "upstream proxy unavailable",
	no_v2_answer: "no answer to the v2 handshake",
	handshake: "v2 handshake failed",
	second_dial: "second connection failed",
	bind: "source address or interface missing",
	resolve: "name not resolved",
	denied: "denied by a rule",
	no_egress: ".onion or .i2p without an upstream",
	own_address: "destination is this proxy",
	not_redirected: "client was not redirected",
	redirect_loop: "the proxy was redirected to itself",
	passthrough_denied: "client does not speak v1; --passthrough is deny",
	peer: "peer hung up or spoke first",
	client: "client sent nothing, or nothing valid",
	client_not_allowed: "client address not in --clients",
	client_left: "client left early",
	too_many_sessions: "too many sessions",
	client_rate: "client connects too often",
	stopping: "proxy was shutting down",
	other: "other",
};

export const inboundRefusals = {
	node: "the node did not accept the connection",
	inbound_full: "all inbound sessions were in use",
	inbound_limit: "too many or too frequent connections",
	v1_refused: "peers without v2, refused",
	other_network: "peers of another network",
	scanner: "no v2 handshake and VERSION: mostly port scanners",
	stopping: "proxy was shutting down",
	other: "other",
};

// advice returns what to do about a session that ended. A dead peer needs no action unless all are
// dead.
export function advice(e, report) {
	if (e.hint) return e.hint;
	const wrong = report.failing || report.upstream?.state === "failed";
	return e.kind === "dial" && !wrong ? "No action needed: clients try many addresses, and most are out of date." : "";
}

// inbound marks what a peer has begun.
export const inbound = "← inbound";

// both returns a list of both directions, the newest first.
export function both(report, name) {
	if (!report.inbound) return report[name];
	return [...report[name], ...report.inbound[name]].sort((a, b) => Date.parse(b.time) - Date.parse(a.time));
}

// opened returns how many sessions of both directions were opened on a transport.
export function opened(report, transport) { return report.opened[transport] + (report.inbound?.opened[transport] || 0); }

export const fallbacks = {
	hung_up: "the peer hung up on the v2 handshake",
	silent: "the peer was silent",
	spoke_v1: "the peer sent a v1 VERSION first",
	known_v1: "the peer is known to speak v1",
	refused_v2: "the peer recently refused v2",
};

// shapes says what each shape of traffic does.
export const shapes = {
	core: "VERSION leaves when Bitcoin Core's would; no size or time is hidden",
	pad: "the sizes of what is sent to the peer are filled up; its times, and what the peer sends, are not hidden",
	cover: "what is sent to the peer has one size, at random times; what the peer sends is not hidden",
	tunnel: "what both ends send has one size, at random times; large amounts remain visible",
};

// shaped reports whether the traffic of sessions is shaped, was since the start, or is to be.
export function shaped(report) {
	const set = [setting(report, "shape") ?? []].flat().some(shape => shape && !/(^|=)off$/.test(shape));
	return set || filler(report).to_peer > 0 || Object.values(report.shaped.live).some(n => n > 0);
}

// filler returns the bytes of decoys since the start, in sessions of both directions.
export function filler(report) {
	const all = report.filler, inbound = report.inbound?.filler;
	return { to_peer: all.to_peer + (inbound?.to_peer || 0), from_peer: all.from_peer + (inbound?.from_peer || 0) };
}

export const states = {
	asking: "waiting for the destination",
	dialing: "connecting",
	granted: "waiting for the client",
	handshake: "v2 handshake",
};

const patience = 5; // seconds

// waiting returns for how long a session that is not open has waited, if that is long.
export function waiting(s, report) {
	const seconds = since(report, s.began);
	if (s.transport || seconds < patience) return "";
	return (["asking", "granted"].includes(s.state) ? "client silent" : "no answer") + " after " + duration(seconds);
}

// withoutId returns why a session has no session id.
export function withoutId(s, report) {
	if (!s.transport) return waiting(s, report) || "none yet";
	return "none" + (s.fallback ? ": " + (fallbacks[s.fallback] || s.fallback) : "");
}

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

const day = 86400, // seconds
	hours = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" }),
	days = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

// clock returns a time of day, with the day if it is not one of the last 24 hours before now.
export function clock(time, now = time) { return ((now - time) / 1000 < day ? hours : days).format(time); }

export function since(report, time) { return (Date.parse(report.time) - Date.parse(time)) / 1000; }

export function setting(report, name) { return report.settings.find(s => s.name === name)?.value; }

// kind returns what a session speaks, by its name in the style sheet.
export function kind(session) { return session.overlay ? "overlay" : session.transport || "pending"; }

// answer puts report.encrypted, the server's verdict, into words. Its state is a name in the style
// sheet: good, partly, bad, failing or none; its icon is one of icon.js.
export function answer(report) {
	const live = report.live, plain = live.v1 - live.v1_overlay, open = live.v2 + live.v1 + live.passthrough;
	const parts = [
		[live.v2, "encrypted by BIP324"],
		[plain, "in plaintext (v1)"],
		[live.v1_overlay, "v1 within Tor or CJDNS (encrypted)"],
		[live.passthrough, "passed through unchanged"],
	].filter(([n]) => n > 0).map(([n, what]) => number(n) + " " + what).join(", ");
	const which = open === 1 ? "The one connection" : open === 2 ? "Both connections" : "All " + number(open) + " connections";
	const is = open === 1 ? "is" : "are", icon = plain > 0 ? "plaintext" : "unknown";
	const title = [[plain, "plaintext"], [live.passthrough, "passed through"], [live.v2 + live.v1_overlay, "encrypted"]]
		.filter(([n]) => n > 0).map(([n, what]) => number(n) + " " + what).join(", ");
	switch (report.encrypted) {
	case "none": return none(report);
	case "yes": return { state: "good", icon: "encrypted", mark: "✓", headline: live.v2 === open ? `Yes. ${which} through this proxy ${is} encrypted.` : `Yes. ${parts}.`, title };
	case "no": return { state: "bad", icon, mark: "!", headline: plain === open ? `No. ${which} ${is} in plaintext (v1).` : `No. ${parts}.`, title };
	case "partly": return { state: "partly", icon, mark: "!", headline: `Partly. ${parts}.`, title };
	default: return { state: "none", icon, mark: "?", headline: `Unknown. ${which} ${is} passed through unchanged.`, title };
	}
}

// none returns the answer if no connection is open, with the reason if it is known.
function none(report) {
	const failing = report.failing, wrong = { state: "failing", icon: "failing", mark: "×" };
	if (report.upstream?.state === "failed") return { ...wrong, headline: "No connections: the upstream proxy is unavailable.", title: "upstream proxy down" };
	if (!failing) return { state: "none", icon: "unknown", mark: "–", headline: "No connections right now.", title: "no connections" };
	const which = failing.count === 1 ? "the last attempt" : ever(report) ? `the last ${number(failing.count)} attempts` : `all ${number(failing.count)} attempts`;
	return { ...wrong, headline: `No connections: ${which} failed.`, title: "attempts fail" };
}

function ever(report) { return opened(report, "v2") + opened(report, "v1") + opened(report, "passthrough"); }

// capital returns s with a capital. Names, addresses and options keep their case.
export function capital(s) { return s.replace(/^[a-z]+(?=[ ,]|$)/, word => word[0].toUpperCase() + word.slice(1)); }

export function sentence(s) { return s && capital(s) + (/[.!?]$/.test(s) ? "" : "."); }

// trouble returns why no connection is open, and what to do: the state of the upstream proxy, or the
// most frequent failure since a session last opened.
function trouble(report, open) {
	const { upstream, failing } = report;
	if (upstream?.state === "failed") return [upstream.reason, upstream.hint].map(sentence);
	if (open > 0 || !failing) return [];
	const most = failing.count === failing.of_kind ? "" : `Most often (${number(failing.of_kind)} of ${number(failing.count)}): `;
	return [most + sentence((failing.dest ? failing.dest + ": " : "") + failing.reason), sentence(failing.hint)];
}

// detail returns the lines below the answer, one idea each: first what is wrong, followed by what to
// do about it, marked todo; then the others.
export function detail(report) {
	const live = report.live, lines = [], fallback = setting(report, "v1-fallback"), acceptsV1 = report.inbound?.v1 === "always";
	const open = live.v2 + live.v1 + live.passthrough, plain = live.v1 > live.v1_overlay, [wrong, hint] = trouble(report, open);
	const say = (...said) => lines.push(...said.filter(Boolean).map(said => ({ said })));
	const todo = said => said && lines.push({ said, todo: true });
	if (report.misdirected) {
		say(`A client (${report.misdirected.client}) uses this status page's address as its proxy.`);
		todo(`Set its SOCKS5 proxy to ${report.socks_listeners.join(" or ") || "an address of --listen"}.`);
	}
	say(wrong);
	todo(hint);
	for (const route of report.routes ?? []) {
		if (route.state !== "failed") continue;
		say(`Connections to ${route.to} fail: ${sentence(route.reason)}`);
		todo(sentence(route.hint));
	}
	if (plain) {
		say("Anyone on the path can read the plaintext connections.");
		if (!acceptsV1 || fallback !== "never") todo(fallback && `Set --v1-fallback to never to refuse them; it is ${fallback}.`);
		if (acceptsV1) todo("Set --inbound-v1 to never to refuse inbound peers without v2; it is always.");
	}
	if (report.inbound?.failing?.kind === "node") {
		say("No peer can connect: " + sentence(report.inbound.failing.reason));
		todo(sentence(report.inbound.failing.hint));
	}
	if (live.passthrough > 0) {
		say("What passes through is the client's own v2 or another protocol; the proxy does not look into it.");
		todo("Compare session ids in getpeerinfo of both ends: the client's own v2 has one. With -v2transport=0, Bitcoin Core leaves v2 to this proxy.");
	}
	if (report.stopping) say("The proxy is shutting down and accepts no new clients.");
	else if (open === 0 && !ever(report) && !wrong) {
		if (live.pending > 0 || Object.values(report.refused).some(n => n > 0)) say("Clients connect, but no peer has answered yet.");
		else {
			const redirected = report.transparent_listeners?.length;
			if (redirected && redirected === report.listeners.length) say("No connection has been redirected to the proxy yet.");
			else {
				todo(report.socks_listeners.length || !report.listeners.length
					? `Set your Bitcoin client's SOCKS5 proxy to ${report.socks_listeners.join(" or ") || "this proxy"}; its connections then appear here.`
					: `Connect your Bitcoin client to ${report.listeners.join(" or ")} in place of the peer; its connections then appear here.`);
				todo("If it is set already, restart the client.");
			}
		}
	}
	if (open === 0 && ever(report)) say(`Since the start: ${number(opened(report, "v2"))} on v2, ${number(opened(report, "v1"))} on v1, ${number(opened(report, "passthrough"))} passed through.`);
	if (live.pending > 0) say(number(live.pending) + " connecting.");
	if (fallback === "never" && !plain) say("Traffic from v1 clients is encrypted or not sent at all: --v1-fallback is never.");
	if (fallback === "always" && !plain) say("Connections to peers without v2 are in plaintext, because --v1-fallback is always" + (report.opened.v1 ? `: ${number(report.opened.v1)} since the start.` : "."));
	if (acceptsV1 && !plain) say("Inbound peers without v2 are accepted in plaintext, because --inbound-v1 is always.");
	if (live.v2 > 0) say("Encryption does not authenticate the peer: compare session ids at both ends to rule out a man in the middle.");
	if (open > 0) say((report.inbound ? "Not shown: connections past this proxy, such as those to" : "Not shown: inbound connections to your node, and") + " peers on this machine or the local network, which Bitcoin Core connects to without a proxy.");
	return lines;
}

// noAnswer returns the answer while the proxy gives no status: last is its last report, why its error.
export function noAnswer(last, why) {
	const lines = last ? [{ said: `At ${clock(new Date(last.time))}: ${answer(last).headline}` }] : [];
	if (!why) lines.push({ said: "Check that bip324-proxy is running, and read its log.", todo: true });
	return { mark: "?", headline: why ? "Unknown. The proxy does not give its status." : "Unknown. The proxy is unreachable.", lines };
}

// why returns the text of the link to the reasons, or "" if no connection failed recently.
export function why(report) {
	const recent = both(report, "refusals").filter(r => since(report, r.time) < 600);
	if (recent.length === 0) return "";
	return (recent.length >= listed ? "At least " : "") + destinations(recent) + " failed in the last ten minutes: see why";
}

const listed = 50; // rows that the proxy keeps of failed and of ended sessions

function destinations(rows) { return count(new Set(rows.map(r => r.dest)).size, "destination", "destinations"); }

function failures(report) { return both(report, "refusals").reduce((n, e) => n + e.count, 0); }

function unlisted(report) { return Math.max(failed(report) - failures(report), 0); }

// failed returns how many sessions failed since the start, without those of strangers, which
// never open.
export function failed(report) {
	const { node = 0, other = 0 } = report.inbound?.refused || {};
	return Object.values(report.refused).reduce((a, b) => a + b, node + other);
}

// failedCount returns what the list of failed sessions has, and what it lacks.
export function failedCount(report) {
	const rows = both(report, "refusals"), more = unlisted(report);
	if (rows.length === 0) return "";
	return (rows.length >= listed ? "the last " : "") + destinations(rows) + ", " + count(failures(report), "failure", "failures")
		+ (more ? `; ${number(more)} more are not listed: older ones and routine failures` : "");
}

// noneFailed returns what the list of failed sessions says if it has no rows. The proxy then keeps no older ones.
export function noneFailed(report) {
	const more = unlisted(report);
	if (both(report, "refusals").length > 0 || more === 0) return "None.";
	return `None but ${count(more, "routine failure", "routine failures")}, such as a client that only checks whether the port is open.`;
}

// closedCount returns what the list of ended sessions has.
export function closedCount(report) {
	const rows = both(report, "closed");
	return rows.length >= listed ? `the last ${listed} peers` : number(rows.reduce((n, e) => n + e.count, 0));
}
