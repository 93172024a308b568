// Keeps a page as the cluster is: listens for changes, fetches the part of the page that changes, and says how old that
// is. When the master is lost it looks for the one that leads.
import { morph } from "./morph.js";
import { scan } from "./follow.js";

const SILENCE = 15000; // A stream that says nothing for so long is broken; it beats every 5 s.
const STALE = 10000; // Some changes are not announced.
const LOOK = 2000; // Time between two looks for a leader.

const body = document.body;
const content = document.getElementById("content");
const banner = document.getElementById("lost");
const status = document.getElementById("live");
const origin = location.host;

let masters = (body.dataset.masters ?? "").split(" ").filter(Boolean);
let paused = false;
let fetching = false;
let again = false;
let heard = Date.now();
let fetched = Date.now();
let lostSince = 0;
let version = null;
let events = null;

const seconds = (since) => Math.max(0, Math.round((Date.now() - since) / 1000));

function show() {
  if (!status) return;
  const age = seconds(fetched);
  const state = lostSince ? "lost" : paused || document.hidden ? "paused" : age > 20 ? "old" : "live";
  status.dataset.state = state;
  const text = { lost: "lost", paused: "paused", old: "old", live: "live" }[state];
  status.querySelector(".text").textContent = state === "live" && age < 3 ? text : `${text} · ${age} s`;
}

// A text that is being selected would be lost.
const selecting = () => {
  const selection = getSelection();
  return selection && !selection.isCollapsed && content.contains(selection.anchorNode);
};

async function refresh() {
  if (paused || document.hidden || selecting()) return void (again = true);
  if (fetching) return void (again = true);
  fetching = true;
  again = false;
  try {
    const answer = await fetch(location.pathname + location.search, {
      headers: { "x-proffer-part": "content" },
      signal: AbortSignal.timeout(10000),
      redirect: "error",
    });
    if (answer.status >= 500) throw new Error(String(answer.status));
    const template = document.createElement("template");
    template.innerHTML = await answer.text();
    if (template.content.getElementById("main")) {
      morph(content, template.content);
      const title = document.getElementById("main").dataset.title;
      document.title = `${title} · ${body.dataset.name}`;
      scan();
    }
    fetched = Date.now();
    found();
  } catch {
    lost();
  } finally {
    fetching = false;
    show();
  }
}

function lost() {
  if (!lostSince) {
    lostSince = Date.now();
    setTimeout(look, 200);
  }
  tell();
}

function found() {
  if (!lostSince) return;
  lostSince = 0;
  banner.hidden = true;
  show();
}

// A moment without connection is no news.
function tell() {
  show();
  if (!lostSince || Date.now() - lostSince < 1000) return;
  const age = events ? ` What is shown is ${seconds(fetched)} s old.` : "";
  const text = `The connection to the master is lost, for ${seconds(lostSince)} s.${age} Looking for the leading master…`;
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = false;
}

// Asks all masters that are known who leads, and goes there.
async function look() {
  if (!lostSince && !document.querySelector("[data-retry]")) return;
  const all = [origin, ...masters.filter((master) => master !== origin)];
  const asked = all.map(async (master) => {
    const url = `${location.protocol}//${master}/ui/leader`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(LOOK), cache: "no-store" });
    return { master, ...(await answer.json()) };
  });
  const answers = (await Promise.allSettled(asked)).filter((a) => a.status === "fulfilled").map((a) => a.value);
  for (const answer of answers) {
    if (Array.isArray(answer.masters) && answer.masters.length > masters.length) masters = answer.masters;
  }
  const leading = answers.find((answer) => answer.me);
  if (leading && leading.master === origin) {
    if (document.querySelector("[data-retry]")) return location.reload();
    if (!events) return found();
    listen();
    return refresh();
  }
  const leader = leading?.master ?? answers.find((answer) => answer.leader && answer.leader !== origin)?.leader;
  if (leader && /^[a-z0-9.:[\]-]+$/i.test(leader)) {
    location.replace(`${location.protocol}//${leader}${location.pathname}${location.search}`);
    return;
  }
  setTimeout(look, LOOK);
}

function listen() {
  events?.close();
  heard = Date.now();
  events = new EventSource("/ui/events");
  const on = (name, then) => events.addEventListener(name, (event) => {
    heard = Date.now();
    then?.(event);
  });
  on("hello", (event) => {
    // Another version of the program may show things that these scripts do not know.
    if (version && version !== event.data) return location.reload();
    const back = version !== null;
    version = event.data;
    if (back) refresh();
  });
  on("change", refresh);
  on("beat", () => { if (Date.now() - fetched > STALE) refresh(); });
  events.addEventListener("error", lost);
}

function age() {
  const now = Date.now() / 1000;
  for (const time of document.querySelectorAll("time[data-at]")) {
    const text = ago(now - Number(time.dataset.at));
    if (text && time.textContent !== text) time.textContent = text;
  }
}

// As the server writes it.
function ago(past) {
  if (!Number.isFinite(past)) return null;
  if (Math.abs(past) < 1) return "just now";
  const s = Math.floor(Math.abs(past));
  const text = s < 120 ? `${s} s` : s < 7200 ? `${Math.floor(s / 60)} min`
    : s < 172800 ? `${Math.floor(s / 3600)} h ${Math.floor((s / 60) % 60)} min`
      : `${Math.floor(s / 86400).toLocaleString("en")} d`;
  return past > 0 ? `${text} ago` : `in ${text}`;
}

export function toggle() {
  paused = !paused;
  if (!paused) refresh();
  show();
}

export function start() {
  if (document.querySelector("[data-retry]")) return void setTimeout(look, LOOK);
  document.addEventListener("lost", lost);
  if (body.dataset.live !== "on") return void setInterval(tell, 1000);
  listen();
  status?.addEventListener("click", toggle);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      events?.close();
      events = null;
    } else {
      listen();
      refresh();
    }
    show();
  });
  setInterval(() => {
    if (!document.hidden && !lostSince && Date.now() - heard > SILENCE) lost();
    if (again && !fetching && !document.hidden && !paused && !selecting()) refresh();
    if (lostSince) tell();
    age();
    show();
  }, 1000);
}
