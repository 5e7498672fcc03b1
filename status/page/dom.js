// What the parts of the page share. All text is set as text, never as HTML: user agents and names
// are chosen by others.

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

// withOptions sets words as the text of node, with options that do not break over two lines.
export function withOptions(node, words) {
	if (node.textContent === words) return;
	node.replaceChildren(...words.split(/((?<![\w-])-[\w-]+=?)/).filter(Boolean)
		.map(part => part.startsWith("-") ? make("span", "option", part) : part));
}

const long = 24, tail = 12; // characters; ".onion:8333" and one before it

// short shows as much of s as there is room for. Hovering shows all of it, so does focus within the
// row, and it is copied whole. An address is cut in the middle, for its end has the port.
export function short(node, s, isAddress) {
	if (node.textContent === s) return;
	const cut = isAddress && s.length > long ? s.length - tail : s.length;
	node.classList.add("short");
	node.classList.toggle("middle", cut < s.length);
	node.replaceChildren(make("span", "head", s.slice(0, cut)), s.slice(cut));
	if (s.length > long) node.title = s;
	else node.removeAttribute("title");
}
