// Keys: search, going to pages, pages of lists, light and dark.
import { toggle } from "./live.js";

const PAGES = {
  o: "/", a: "/ui/agents", f: "/ui/frameworks", t: "/ui/tasks", r: "/ui/roles", p: "/ui/offers",
  m: "/ui/maintenance", l: "/ui/masters",
};
const CHAIN = 1500; // Time for the second key of two.

const writes = (element) => element.closest("input, select, textarea, [contenteditable]");

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* It holds for this page. */ }
}

export function start() {
  const help = document.getElementById("help");
  let chained = 0;
  document.getElementById("theme")?.addEventListener("click", theme);
  document.getElementById("keys")?.addEventListener("click", () => help.showModal());
  help.addEventListener("click", (event) => { if (event.target === help) help.close(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && writes(event.target)) return event.target.blur();
    if (writes(event.target) || help.open) return;
    const go = Date.now() - chained < CHAIN;
    chained = 0;
    if (go && PAGES[event.key]) return void (location.href = PAGES[event.key]);
    const step = (rel) => document.querySelector(`.pager a[rel=${rel}]`)?.click();
    const actions = {
      "/": () => (document.getElementById("search") ?? document.getElementById("find"))?.select(),
      "?": () => help.showModal(),
      g: () => { chained = Date.now(); },
      n: () => step("next"),
      p: () => step("prev"),
      u: toggle,
      d: theme,
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
