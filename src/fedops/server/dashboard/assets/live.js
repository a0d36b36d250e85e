// Keeps a page up to date: one WebSocket, panels that are replaced where they differ, times that go on.
"use strict";
const fedops = (window.fedops = { panels: {} });

// --- drawing: what differs is changed, the rest (focus, scroll, open parts) stays ----------------

// Another script draws what has data-keep: only its attributes are changed.
function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}
function keyOf(node) {
  return node.nodeType === 1 ? node.getAttribute("data-key") || node.id : "";
}
function becomes(old, fresh) {
  if (old.nodeType !== 1) {
    if (old.nodeValue !== fresh.nodeValue) {
      old.nodeValue = fresh.nodeValue;
      flash(old.parentElement);
    }
    return;
  }
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.hasAttribute("data-keep") || old === document.activeElement && "value" in old) return;
  childrenBecome(old, fresh);
}
function childrenBecome(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const known = keyOf(wanted) ? keyed.get(keyOf(wanted)) : null;
    if (known && known !== at) old.insertBefore(known, at);
    const here = known || at;
    if (here && same(here, wanted)) {
      becomes(here, wanted);
      at = here.nextSibling;
    } else {
      old.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
const calm = matchMedia("(prefers-reduced-motion: reduce)");
function flash(element) {
  const cell = element && element.closest("[data-flash]");
  if (!cell || calm.matches || document.hidden) return;
  cell.classList.remove("changed");
  requestAnimationFrame(() => cell.classList.add("changed"));
}
function replacePanel(name, { html, digest }) {
  const panel = document.querySelector(`[data-panel="${CSS.escape(name)}"]`);
  if (!panel) return;
  const fresh = document.createElement("div");
  fresh.innerHTML = html;
  childrenBecome(panel, fresh);
  panel.dataset.digest = digest;
  panel.dispatchEvent(new CustomEvent("panel", { bubbles: true }));
}

// --- the connection -------------------------------------------------------------------------------

const STALE_AFTER = 3000, DEAD_AFTER = 10000, LOOK = 500, RETRY_MOST = 5000;
let seq = Number(document.body.dataset.seq || 0);
let heard = Date.now(), offset = Number(document.body.dataset.now) * 1000 - Date.now();
let socket = null, begun = 0, tries = 0, over = false;
const unpacks = "DecompressionStream" in window;
fedops.seen = []; // the ids of the events that this page was told of

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const at = encodeURIComponent(location.pathname + location.search);
  const own = (socket = new WebSocket(`${scheme}://${location.host}/live?at=${at}`));
  begun = Date.now();
  own.onopen = () =>
    own.send(JSON.stringify({ seq, panels: digests(), build: document.body.dataset.build, unpacks }));
  let before = Promise.resolve(); // unpacking takes a moment: messages stay in their order
  own.onmessage = ({ data }) => {
    const text = unpacked(data);
    before = before.then(() => text).then((said) => own === socket && hear(JSON.parse(said))).catch(console.error);
  };
  own.onclose = (event) => own === socket && retry(event.code);
}
function unpacked(data) {
  if (typeof data === "string") return data;
  return new Response(data.stream().pipeThrough(new DecompressionStream("deflate"))).text();
}
function retry(code) {
  if (over) return;
  socket = null;
  tries += 1;
  if (code === 1008 || (tries > 1 && tries % 3 === 0)) askWhether();
  const most = Math.min(RETRY_MOST, 250 * 2 ** tries);
  setTimeout(connect, most / 2 + (Math.random() * most) / 2);
}
// A server that is frozen, or a network that is gone, closes nothing.
function lookWhether() {
  const since = Date.now() - Math.max(heard, begun);
  if (!socket || over || since < DEAD_AFTER) return;
  socket.close();
  retry();
}
function digests() {
  const found = {};
  for (const panel of document.querySelectorAll("[data-panel]")) found[panel.dataset.panel] = panel.dataset.digest;
  return found;
}
function hear(said) {
  tries = 0;
  heard = Date.now();
  if (said.reload) {
    loadAnew();
    return;
  }
  if (said.now) offset = said.now * 1000 - Date.now();
  if (said.seq > seq) seq = said.seq;
  if (said.events) fedops.seen.push(...said.events);
  for (const [name, panel] of Object.entries(said.panels || {})) replacePanel(name, panel);
  tellState();
  if (said.panels) tellTimes();
}
// A closed connection does not say why. A session that has ended leads to the form, and from there back here;
// what is gone, or may be seen no more, to the page that says so.
async function askWhether() {
  try {
    const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.status === 403 || answer.status === 404) {
      loadAnew();
    }
  } catch { /* the server is away: it is tried again */ }
}
// What is typed in a dialog, or was shown once and never again, is not taken away: then the page waits.
function loadAnew() {
  over = true;
  const box = document.querySelector("dialog[open]");
  if (box) box.addEventListener("close", loadAnew, { once: true });
  else if (!("shown" in document.body.dataset)) location.reload();
}
function tellState() {
  const quiet = Date.now() - heard;
  const stale = quiet > STALE_AFTER;
  document.body.classList.toggle("stale", stale);
  const word = document.querySelector("[data-live-word]"), banner = document.querySelector("[data-stale]");
  if (word) setText(word, stale ? "not live" : "live");
  if (!banner) return;
  banner.hidden = !stale;
  if (!stale) return;
  const long = words(quiet / 1000);
  setText(banner, over ? `This page is not live any more, since ${long}: load it again when you are done with it.`
    : `No connection to the server, last heard ${long} ago. Trying again.`);
}
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// --- times ------------------------------------------------------------------------------------------

function words(seconds) {
  seconds = Math.max(seconds, 0);
  for (const [unit, size, limit] of [["s", 1, 120], ["min", 60, 7200], ["h", 3600, 172800]])
    if (seconds < limit) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.floor(seconds / 86400)} d`;
}
function tellTimes() {
  const now = (Date.now() + offset) / 1000;
  for (const time of document.querySelectorAll("time[data-at]")) {
    const at = Number(time.dataset.at);
    setText(time, at > now + 1 ? `in ${words(at - now)}` : `${words(now - at)} ago`);
  }
}

if ("live" in document.body.dataset) {
  connect();
  setInterval(() => { tellState(); lookWhether(); }, LOOK);
}
setInterval(tellTimes, 1000);
