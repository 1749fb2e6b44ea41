// Questions before an action that cannot be undone.

import { element } from "./elements.js";

/** Asks a question. Returns `true` if the user selects the action, whose name is its button's. */
export function ask(question, action) {
  return new Promise((resolve) => {
    const dialog = element(
      "dialog",
      { "aria-labelledby": "question", onclose: () => finish(dialog.returnValue === "yes") },
      element("p", { id: "question" }, question),
      element(
        "div",
        { class: "row" },
        element("button", { type: "button", autofocus: true, onclick: () => dialog.close("") }, "Cancel"),
        element("button", { type: "button", class: "danger", onclick: () => dialog.close("yes") }, action),
      ),
    );
    const finish = (agreed) => {
      dialog.remove();
      resolve(agreed);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}
