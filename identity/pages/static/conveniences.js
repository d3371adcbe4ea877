// What pages for people do besides, where scripts run: a password that is typed can be looked at,
// and recovery codes are printed by a press. Without it nothing is missing.
"use strict";
(() => {
  for (const box of document.querySelectorAll("[data-shows]")) {
    const fields = box.form.querySelectorAll("input[type=password]");
    const show = (shown) => {
      box.checked = shown;
      for (const each of fields) each.type = shown ? "text" : "password";
    };
    box.closest("label").hidden = false;
    box.addEventListener("change", () => show(box.checked));
    // Browsers keep what text fields held, and a page that one comes back to.
    box.form.addEventListener("submit", () => show(false));
    window.addEventListener("pagehide", () => show(false));
  }

  for (const button of document.querySelectorAll("[data-prints]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }
})();
