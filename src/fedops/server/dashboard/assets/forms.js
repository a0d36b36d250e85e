// Forms in dialogs, copying, light and dark. Each of these works without this script, too.
"use strict";
const box = document.querySelector("[data-dialog-box]");

function partOf(text) {
  return new DOMParser().parseFromString(text, "text/html").querySelector("[data-form]");
}
async function open(where) {
  let part = null;
  try {
    const answer = await fetch(where, { headers: { accept: "text/html" } });
    part = answer.redirected ? null : partOf(await answer.text());
  } catch { /* the page itself will say it */ }
  if (!part) {
    location.href = where;
    return;
  }
  show(part, where);
}
function show(part, where) {
  box.replaceChildren(part);
  const form = part.querySelector("form");
  if (form && !form.getAttribute("action")) form.setAttribute("action", where);
  const title = part.querySelector("h1");
  if (title) box.setAttribute("aria-label", title.textContent);
  if (!box.open) box.showModal();
}
// On its way a form is sent once: a second press of its button does nothing.
async function submit(form, button) {
  if (form.hasAttribute("aria-busy")) return;
  form.setAttribute("aria-busy", "true");
  await send(form, button);
  form.removeAttribute("aria-busy");
}
async function send(form, button) {
  const fields = new URLSearchParams(new FormData(form, button));
  let answer, text;
  try {
    answer = await fetch(form.action, { method: "POST", body: fields, headers: { "x-fedops-dialog": "1" } });
    text = await answer.text();
  } catch {
    tell(form, "The server does not answer. What you typed is still here: look whether it was done, then try again.");
    return;
  }
  const where = answer.headers.get("x-fedops-dialog");
  if (where) {
    location.href = where;
    return;
  }
  if (answer.redirected) {
    tell(form, "Your session has ended. Sign in in another tab, then press the button again.");
    return;
  }
  const part = partOf(text);
  if (part) putBack(form, part);
  else if (answer.ok) whole(text);
  else tell(form, saidIn(text) || `The server answered ${answer.status}.`);
}
// What a refusal says: that of a page, or that of the gate before them, which knows no pages.
function saidIn(text) {
  try {
    return JSON.parse(text).message;
  } catch {
    return new DOMParser().parseFromString(text, "text/html").querySelector(".lead")?.textContent;
  }
}
// The form as it came back, where it was: in the dialog or on its page. One goes on in the same field.
function putBack(form, part) {
  const field = document.activeElement?.name;
  if (box.contains(form)) show(part, form.getAttribute("action"));
  else form.closest("[data-form]").replaceWith(part);
  const fields = [...part.querySelectorAll("input:not([type=hidden]), select, textarea, button")];
  (fields.find((one) => field && one.name === field) || fields[0])?.focus();
}
// What is shown once, such as a new token, replaces the page.
function whole(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  document.body.dataset.shown = "";
  box.close();
  const main = fresh.querySelector("main");
  document.querySelector("main").replaceWith(main);
  main.focus();
}
function tell(form, text) {
  const part = form.closest("[data-form]");
  let line = part.querySelector(".problem");
  if (!line) {
    line = document.createElement("p");
    line.className = "problem";
    line.setAttribute("role", "alert");
    form.before(line);
  }
  line.textContent = text;
}

document.addEventListener("click", (event) => {
  const copied = event.target.closest("[data-copy]");
  if (copied) return void copy(copied);
  const closes = event.target.closest("[data-close]");
  if (closes && box.open) {
    event.preventDefault();
    return void box.close();
  }
  const link = event.target.closest("a[data-dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  open(link.href);
});
document.addEventListener("keydown", (event) => {
  if ((event.key === "Enter" || event.key === " ") && event.target.matches("code[data-copy]")) {
    event.preventDefault();
    copy(event.target);
  }
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.enctype === "multipart/form-data" || !form.closest("[data-form]")) return;
  event.preventDefault();
  submit(form, event.submitter);
});

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.dataset.copy);
  } catch {
    const area = document.createElement("textarea");
    area.value = element.dataset.copy;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  element.classList.add("copied");
  setTimeout(() => element.classList.remove("copied"), 1200);
}

document.querySelector("[data-theme-form]")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  document.dispatchEvent(new CustomEvent("theme"));
  fetch("/theme", { method: "POST", body: new URLSearchParams({ theme: next, next: "/" }), redirect: "manual" });
});
