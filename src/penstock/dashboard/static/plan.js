// Works the plan out anew while one types. Without script, the button does the same.
"use strict";
(() => {
  const form = document.getElementById("plan-form");
  const result = document.getElementById("plan-result");
  if (!form || !result) return;
  let waiting = 0;
  let newest = 0;
  const work = async () => {
    const mine = ++newest;
    const address = `${form.action}?${new URLSearchParams(new FormData(form))}`;
    try {
      const reply = await fetch(address, { headers: { accept: "text/html" } });
      if (reply.redirected) {
        location.reload(); // the session has ended
        return;
      }
      if (!reply.ok || mine !== newest) return;
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      const fresh = page.getElementById("plan-result");
      if (!fresh) return;
      result.replaceChildren(...fresh.childNodes);
      for (const entry of form.querySelectorAll(".entry[id]")) {
        const wrong = page.getElementById(entry.id)?.querySelector(".wrong")?.textContent ?? "";
        entry.querySelector(".wrong").textContent = wrong;
        entry.classList.toggle("is-wrong", wrong !== "");
        const field = entry.querySelector("input, select, textarea");
        if (wrong) field.setAttribute("aria-invalid", "true");
        else field.removeAttribute("aria-invalid");
      }
      history.replaceState(null, "", address);
    } catch {
      // the button still works
    }
  };
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(work, 250);
  });
})();
