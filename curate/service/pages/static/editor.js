// Helps to write a pipeline: line numbers, the checker's mistakes beside their lines, and what can stand where the caret is.
// Without this script the field is plain, and mistakes come back when it is saved.

import { offers } from "./offers.js";

const CHECK_AFTER = 700;
const MOST_OFFERED = 60;

const editor = document.querySelector(".editor");
const field = editor.querySelector("textarea");
const numbers = editor.querySelector(".lines");
const mistakes = document.getElementById("mistakes");
const folder = document.getElementById("folder");
let words = null;
let turns = 0;
let checking = null;
let list = null;

function number(wrong = new Set()) {
  const count = field.value.split("\n").length;
  numbers.replaceChildren(
    ...Array.from({ length: count }, (_, at) => {
      const line = document.createElement("span");
      line.textContent = at + 1;
      if (wrong.has(at + 1)) line.className = "wrong";
      return line;
    }).flatMap((line) => [line, "\n"]),
  );
  field.rows = Math.max(count + 1, 18);
}

async function check() {
  const answer = await fetch("/api/v1/pipelines/check", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": editor.dataset.csrf },
    body: JSON.stringify({ text: field.value, folder: folder?.value || null }),
  }).catch(() => null);
  if (!answer?.ok) return;
  const told = await answer.json();
  number(new Set(told.mistakes.map((mistake) => mistake.line)));
  show(told);
}

function show(told) {
  const items = told.mistakes.map((mistake) => {
    const item = document.createElement("li");
    if (mistake.line) item.append(part("span", "line", `line ${mistake.line}`), " ");
    item.append(mistake.message);
    if (mistake.hint) item.append(part("p", "hint", `hint: ${mistake.hint}`));
    return item;
  });
  const list = part("ul", "mistakes", "");
  list.append(...items);
  const fine = told.ok ? `Right: ${told.stages.length} ${told.stages.length === 1 ? "stage" : "stages"}. ${told.warnings.join(" ")}` : "";
  mistakes.replaceChildren(told.ok ? part("p", "said-ok", fine) : list);
}

function part(name, css, text) {
  const made = document.createElement(name);
  made.className = css;
  made.textContent = text;
  return made;
}

function close() {
  list?.remove();
  list = null;
  field.removeAttribute("aria-activedescendant");
  field.removeAttribute("aria-controls");
}

/** Show what can stand at the caret; `asked` also when nothing has been typed yet. */
async function offer(asked) {
  const turn = ++turns;
  words ??= await fetch("/words.json").then((answer) => (answer.ok ? answer.json() : null), () => null);
  if (turn !== turns) return; // a later call shows the list: an earlier one that waited would undo what was chosen since
  close();
  const found = words && field.selectionStart === field.selectionEnd ? offers(field.value, field.selectionStart, words) : null;
  const choices = (found?.choices ?? []).filter(([name]) => name.startsWith(found.typed) && name !== found.typed).slice(0, MOST_OFFERED);
  if (!choices.length || (!asked && !found.typed)) return;
  list = part("ul", "choices", "");
  list.id = "choices";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "What can stand here");
  choices.forEach(([name, told], at) => list.append(choice(name, told, at, found)));
  editor.append(list);
  place(found);
  field.setAttribute("aria-controls", "choices");
  choose(0);
}

function choice(name, told, at, found) {
  const item = part("li", "", name);
  item.id = `choice-${at}`;
  item.setAttribute("role", "option");
  item.dataset.text = name + found.ending;
  item.dataset.typed = found.typed.length;
  item.append(part("span", "quiet", told));
  item.addEventListener("mousedown", (event) => {
    event.preventDefault();
    take(item);
  });
  return item;
}

/** Put the list below the caret: the face is fixed-width, so that a column is a multiple of one character. */
function place(found) {
  const style = getComputedStyle(field);
  const probe = part("span", "", "0".repeat(100));
  probe.style.cssText = "position:absolute;visibility:hidden;white-space:pre";
  editor.append(probe);
  const wide = probe.getBoundingClientRect().width / 100;
  probe.remove();
  const left = field.offsetLeft + parseFloat(style.paddingLeft) + (found.column - found.typed.length) * wide - field.scrollLeft;
  list.style.left = `${Math.max(0, Math.min(left, editor.clientWidth - list.offsetWidth))}px`;
  list.style.top = `${field.offsetTop + parseFloat(style.paddingTop) + (found.line + 1) * parseFloat(style.lineHeight)}px`;
}

function choose(at) {
  const items = [...list.children];
  const chosen = items[(at + items.length) % items.length];
  items.forEach((item) => item.setAttribute("aria-selected", String(item === chosen)));
  field.setAttribute("aria-activedescendant", chosen.id);
  chosen.scrollIntoView({ block: "nearest" });
}

function take(item) {
  const end = field.selectionStart;
  field.setRangeText(item.dataset.text, end - Number(item.dataset.typed), end, "end");
  close();
  changed();
}

function changed() {
  number();
  clearTimeout(checking);
  checking = setTimeout(check, CHECK_AFTER);
}

field.addEventListener("input", () => {
  changed();
  offer(false);
});
field.addEventListener("blur", close);
field.addEventListener("click", close);
field.addEventListener("keydown", (event) => {
  if (event.key === " " && event.ctrlKey) {
    event.preventDefault();
    return offer(true);
  }
  if (!list) return indent(event);
  const at = [...list.children].findIndex((item) => item.getAttribute("aria-selected") === "true");
  const moves = { ArrowDown: at + 1, ArrowUp: at - 1 };
  if (event.key in moves) choose(moves[event.key]);
  else if (event.key === "Enter" || event.key === "Tab") take(list.children[at]);
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
});

/** A new line begins where the last one did. Tab stays what it is elsewhere: the way to the next field. */
function indent(event) {
  if (event.key !== "Enter" || event.isComposing || field.readOnly) return;
  const before = field.value.slice(0, field.selectionStart).split("\n").at(-1);
  const [, spaced, dash] = before.match(/^( *)(- )?/);
  const spaces = spaced + (dash ? "  " : "") + (/:\s*$/.test(before) ? "  " : "");
  if (!spaces) return;
  event.preventDefault();
  field.setRangeText(`\n${spaces}`, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input"));
}

if (folder) folder.addEventListener("change", changed);
number(new Set([...numbers.querySelectorAll(".wrong")].map((line) => Number(line.textContent))));
if (!mistakes.textContent.trim() && field.value.trim() && !field.readOnly) check();
