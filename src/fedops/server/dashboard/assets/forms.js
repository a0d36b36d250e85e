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
  if (!form.getAttribute("action")) form.setAttribute("action", where);
  const title = part.querySelector("h1");
  if (title) box.setAttribute("aria-label", title.textContent);
  if (!box.open) box.showModal();
}
async function submit(form, button) {
  const fields = new URLSearchParams(new FormData(form, button));
  let answer;
  try {
    answer = await fetch(form.action, { method: "POST", body: fields, headers: { "x-fedops-dialog": "1" } });
  } catch {
    tell(form, "The server does not answer. Nothing was changed; what you typed is still here.");
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
  const text = await answer.text(), part = partOf(text);
  if (part) show(part, form.getAttribute("action"));
  else if (answer.ok) whole(text);
  else tell(form, new DOMParser().parseFromString(text, "text/html").querySelector(".lead")?.textContent
    || `The server answered ${answer.status}.`);
}
// What is shown once, such as a new token, replaces the page.
function whole(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  box.close();
  document.querySelector("main").replaceWith(fresh.querySelector("main"));
}
function tell(form, text) {
  let line = form.querySelector(".problem");
  if (!line) {
    line = document.createElement("p");
    line.className = "problem";
    line.setAttribute("role", "alert");
    form.prepend(line);
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
box?.addEventListener("submit", (event) => {
  if (event.target.enctype === "multipart/form-data") return;
  event.preventDefault();
  submit(event.target, event.submitter);
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
