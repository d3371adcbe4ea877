/* What the console does besides, where scripts run: `/` leads to the search box, secrets and
snippets are copied by a press, numbers of the overview come anew. Without it nothing is missing. */
"use strict";
(() => {
  const typing = (at) => at.closest("input, textarea, select, [contenteditable]") !== null;
  document.addEventListener("keydown", (press) => {
    if (press.key !== "/" || press.ctrlKey || press.metaKey || press.altKey) return;
    const box = document.getElementById("q") || document.getElementById("find");
    if (!box || typing(press.target)) return;
    press.preventDefault();
    box.focus();
    box.select();
  });

  const problem = document.querySelector("[role=alert]");
  if (problem) (document.querySelector("[aria-invalid=true]") || problem).focus();

  for (const button of document.querySelectorAll("[data-copies]")) {
    const text = button.parentElement.querySelector("[data-copy]");
    if (!text || !navigator.clipboard) continue;
    button.hidden = false;
    const words = button.firstChild.textContent;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.firstChild.textContent = "✓";
      setTimeout(() => { button.firstChild.textContent = words; }, 1500);
    });
  }

  const menu = document.querySelector(".menu");
  if (menu) menu.addEventListener("keydown", (press) => {
    if (press.key === "Escape") menu.open = false;
  });

  // A long look goes on by itself while all is well.
  const goesOn = document.querySelector("[data-goes-on]");
  if (goesOn) location.replace(goesOn.href);

  const live = document.querySelector("[data-live]");
  if (!live) return;
  const show = (told) => {
    for (const at of document.querySelectorAll("[data-number]")) {
      const now = String(told[at.dataset.number]);
      if (at.textContent !== now) at.textContent = now;
    }
    const chart = document.querySelector(".chart");
    const height = Number(chart.dataset.height);
    const good = chart.querySelectorAll("rect.good"), bad = chart.querySelectorAll("rect.bad");
    told.bars.forEach((bar, at) => {
      good[at].setAttribute("y", height - bar.good);
      good[at].setAttribute("height", bar.good);
      bad[at].setAttribute("y", height - bar.good - bar.bad);
      bad[at].setAttribute("height", bar.bad);
    });
  };
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(live.dataset.live, { redirect: "error" });
      if (answer.ok) show(await answer.json());
    } catch { /* the next time, perhaps */ }
  }, 10000);
})();
