"use strict";
// Asks how open jobs are going, shows it, and loads the page again when one has ended.
const OPEN = ["waiting", "running"];

function show(box, job) {
  const told = box.querySelector(".told"), bar = box.querySelector("progress"), at = job.progress;
  box.querySelector(".state").textContent = job.state;
  if (!told || !at) return;
  const held = at.achieved === undefined ? "" : `, goal holds for ${at.achieved}`;
  told.textContent = at.phase + (at.total ? `, ${at.done} of ${at.total}` : "") + held;
  if (at.total) { bar.max = at.total; bar.value = at.done; } else { bar.removeAttribute("value"); }
}

function busy() {
  const at = document.activeElement;
  return at && ["INPUT", "SELECT", "TEXTAREA"].includes(at.tagName) && at.type !== "checkbox" && at.value !== at.defaultValue;
}

async function look() {
  const boxes = [...document.querySelectorAll("[data-job]")].filter((box) => OPEN.includes(box.dataset.state));
  if (!boxes.length) return;
  for (const box of boxes) {
    try {
      const answer = await fetch(`/api/v1/jobs/${box.dataset.job}`);
      if (!answer.ok) continue;
      const job = await answer.json();
      show(box, job);
      if (!OPEN.includes(job.state) && !busy()) {
        const address = new URL(location.href);
        address.searchParams.set("job", job.id);
        location.replace(address);
        return;
      }
    } catch { /* the server is away for a moment: ask again */ }
  }
  setTimeout(look, 700);
}

look();
