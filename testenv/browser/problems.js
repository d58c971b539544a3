(() => {
	const found = [];
	const say = (element, text) => found.push(`${element.tagName.toLowerCase()}${element.id ? "#" + element.id : ""}${element.className && typeof element.className === "string" ? "." + element.className.trim().replace(/\s+/g, ".") : ""} "${(element.textContent || "").trim().slice(0, 40)}": ${text}`);
	const seen = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest("[aria-hidden=true]");
	const away = (element) => element.closest(".away") !== null;

	// A canvas turns any colour into numbers.
	const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgba = (colour) => {
		brush.clearRect(0, 0, 1, 1);
		brush.fillStyle = colour;
		brush.fillRect(0, 0, 1, 1);
		const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
		return [r, g, b, a / 255];
	};
	const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
	const luminance = ([r, g, b]) => {
		const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * x + 0.7152 * y + 0.0722 * z;
	};
	const contrast = (a, b) => {
		const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
		return (x + 0.05) / (y + 0.05);
	};
	// The colours that lie behind an element; a gradient's each count.
	const behind = (element) => {
		let layers = [];
		for (let e = element; e; e = e.parentElement) {
			const style = getComputedStyle(e);
			const stops = style.backgroundImage.match(/rgba?\([^)]*\)/g) || [];
			layers.push([style.backgroundColor, ...stops].map(rgba));
			if (rgba(style.backgroundColor)[3] === 1) break;
		}
		let under = [[255, 255, 255, 1]];
		for (const colours of layers.reverse()) {
			const base = under.map((u) => over(colours[0], u));
			under = base.concat(...colours.slice(1).map((c) => base.map((u) => over(c, u))));
		}
		return under;
	};
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	const texts = new Set();
	while (walker.nextNode()) {
		const element = walker.currentNode.parentElement;
		if (walker.currentNode.data.trim() && !["SCRIPT", "STYLE"].includes(element.tagName) && element.checkVisibility() && !away(element) && !element.closest(".skip")) texts.add(element);
	}
	for (const input of document.querySelectorAll("input:not([type=hidden])")) if (seen(input)) texts.add(input);
	for (const element of texts) {
		const style = getComputedStyle(element);
		const size = parseFloat(style.fontSize);
		const need = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700 ? 3 : 4.5;
		const least = Math.min(...behind(element).map((back) => contrast(over(rgba(style.color), back), back)));
		if (least < need) say(element, `contrast ${least.toFixed(2)}, want ${need}`);
	}

	const nameOf = (element) => {
		const by = element.getAttribute("aria-labelledby");
		if (by) return by.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
		return (element.getAttribute("aria-label") || [...(element.labels ?? [])].map((l) => l.textContent).join(" ") || (element.tagName === "INPUT" ? "" : element.innerText) || "").trim();
	};
	for (const element of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, nav, section[aria-labelledby]")) {
		if (seen(element) && !nameOf(element)) say(element, "has no name");
	}
	for (const input of document.querySelectorAll("input:not([type=hidden])")) {
		if (!seen(input)) continue;
		if (!input.labels.length || ![...input.labels].some((l) => seen(l))) say(input, "has no visible label");
		if (!input.autocomplete) say(input, "has no autocomplete");
	}
	for (const attribute of ["aria-describedby", "aria-labelledby", "aria-controls", "for"]) {
		for (const element of document.querySelectorAll(`[${attribute}]`)) {
			for (const id of element.getAttribute(attribute).split(/\s+/)) if (!document.getElementById(id)) say(element, `${attribute} names ${id}, which is not there`);
		}
	}
	const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
	for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`the id ${id} is there twice`);
	if (!document.documentElement.lang) found.push("the page has no language");
	if (!document.title.trim()) found.push("the page has no title");
	if (document.querySelectorAll("main").length !== 1) found.push("the page needs one main part");
	if (document.querySelectorAll("h1").length !== 1) found.push("the page needs one main heading");
	let level = 0;
	for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
		const own = Number(heading.tagName[1]);
		if (own > level + 1) say(heading, `a heading of level ${own} follows one of level ${level}`);
		level = own;
	}
	for (const element of document.querySelectorAll("[tabindex]")) if (Number(element.getAttribute("tabindex")) > 0) say(element, "is taken out of the tab order");
	for (const element of document.querySelectorAll("button, a.button, input:not([type=hidden])")) {
		const box = element.getBoundingClientRect();
		if (seen(element) && (box.width < 24 || box.height < 24)) say(element, `is ${box.width.toFixed()} by ${box.height.toFixed()} pixels`);
	}
	return found;
})()
