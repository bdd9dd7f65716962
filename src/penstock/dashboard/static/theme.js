// Runs before the first paint, so that a chosen theme does not flash. Without script, the system's choice holds.
"use strict";
(() => {
  const root = document.documentElement;
  const order = ["system", "light", "dark"];
  let theme = "system";
  try {
    theme = localStorage.getItem("penstock-theme") ?? "system";
  } catch {
    // storage may be forbidden; the switch then works for this page
  }
  const apply = () => (theme === "system" ? delete root.dataset.theme : (root.dataset.theme = theme));
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const printer = document.getElementById("print-switch");
    if (printer) {
      printer.hidden = false;
      printer.addEventListener("click", () => print());
    }
    const button = document.getElementById("theme-switch");
    const say = () => (button.textContent = `Theme: ${theme}`);
    say();
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      apply();
      say();
      try {
        localStorage.setItem("penstock-theme", theme);
      } catch {
        // as above
      }
    });
  });
})();
