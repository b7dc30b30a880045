// Keeps a list current while something in it goes on: every few seconds the part with id `refresh` is fetched anew.
// Whoever has begun to choose is left alone.

const EVERY = 5000;

async function refresh() {
  const part = document.getElementById("refresh");
  if (document.hidden || part.querySelector(":checked") || part.contains(document.activeElement)) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const current = page.getElementById("refresh");
    if (current) part.replaceWith(current);
  } catch {
    // the service restarts: the next time finds it again
  }
}

setInterval(refresh, EVERY);
