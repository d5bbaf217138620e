(() => {
  const faults = [];
  const say = (what, element) => faults.push(what + ": " + (element ? element.outerHTML.slice(0, 160) : ""));
  const shown = e => e.getClientRects().length > 0;
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    const wide = [...document.querySelectorAll("body *")].find(e => e.getBoundingClientRect().right > root.clientWidth + 1 && !e.closest(".table"));
    say("wider than the window (" + root.scrollWidth + ")", wide);
  }
  if (!root.lang) say("no language");
  if (!document.title) say("no title");
  if (document.querySelectorAll("main").length !== 1) say("not one main");
  if (document.querySelectorAll("h1").length !== 1) say("not one h1");
  let level = 1;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) say("a heading level is left out", heading);
    level = next;
  }
  const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
  for (const id of ids.filter((id, at) => ids.indexOf(id) !== at)) say("this id is there twice", document.getElementById(id));
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!field.labels || field.labels.length === 0) say("no label", field);
  }
  for (const e of document.querySelectorAll("a, button, summary")) {
    if (shown(e) && !(e.getAttribute("aria-label") || e.textContent).trim()) say("no name", e);
  }
  for (const e of document.querySelectorAll("[aria-describedby], [aria-labelledby]")) {
    const named = (e.getAttribute("aria-describedby") || "") + " " + (e.getAttribute("aria-labelledby") || "");
    for (const id of named.split(/\s+/).filter(Boolean)) if (!document.getElementById(id)) say("describes itself by nothing", e);
  }
  for (const svg of document.querySelectorAll("svg")) {
    if (svg.getAttribute("aria-hidden") !== "true" && svg.getAttribute("role") !== "img") say("a picture without a role", svg);
  }
  // Contrast of text (WCAG 2.2, 1.4.3), as far as colours are plain.
  const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const back = e => {
    for (let at = e; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !shown(e) || e.closest("svg, .unseen, .skip")) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(rgb(style.color)), light(back(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) say("contrast " + ratio.toFixed(2), e);
  }
  return faults;
})()
