// What the pages do beyond HTML. Everything works without it: the server says
// the same after the form is sent.
"use strict";
(() => {
	const all = (selector, root = document) => [...root.querySelectorAll(selector)];
	const one = (selector) => document.querySelector(selector);

	// What went wrong, or right, is read first.
	const first = one("[data-focus]");
	if (first) first.focus();

	// A link of the error summary leads into the field.
	for (const link of all("#summary a")) {
		link.addEventListener("click", (event) => {
			event.preventDefault();
			document.getElementById(link.hash.slice(1)).focus();
		});
	}

	// Times in the reader's own zone.
	for (const time of all("time")) {
		time.textContent = new Date(time.dateTime).toLocaleDateString(document.documentElement.lang, { day: "numeric", month: "short", year: "numeric" });
	}

	for (const button of all(".reveal")) {
		const input = button.parentElement.querySelector("input");
		const show = (on) => {
			input.type = on ? "text" : "password";
			button.textContent = on ? button.dataset.hide : button.dataset.show;
			button.setAttribute("aria-pressed", on);
		};
		button.hidden = false;
		button.addEventListener("click", () => show(input.type === "password"));
		// Nothing that is shown is kept as text by the browser.
		if (input.form) input.form.addEventListener("submit", () => show(false));
	}

	const caps = one("#caps");
	if (caps) {
		for (const input of all("input[type=password]")) {
			input.addEventListener("keyup", (event) => {
				const on = event.getModifierState && event.getModifierState("CapsLock");
				const text = on ? caps.dataset.text : "";
				if (caps.textContent !== text) caps.textContent = text;
			});
		}
	}

	// A form is sent once.
	for (const form of all("form[data-busy]")) {
		form.addEventListener("submit", (event) => {
			const button = form.querySelector("button.main");
			if (button.getAttribute("aria-disabled") === "true") {
				event.preventDefault();
				return;
			}
			button.dataset.label = button.textContent;
			button.setAttribute("aria-disabled", "true");
			button.textContent = form.dataset.busy;
		});
		window.addEventListener("pageshow", () => {
			const button = form.querySelector("button.main");
			if (!button.dataset.label) return;
			button.removeAttribute("aria-disabled");
			button.textContent = button.dataset.label;
		});
	}

	// The rules, as the server checks them.
	const fold = (text) => text.toLowerCase();
	const kinds = (text) => {
		const seen = new Set();
		for (const c of text) {
			if (/\p{Lu}/u.test(c)) seen.add("capital");
			else if (/\p{Ll}/u.test(c)) seen.add("small");
			else if (/[0-9]/.test(c)) seen.add("digit");
			else if (/\p{L}/u.test(c)) seen.add("letter");
			else seen.add("other");
		}
		return seen.size;
	};
	const sequential = (text) => {
		for (let i = 2; i < text.length; i++) {
			const [a, b, c] = [text.charCodeAt(i - 2), text.charCodeAt(i - 1), text.charCodeAt(i)];
			if (a < 128 && b < 128 && c < 128 && c - b === b - a && Math.abs(b - a) <= 1) return true;
		}
		return false;
	};
	const holds = (text, part) => part !== "" && fold(text).includes(fold(part));
	const length = (text) => [...text].length;
	const check = {
		min_length: (text, x) => length(text) >= x.limit,
		complexity: (text) => kinds(text) >= 3,
		name_inside: (text, x) => x.side === "jumpcloud" ? !holds(text, x.username)
			: ![...x.name.split(/[,.\-_ #\t]/), x.username].some((part) => length(part) >= 3 && holds(text, part)),
		same: (text, x) => text !== x.current,
		lowercase: (text) => /\p{Ll}/u.test(text),
		uppercase: (text) => /\p{Lu}/u.test(text),
		numeric: (text) => /\p{Nd}/u.test(text),
		symbolic: (text) => /[^\p{L}\p{Nd}]/u.test(text),
		sequential: (text) => !sequential(text),
	};

	const rules = one("#rules");
	if (rules) {
		const [current, fresh, again] = ["current", "new", "confirm"].map((id) => document.getElementById(id));
		const [match, progress] = [one("#match"), one("#progress")];
		const list = all("li.live", rules);
		let telling;
		const look = () => {
			let met = 0;
			for (const item of list) {
				const facts = { limit: Number(item.dataset.limit), side: item.dataset.side, username: rules.dataset.username, name: rules.dataset.name, current: current.value };
				const ok = fresh.value !== "" && check[item.dataset.rule](fresh.value, facts);
				item.classList.toggle("met", ok);
				item.classList.remove("broken");
				const word = item.querySelector("[data-met]");
				word.textContent = ok ? word.dataset.met : word.dataset.unmet;
				if (ok) met++;
			}
			// A screen reader is told when the typing pauses.
			clearTimeout(telling);
			telling = setTimeout(() => {
				progress.textContent = fresh.value === "" ? "" : progress.dataset.text.replace("%1", met).replace("%2", list.length);
			}, 700);
			const same = fresh.value === again.value;
			match.textContent = again.value === "" ? "" : same ? match.dataset.match : match.dataset.differ;
			match.className = "hint " + (same ? "good" : "bad");
		};
		for (const input of [current, fresh, again]) input.addEventListener("input", look);
		if (fresh.value !== "") look();
	}

	// After a change: has JumpCloud got the password?
	const copy = one("[data-watch]");
	if (copy) {
		const until = Date.now() + 30000;
		copy.textContent = copy.dataset.soon;
		const ask = async () => {
			try {
				const answer = await fetch(copy.dataset.watch, { headers: { Accept: "application/json" } });
				if (answer.ok && (await answer.json()).inSync) {
					copy.className = "copy has";
					copy.textContent = copy.dataset.has;
					return;
				}
				if (answer.status === 401) return;
			} catch { /* asked again */ }
			if (Date.now() > until) copy.textContent = copy.dataset.slow;
			else setTimeout(ask, 1000);
		};
		ask();
	}
})();
