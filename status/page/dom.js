// Helpers that all parts of the page use. Text is never set as HTML: peers choose user agents and
// names.

export const $ = id => document.getElementById(id);

export function text(node, s) { if (node.textContent !== s) node.textContent = s; }

export function make(tag, className, ...children) {
	const node = document.createElement(tag);
	if (className) node.className = className;
	node.append(...children);
	return node;
}

export function line(className) { return make("div", className); }

export function say(s) { text($("said"), s); }

// withOptions sets words as the text of node. Options in it, such as --status, do not wrap.
export function withOptions(node, words) {
	if (node.textContent === words) return;
	node.replaceChildren(...words.split(/((?<![\w-])-[\w-]+=?)/).filter(Boolean)
		.map(part => part.startsWith("-") ? make("span", "option", part) : part));
}

const long = 24, tail = 12; // characters; ".onion:8333" and one before it

// short shows as much of s as fits. Hovering and focus within the row show all of it, and copying
// copies all of it. An address is cut in the middle, because it ends with the port.
export function short(node, s, isAddress) {
	if (node.textContent === s) return;
	const cut = isAddress && s.length > long ? s.length - tail : s.length;
	node.classList.add("short");
	node.classList.toggle("middle", cut < s.length);
	node.replaceChildren(make("span", "head", s.slice(0, cut)), s.slice(cut));
	if (s.length > long) node.title = s;
	else node.removeAttribute("title");
}
