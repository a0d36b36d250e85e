// Who did what: devices by rounds on a canvas that draws only what is in sight. One stop of the keyboard.
"use strict";
(function () {
  const wrap = document.querySelector("[data-grid]");
  if (!wrap) return;
  const box = wrap.querySelector(".grid-box"), map = wrap.querySelector(".grid-map");
  const line = document.querySelector("[data-grid-status]");
  const ROW = 18, HEAD = 18, LEAST = 4, MOST = 22, AHEAD = 10;
  const LETTERS = { 2: "R", 3: "D", 4: "L", 5: "F", 6: "N", 7: "X" };
  const space = document.createElement("div"), canvas = document.createElement("canvas");
  space.append(canvas);
  let devices = [], order = [], words = [], columns = new Map(), first = 1, newest = 0;
  let names = 150, wide = LEAST, cursor = null, loaded = false, asking = false, colours = [], inks = {};
  let picture = null, tones = null;
  const stats = ((window.fedops ||= {}).grid = { opened: 0, updated: 0 });

  // --- what there is ----------------------------------------------------------------------------

  function bytes(text) {
    const raw = atob(text), found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
    return found;
  }
  async function load() {
    if (asking) return;
    asking = true;
    try {
      const answer = await fetch(wrap.dataset.grid);
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const told = await answer.json(), began = performance.now();
      take(told);
      stats.opened = performance.now() - began;
    } catch {
      say("The grid could not be read. It is tried again with the next news of the run.");
    } finally {
      asking = false;
    }
  }
  function take(told) {
    devices = told.devices;
    words = told.words;
    columns = new Map(told.rounds.map((number, at) => [number, bytes(told.columns[at])]));
    bounds();
    const bad = new Uint16Array(devices.length), isBad = Uint8Array.from({ length: 256 }, (_, cell) => (LETTERS[cell] ? 1 : 0));
    for (const cells of columns.values())
      for (let place = 0; place < cells.length; place++) bad[place] += isBad[cells[place]];
    order = devices.map((_, place) => place);
    order.sort((a, b) => bad[b] - bad[a] || (devices[a] < devices[b] ? -1 : 1));
    if (!loaded) box.replaceChildren(space);
    const fresh = !loaded;
    loaded = true;
    picture = null;
    hear();
    measure();
    if (fresh) begin();
    draw();
  }
  function bounds() {
    const numbers = [...columns.keys()];
    first = numbers.length ? Math.min(...numbers) : 1;
    newest = numbers.length ? Math.max(...numbers) : 0;
  }
  // News may come twice, and before the grid itself: it only sets what is so.
  function hear() {
    const element = document.getElementById("grid-news");
    if (!loaded || !element) return;
    const news = JSON.parse(element.textContent);
    const numbers = Object.keys(news.columns).map(Number);
    for (const number of numbers) columns.set(number, bytes(news.columns[number]));
    if (news.devices > devices.length || (newest && numbers.length && Math.min(...numbers) > newest + 1)) load();
    const before = newest;
    bounds();
    if (newest !== before) measure();
    if (picture) for (const number of numbers) paintColumn(number - first);
  }

  // --- drawing ----------------------------------------------------------------------------------

  function style() {
    const all = getComputedStyle(document.documentElement), of = (name) => all.getPropertyValue(name).trim();
    colours = ["", "--good", "--purple", "--now", "--soon-bright", "--now", "--soon", "--now", "--line-strong", "--working", "--series-6"]
      .map((name) => (name ? of(name) : ""));
    inks = { text: of("--text"), faint: of("--faint"), card: of("--card"), line: of("--line"), focus: of("--focus"), font: `11px ${of("--sans")}` };
  }
  function count() {
    const most = Number(wrap.dataset.rounds) || newest;
    return Math.max(Math.min(newest + AHEAD, Math.max(most, newest)) - first + 1, 1);
  }
  function measure() {
    const small = box.clientWidth < 420;
    names = small ? 92 : 150;
    const room = Math.floor((box.clientWidth - names - 4) / count());
    wide = Math.max(small ? 10 : LEAST, Math.min(MOST, room));
    space.style.width = `${names + count() * wide}px`;
    space.style.height = `${HEAD + order.length * ROW}px`;
    box.style.height = `${Math.min(HEAD + Math.max(order.length, 1) * ROW + 14, 340)}px`;
    map.hidden = HEAD + order.length * ROW <= box.clientHeight;
    const ratio = devicePixelRatio || 1;
    canvas.style.width = `${box.clientWidth}px`;
    canvas.style.height = `${box.clientHeight}px`;
    canvas.width = Math.round(box.clientWidth * ratio);
    canvas.height = Math.round(box.clientHeight * ratio);
    canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  function draw() {
    if (!loaded) return;
    const pen = canvas.getContext("2d"), width = box.clientWidth, height = box.clientHeight;
    const top = Math.floor(box.scrollTop / ROW), rows = Math.ceil((height - HEAD) / ROW) + 1;
    const left = Math.floor(box.scrollLeft / wide), across = Math.ceil((width - names) / wide) + 1;
    const toY = (row) => HEAD + row * ROW - box.scrollTop, toX = (at) => names + at * wide - box.scrollLeft;
    pen.fillStyle = inks.card;
    pen.fillRect(0, 0, width, height);
    pen.font = inks.font;
    pen.textBaseline = "middle";
    for (let at = left; at < Math.min(left + across, count()); at++) column(pen, at, top, rows, toX, toY);
    pen.fillStyle = inks.card;
    pen.fillRect(0, 0, names, height);
    pen.fillRect(0, 0, width, HEAD);
    pen.fillStyle = inks.text;
    pen.textAlign = "left";
    for (let row = top; row < Math.min(top + rows, order.length); row++)
      if (toY(row) > HEAD - ROW / 2) pen.fillText(fitted(pen, devices[order[row]]), 0, toY(row) + ROW / 2);
    heads(pen, left, across, toX);
    if (cursor) outline(pen, toX, toY);
    drawMap();
  }
  function column(pen, at, top, rows, toX, toY) {
    const cells = columns.get(first + at), x = toX(at), gap = wide > 6 ? 2 : 1;
    for (let row = top; row < Math.min(top + rows, order.length); row++) {
      const cell = cells ? cells[order[row]] || 0 : 0, y = toY(row);
      pen.fillStyle = cell ? colours[cell] : inks.line;
      if (cell) pen.fillRect(x, y + 1, wide - gap, ROW - 2);
      else if (cells) pen.fillRect(x, y + ROW / 2, wide - gap, 1);
      if (LETTERS[cell] && wide >= 12) {
        pen.fillStyle = inks.card;
        pen.textAlign = "center";
        pen.fillText(LETTERS[cell], x + (wide - gap) / 2, y + ROW / 2 + 0.5);
      }
    }
  }
  function heads(pen, left, across, toX) {
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => n * wide >= 30) || 1000;
    pen.fillStyle = inks.faint;
    pen.textAlign = "center";
    for (let at = left; at < Math.min(left + across, count()); at++) {
      const number = first + at, x = toX(at) + wide / 2;
      if (x > names + 4 && (number % step === 0 || (wide >= 14 && step <= 2))) pen.fillText(number, x, HEAD / 2);
    }
  }
  function outline(pen, toX, toY) {
    pen.save();
    pen.beginPath();
    pen.rect(names - 2, HEAD - 2, box.clientWidth, box.clientHeight);
    pen.clip();
    pen.strokeStyle = inks.focus;
    pen.lineWidth = 2;
    pen.strokeRect(toX(cursor.at) - 1, toY(cursor.row), wide, ROW);
    pen.restore();
  }
  function fitted(pen, text) {
    if (pen.measureText(text).width <= names - 10) return text;
    let size = Math.floor((text.length * (names - 14)) / pen.measureText(text).width);
    while (size > 1 && pen.measureText(`${text.slice(0, size)}…`).width > names - 10) size -= 1;
    return `${text.slice(0, size)}…`;
  }
  // Everything at once, a pixel a cell, with what is in sight framed. News paint their columns alone.
  function drawMap() {
    if (map.hidden || !order.length) return;
    const pen = map.getContext("2d"), ratio = devicePixelRatio || 1;
    map.width = Math.round(map.clientWidth * ratio);
    map.height = Math.round(map.clientHeight * ratio);
    if (!picture || picture.width < count()) miniature();
    pen.imageSmoothingEnabled = false;
    pen.drawImage(picture, 0, 0, count(), order.length, 0, 0, map.width, map.height);
    const all = order.length * ROW, share = (box.clientHeight - HEAD) / all;
    pen.strokeStyle = inks.text;
    pen.lineWidth = 2 * ratio;
    pen.strokeRect(1, (box.scrollTop / all) * map.height, map.width - 2, Math.max(share * map.height, 3 * ratio));
  }
  function miniature() {
    picture = document.createElement("canvas");
    picture.width = count() + 5 * AHEAD;
    picture.height = order.length;
    tones = Uint32Array.from(colours, pixel);
    paintColumn(0, count());
  }
  function paintColumn(from, many = 1) {
    if (from < 0 || from + many > picture.width) return;
    const pen = picture.getContext("2d"), image = pen.createImageData(many, order.length);
    const paint = new Uint32Array(image.data.buffer);
    for (let at = 0; at < many; at++) {
      const cells = columns.get(first + from + at);
      if (cells) for (let row = 0; row < order.length; row++) paint[row * many + at] = tones[cells[order[row]] || 0];
    }
    pen.putImageData(image, from, 0);
  }
  function pixel(colour) {
    const hex = colour.length === 4 ? colour.replace(/[0-9a-f]/gi, "$&$&") : colour;
    const n = parseInt(hex.slice(1), 16);
    return Number.isNaN(n) ? 0 : ((255 << 24) | ((n & 255) << 16) | (n & 0xff00) | (n >> 16)) >>> 0;
  }

  // --- moving and opening -----------------------------------------------------------------------

  function begin() {
    const asked = new URLSearchParams(location.search).get("cell") || "", cut = asked.lastIndexOf(",");
    const row = order.findIndex((place) => devices[place] === asked.slice(0, cut)), number = Number(asked.slice(cut + 1));
    box.scrollLeft = Math.max(names + (newest - first + 2) * wide - box.clientWidth, 0);
    if (row >= 0 && columns.has(number)) move(row, number - first);
  }
  function move(row, at) {
    if (!order.length || !columns.size) return;
    cursor = { row: Math.max(0, Math.min(row, order.length - 1)), at: Math.max(0, Math.min(at, newest - first)) };
    const y = cursor.row * ROW, x = cursor.at * wide, high = box.clientHeight - HEAD - ROW, room = box.clientWidth - names - wide;
    box.scrollTop = Math.max(Math.min(box.scrollTop, y), y - high);
    box.scrollLeft = Math.max(Math.min(box.scrollLeft, x), x - room);
    say(told(cursor));
    draw();
  }
  function told({ row, at }) {
    const cells = columns.get(first + at);
    return `${devices[order[row]]}, round ${first + at}: ${cells ? words[cells[order[row]] || 0] : "not begun"}`;
  }
  function say(text) {
    if (line && line.textContent !== text) line.textContent = text;
  }
  function under(event) {
    const edge = box.getBoundingClientRect();
    const row = Math.floor((event.clientY - edge.top - HEAD + box.scrollTop) / ROW);
    const at = Math.floor((event.clientX - edge.left - names + box.scrollLeft) / wide);
    const inside = event.clientY - edge.top > HEAD && event.clientX - edge.left > names;
    return inside && row >= 0 && row < order.length && columns.has(first + at) ? { row, at } : null;
  }
  function open({ row, at }) {
    const where = new URL(location.href);
    where.searchParams.set("cell", `${devices[order[row]]},${first + at}`);
    where.hash = "panel-cell";
    location.href = where.href;
    if (where.href === location.href) document.getElementById("panel-cell")?.scrollIntoView();
  }
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-15, 0], PageDown: [15, 0], Home: [0, -1e6], End: [0, 1e6] };
  box.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!loaded || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && cursor) open(cursor);
    else if (step && cursor) move(cursor.row + step[0], cursor.at + step[1]);
    else if (step) move(0, newest - first);
    else return;
    event.preventDefault();
  });
  box.addEventListener("focus", () => loaded && !cursor && box.matches(":focus-visible") && move(0, newest - first));
  box.addEventListener("pointermove", (event) => {
    const found = loaded && under(event);
    box.classList.toggle("over-cell", Boolean(found));
    if (found) say(told(found));
  });
  box.addEventListener("click", (event) => {
    const found = loaded && under(event);
    if (found) open(found);
  });
  map.addEventListener("click", (event) => {
    const edge = map.getBoundingClientRect(), all = order.length * ROW;
    box.scrollTop = ((event.clientY - edge.top) / edge.height) * all - box.clientHeight / 2;
  });
  let asked = false;
  function soon() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => ((asked = false), draw()));
  }
  function again() {
    style();
    picture = null;
    if (loaded) measure();
    soon();
  }
  box.addEventListener("scroll", soon, { passive: true });
  document.addEventListener("theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new ResizeObserver(again).observe(wrap);
  document.addEventListener("panel", (event) => {
    if (event.target.dataset.panel !== "grid") return;
    if (!loaded) return void load();
    const began = performance.now();
    hear();
    draw();
    stats.updated = performance.now() - began;
  });
  style();
  load();
})();
