// Shows the end of a file, and what is added to it.
const EVERY = 1000;
const PIECE = 65536;
const KEPT = 2000000; // Characters that stay on the page.

const following = new WeakSet();
const size = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit + 1 < units.length) { n /= 1024; unit += 1; }
  return `${n >= 100 || Number.isInteger(n) ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
};

class Follower {
  constructor(log) {
    this.log = log;
    this.url = log.dataset.follow;
    this.tail = Number(log.dataset.tail);
    this.whole = log.id === "log";
    this.text = new TextDecoder();
    this.offset = null;
    this.begin = 0;
  }

  get on() {
    const box = this.whole && document.getElementById("follow");
    return !box || box.checked;
  }

  async read(offset, length) {
    const at = offset === null ? "" : `&offset=${offset}`;
    const answer = await fetch(`${this.url}${at}&length=${length}`, { signal: AbortSignal.timeout(15000) });
    if (!answer.ok) throw new Error((await answer.text()) || `the master answered ${answer.status}`);
    const header = (name) => Number(answer.headers.get(name));
    return { bytes: await answer.arrayBuffer(), size: header("x-file-size"), offset: header("x-file-offset") };
  }

  say(text) {
    this.log.dataset.problem = text;
  }

  append(text) {
    if (!text) return;
    const log = this.log;
    const last = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const shown = log.firstChild ?? log.appendChild(document.createTextNode(""));
    shown.appendData(text);
    if (shown.length > KEPT) shown.deleteData(0, shown.length - KEPT);
    if (last) log.scrollTop = log.scrollHeight;
  }

  async step() {
    if (document.hidden || !this.on) return;
    for (;;) {
      const piece = await this.read(this.offset, this.offset === null ? this.tail : PIECE);
      delete this.log.dataset.problem;
      if (this.offset === null) {
        this.begin = piece.offset;
        this.earlier();
      }
      // A file that was made anew is read from its beginning.
      if (this.offset !== null && piece.size < this.offset) {
        this.offset = 0;
        this.begin = 0;
        this.log.textContent = "";
        this.text = new TextDecoder();
        continue;
      }
      this.offset = piece.offset + piece.bytes.byteLength;
      this.append(this.text.decode(piece.bytes, { stream: true }));
      this.log.dataset.empty = this.log.textContent ? "no" : "yes";
      if (this.whole) document.getElementById("size").textContent = size(piece.size);
      if (this.offset >= piece.size || piece.bytes.byteLength === 0) return;
    }
  }

  earlier() {
    const button = this.whole && document.getElementById("earlier");
    if (!button) return;
    button.hidden = this.begin === 0;
    button.onclick = async () => {
      const from = Math.max(0, this.begin - PIECE);
      const piece = await this.read(from, this.begin - from);
      const shown = this.log.firstChild ?? this.log.appendChild(document.createTextNode(""));
      const before = this.log.scrollHeight;
      shown.insertData(0, new TextDecoder().decode(piece.bytes));
      this.log.scrollTop += this.log.scrollHeight - before;
      this.begin = from;
      button.hidden = from === 0;
    };
  }

  async run() {
    while (this.log.isConnected) {
      try {
        await this.step();
      } catch (error) {
        this.say(error.message);
        // No answer at all: the master may be gone.
        if (error instanceof TypeError) document.dispatchEvent(new Event("lost"));
      }
      await new Promise((then) => setTimeout(then, EVERY));
    }
  }
}

// Starts to follow what is not followed yet.
export function scan() {
  for (const log of document.querySelectorAll("[data-follow]")) {
    if (following.has(log)) continue;
    following.add(log);
    new Follower(log).run();
  }
}

export function start() {
  const wrap = document.getElementById("wrap");
  wrap?.addEventListener("change", () => document.getElementById("log").classList.toggle("unwrapped", !wrap.checked));
  scan();
}
