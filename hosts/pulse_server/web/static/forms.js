"use strict";
// A secret that need not be typed stands behind a button: nobody fills it in by mistake, no password manager does, and
// a browser does not take a form with several of them for several forms. Without this file they are all there.
(() => {
  function behindAButton(box) {
    const said = document.getElementById(`${box.id}:stored`) ? "Replace the stored value" : "Set a value";
    const label = document.querySelector(`label[for="${CSS.escape(box.id)}"]`);
    const empty = Object.assign(document.createElement("input"), { type: "hidden", name: box.name });
    const button = Object.assign(document.createElement("button"), {
      type: "button", className: "secondary reveal", id: box.id, textContent: said,
    });
    button.setAttribute("aria-label", `${label ? label.textContent.trim() : ""}: ${said}`);
    if (box.hasAttribute("aria-describedby")) button.setAttribute("aria-describedby", box.getAttribute("aria-describedby"));
    button.addEventListener("click", () => {
      empty.remove();
      button.replaceWith(box);
      box.focus();
    });
    box.replaceWith(button, empty);
  }

  for (const box of document.querySelectorAll("form.made input[type='password']:not([required])")) {
    if (box.getAttribute("aria-invalid") !== "true") behindAButton(box);
  }
})();
