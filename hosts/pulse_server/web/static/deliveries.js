"use strict";
// What is ticked in the list of deliveries stays ticked when the list is read anew; one tick can stand for the page.
// Without this file each is ticked by itself.
(() => {
  const boxes = () => [...document.querySelectorAll('input[name="delivery_id"]')];
  let ticked = new Set();

  function show() {
    const all = document.querySelector("[data-all]");
    const told = document.querySelector("[data-selected]");
    if (!all || !told) return;
    all.hidden = boxes().length === 0;
    all.checked = boxes().length > 0 && boxes().every((box) => box.checked);
    told.textContent = ticked.size ? `(${ticked.size})` : "";
  }
  function note() {
    ticked = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
    show();
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-all]")) for (const box of boxes()) box.checked = event.target.checked;
    if (event.target.matches('[data-all], input[name="delivery_id"]')) note();
  });
  document.addEventListener("htmx:afterSettle", () => {
    for (const box of boxes()) box.checked = ticked.has(box.value);
    note();
  });
  note();
})();
