// Says what a chart's columns are: beside the pointer, and by the arrow keys once the chart has the focus.
"use strict";
(() => {
  const tip = document.createElement("output");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  let current = null;

  const leave = () => {
    if (!current) return;
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title"); // as it came from the server
    title.textContent = current.dataset.said;
    delete current.dataset.said;
    current.classList.remove("on");
    if (!current.classList.length) current.removeAttribute("class");
    current.append(title);
    current = null;
    tip.hidden = true;
  };
  const enter = (mark) => {
    if (mark === current) return;
    leave();
    const title = mark.querySelector("title");
    if (!title) return;
    current = mark;
    mark.dataset.said = title.textContent;
    title.remove(); // or the browser shows it a second time
    mark.classList.add("on");
    tip.textContent = mark.dataset.said;
    tip.hidden = false;
    const at = mark.getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(at.left + at.width / 2 - tip.offsetWidth / 2, room)) + scrollX}px`;
    const above = at.top - tip.offsetHeight - 6;
    tip.style.top = `${(above > 4 ? above : at.bottom + 6) + scrollY}px`;
  };

  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest?.(".chart .hit");
    if (mark) enter(mark);
    else leave();
  });
  document.addEventListener("focusout", leave);
  document.addEventListener("keydown", (event) => {
    const chart = event.target.closest?.("svg.chart");
    if (!chart) return;
    if (event.key === "Escape") return leave();
    const marks = [...chart.querySelectorAll(".hit")];
    const from = current && chart.contains(current) ? marks.indexOf(current) : -1;
    const last = marks.length - 1;
    const to = { ArrowRight: from + 1, ArrowDown: from + 1, Home: 0, End: last }[event.key] ??
      (["ArrowLeft", "ArrowUp"].includes(event.key) ? (from < 0 ? last : from - 1) : null);
    if (to === null || !marks.length) return;
    event.preventDefault();
    enter(marks[Math.max(0, Math.min(to, last))]);
  });
})();
