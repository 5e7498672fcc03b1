// The tab's icon, which shows the answer by its shape and its color. It is made here, not requested,
// because it must also show that the proxy is unreachable.

import { $ } from "./dom.js";

const lock = shackle => `<path d="${shackle}" fill="none" stroke="#fff" stroke-width="2.8"/><rect x="8" y="14" width="16" height="11" rx="2.5" fill="#fff"/>`;
const strokes = d => `<path d="${d}" fill="none" stroke="#fff" stroke-width="4" stroke-linecap="round"/>`;

const icons = {
	encrypted: ["#14663a", '<rect width="32" height="32" rx="7"/>', lock("M11 14v-3a5 5 0 0 1 10 0v3")],
	plaintext: ["#a4181f", '<path d="M16 0l16 29q0 3-3 3H3q-3 0-3-3z"/>', strokes("M16 12v8M16 26v.1")],
	failing: ["#8a4b00", '<circle cx="16" cy="16" r="16"/>', strokes("M10 10l12 12M22 10L10 22")],
	unknown: ["#44515f", '<rect width="32" height="32" rx="7"/>', strokes("M10 16h12")],
};

let shown;

export function icon(kind) {
	if (kind === shown) return;
	const [color, shape, sign] = icons[shown = kind];
	$("icon").href = "data:image/svg+xml," + encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><g fill="${color}">${shape}</g>${sign}</svg>`);
}
