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
  // What is open, and how far it is scrolled, stays as it is.
  const swap = (part, fresh) => {
    const open = [...part.querySelectorAll("details[id][open]")].map((one) => one.id);
    const scrolled = [...part.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    for (const one of fresh.querySelectorAll("details[id]")) one.open = open.includes(one.id);
    if (fresh.innerHTML === part.innerHTML) return;
    part.replaceChildren(...fresh.childNodes);
    part.querySelectorAll(".scroll").forEach((one, n) => (one.scrollLeft = scrolled[n] ?? 0));
  };
  const busy = () => document.hidden || !on || (document.activeElement?.closest("[data-live]") ?? null) !== null;
  const refresh = async () => {
    if (busy()) return;
    try {
      const reply = await fetch(location.href, { headers: { accept: "text/html" } });
      if (reply.redirected) {
        location.reload(); // the session has ended: ask who is there
        return;
      }
      if (!reply.ok || busy()) return;
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(part.id);
        if (fresh && !part.matches(":hover")) swap(part, fresh);
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
