// Keeps a run's page current: whenever the run tells something, the part that changes is fetched again, at most once a second.
// Without server-sent events (an old proxy between), it asks every few seconds.

const AT_MOST_EVERY = 1000;
const ASK_EVERY = 4000;

const live = document.getElementById("live");
const said = document.getElementById("said");
let fetched = 0;
let waiting = null;

/** Put a new state of the page in the place of the last one; whoever stands in it keeps focus, opened parts and place in the log. */
function show(html) {
  const focus = document.activeElement?.getAttribute("href");
  const opened = [...live.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
  const scrolled = [...live.querySelectorAll(".scroll, .log")].map((part) => [part.scrollLeft, part.scrollTop, atEnd(part)]);
  const before = states();
  live.innerHTML = html;
  for (const summary of live.querySelectorAll("details > summary")) {
    summary.parentElement.open ||= opened.includes(summary.textContent);
  }
  live.querySelectorAll(".scroll, .log").forEach((part, number) => {
    const [left, top, end] = scrolled[number] ?? [0, 0, true];
    part.scrollTo(left, end && part.classList.contains("log") ? part.scrollHeight : top);
  });
  if (focus) [...live.querySelectorAll("a")].find((link) => link.getAttribute("href") === focus)?.focus({ preventScroll: true });
  tell(before, states());
}

function atEnd(part) {
  return part.scrollTop + part.clientHeight >= part.scrollHeight - 4;
}

/** The state of every stage by name, as the table has it. */
function states() {
  const rows = live.querySelectorAll("table.stages tbody tr");
  return new Map([...rows].map((row) => [row.cells[0].textContent, row.cells[1].querySelector("[data-state]")?.dataset.state ?? ""]));
}

/** Say to a screen reader which stages changed, and nothing else. */
function tell(before, after) {
  const changed = [...after].filter(([name, state]) => before.get(name) !== state).map(([name, state]) => `${name}: ${state}`);
  if (changed.length) said.textContent = changed.join(", ");
}

async function refresh() {
  waiting = null;
  fetched = Date.now();
  try {
    const answer = await fetch(live.dataset.fragment, { headers: { Accept: "text/html" } });
    if (answer.status === 401) return location.reload();
    if (!answer.ok) return;
    show(await answer.text());
    if (answer.headers.get("X-Run-Ended") === "yes") location.reload();
  } catch {
    // the service restarts: the next event or the next question finds it again
  }
}

function soon() {
  waiting ??= setTimeout(refresh, Math.max(0, fetched + AT_MOST_EVERY - Date.now()));
}

document.querySelectorAll(".log").forEach((part) => part.scrollTo(0, part.scrollHeight));
if (live.dataset.ended === "no") {
  const events = new EventSource(live.dataset.events);
  events.addEventListener("run", soon);
  events.addEventListener("progress", soon);
  events.addEventListener("end", () => {
    events.close();
    soon();
  });
  setInterval(soon, ASK_EVERY);
  addEventListener("pagehide", () => events.close());
}
