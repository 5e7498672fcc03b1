// A table: its rows and their order.

import { $, text, make } from "./dom.js";
import { number } from "./words.js";

const narrow = matchMedia("(max-width: 62rem)"); // as in the style sheet: rows are cards
const first = narrow.matches ? 15 : 50, step = narrow.matches ? 50 : 100; // rows; how many more at each click
const few = 5; // rows that are not worth sorting
const collator = new Intl.Collator("en", { numeric: true }), columnOf = order => order.replace("-", "");

// Table updates the rows of a table from a list, by key, and changes only what differs, so that focus
// and selection stay. Each column is a function that returns an item's text or number to sort by;
// search returns an item's text to search in.
export class Table {
	constructor(name, columns, key, search, build, update) {
		Object.assign(this, { body: $(name + "-rows"), empty: $(name + "-empty"), columns, key, search, build, update, rows: new Map(), order: "", most: first });
		this.heads = new Map([...this.body.parentElement.querySelectorAll("th")].map((th, i) => [Object.keys(columns)[i], th]));
		for (const [column, th] of this.heads) th.firstElementChild.onclick = () => this.sort(this.next(column));
		this.menu = this.makeMenu();
		const reach = () => { for (const th of this.heads.values()) th.firstElementChild.tabIndex = narrow.matches ? -1 : 0; };
		narrow.addEventListener("change", reach); // each table has one
		reach();
		this.region = this.body.closest(".region");
		this.region.before(this.menu.closest("p"));
		this.more = this.region.nextElementSibling.firstElementChild;
		this.more.onclick = () => {
			this.most += step;
			this.onchange();
		};
	}

	// makeMenu makes the menu of orders, which stands for the headings where rows are cards.
	makeMenu() {
		const menu = make("select"), label = make("label", "", "Sort by ", menu);
		menu.append(new Option("usual order", ""));
		for (const [column, th] of this.heads) {
			const name = th.textContent.toLowerCase(), rise = new Option(name + ", ascending", column), fall = new Option(name + ", descending", "-" + column);
			menu.append(...(th.dataset.first === "fall" ? [fall, rise] : [rise, fall]));
		}
		menu.onchange = () => this.sort(menu.value);
		make("p", "sort", label);
		return menu;
	}

	// onchange is called when the user has chosen another order, or more rows.
	onchange() {}

	// next returns the order after a click on a column: first descending for numbers and ascending for
	// texts, then the reverse, then the order of the list.
	next(column) {
		const [first, second] = this.heads.get(column).dataset.first === "fall" ? ["-" + column, column] : [column, "-" + column];
		return this.order === first ? second : this.order === second ? "" : first;
	}

	// sort sets the order: the name of a column, with "-" before it if descending, or "" for the list's.
	sort(order) {
		if (order && !this.heads.has(columnOf(order))) return;
		this.order = this.menu.value = order;
		for (const [column, th] of this.heads) {
			if (column !== columnOf(order)) th.removeAttribute("aria-sort");
			else th.setAttribute("aria-sort", order === column ? "ascending" : "descending");
		}
		this.onchange();
	}

	sorted(list) {
		const value = this.columns[columnOf(this.order)], sign = this.order.startsWith("-") ? -1 : 1;
		if (!value) return list;
		const compare = (a, b) => typeof a === "number" ? a - b : collator.compare(a, b);
		return list.map(item => [value(item), item])
			.sort(([a], [b]) => (a === "") - (b === "") || sign * compare(a, b)) // unknown ones last
			.map(([, item]) => item);
	}

	// show shows the first items that have all words of the search, and returns the number of matches.
	// total is that number if the list has only some of them.
	show(list, report, wanted, total = 0) {
		const found = wanted.length ? list.filter(item => has(this.search(item), wanted)) : list;
		const items = new Map(this.sorted(found).slice(0, this.most).map(item => [this.key(item), item])), held = this.held();
		for (const [key, row] of this.rows) {
			if (!items.has(key)) this.remove(key, row.tr);
		}
		let at = this.body.firstElementChild;
		for (const [key, item] of items) {
			let row = this.rows.get(key);
			if (!row) this.rows.set(key, row = this.build(item));
			this.update(row, item, report);
			if (row.tr === held) at = this.moveBehind(held, at);
			if (row.tr === at) at = at.nextElementSibling;
			else this.body.insertBefore(row.tr, at);
		}
		this.empty.hidden = items.size > 0;
		this.region.hidden = items.size === 0;
		this.menu.closest("p").hidden = Math.max(found.length, total) <= few && document.activeElement !== this.menu;
		this.offer(Math.max(found.length, total) - items.size);
		return found.length;
	}

	// offer shows the button for more rows if any are left.
	offer(left) {
		if (left <= 0 && document.activeElement === this.more) this.heading().focus({ preventScroll: true });
		this.more.hidden = left <= 0;
		text(this.more, `Show ${number(Math.min(step, left))} more`);
	}

	heading() { return this.body.closest("section").querySelector("h2"); }

	// held returns the row with the focus or the selection, which moving it would clear.
	held() {
		const { anchorNode, isCollapsed } = getSelection();
		return [document.activeElement, isCollapsed ? null : anchorNode?.parentElement].map(node => node?.closest("tr")).find(tr => tr?.parentElement === this.body);
	}

	// moveBehind moves the rows from at up to held behind held, and returns held.
	moveBehind(held, at) {
		const after = held.nextElementSibling;
		while (at !== held) {
			const next = at.nextElementSibling;
			this.body.insertBefore(at, after);
			at = next;
		}
		return held;
	}

	remove(key, tr) {
		if (tr.contains(document.activeElement)) this.heading().focus({ preventScroll: true });
		this.rows.delete(key);
		tr.remove();
	}
}

function has(found, words) { return words.every(word => found.includes(word)); }
