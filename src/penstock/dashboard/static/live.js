// Fetches the page anew every few seconds and swaps the parts marked data-live. The button stops it.
"use strict";
(() => {
  const seconds = 5;
  const parts = document.querySelectorAll("[data-live]");
  const button = document.getElementById("live-switch");
  if (!parts.length) return;
  let on = true;
  const say = () => {
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? "Live" : "Paused";
  };
  const busy = () => document.hidden || !on || (document.activeElement?.closest("[data-live]") ?? null) !== null;
  const refresh = async () => {
    if (busy()) return;
    try {
      const reply = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!reply.ok || busy()) return;
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(part.id);
        if (fresh && fresh.innerHTML !== part.innerHTML) part.replaceChildren(...fresh.childNodes);
      }
      button.classList.remove("stale");
    } catch {
      button.classList.add("stale");
    }
  };
  button.addEventListener("click", () => {
    on = !on;
    say();
    refresh();
  });
  say();
  button.hidden = false;
  setInterval(refresh, seconds * 1000);
})();
