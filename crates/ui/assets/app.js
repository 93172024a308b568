// What every page does. Without scripts all pages work; they do not change by themselves then.
import { start as live } from "./live.js";
import { start as keys } from "./keys.js";
import { start as follow } from "./follow.js";
import { moved } from "./old.js";

const to = moved(location);
if (to) location.replace(to);

// Lists are narrowed as soon as a choice is made.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form.tools");
  if (form && event.target.tagName === "SELECT") form.requestSubmit();
});

// What is empty is left out of addresses.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "get") return;
  for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
  setTimeout(() => { for (const field of event.target.elements) field.disabled = false; });
});

// On a phone the names of pages are wider than the window.
const nav = document.getElementById("nav");
const here = nav.querySelector("[aria-current]");
if (here) nav.scrollLeft = here.offsetLeft - (nav.clientWidth - here.offsetWidth) / 2;

keys();
follow();
live();
