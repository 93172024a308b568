// Addresses of Mesos' UI, which are in bookmarks and in links of frameworks.
const path = (...parts) => "/ui/" + parts.map((part) => encodeURIComponent(part)).join("/");

const rules = [
  [/^\/?$/, () => null],
  [/^\/(?:agents|slaves)\/?$/, () => path("agents")],
  [/^\/(?:agents|slaves)\/([^/]+)\/?$/, (agent) => path("agents", agent)],
  [/^\/(?:agents|slaves)\/[^/]+\/frameworks\/([^/]+)\/?$/, (framework) => path("frameworks", framework)],
  [/^\/(?:agents|slaves)\/([^/]+)\/frameworks\/([^/]+)\/executors\/([^/]+)\/?$/,
    (agent, framework, executor) => path("frameworks", framework, "executors", agent, executor)],
  [/^\/(?:agents|slaves)\/([^/]+)\/frameworks\/([^/]+)\/executors\/([^/]+)\/browse$/,
    (agent, framework, executor) => path("frameworks", framework, "executors", agent, executor, "files")],
  [/^\/(?:agents|slaves)\/[^/]+\/frameworks\/([^/]+)\/executors\/[^/]+\/tasks\/([^/]+)\/browse$/,
    (framework, task) => path("frameworks", framework, "tasks", task, "files")],
  [/^\/frameworks\/?$/, () => path("frameworks")],
  [/^\/frameworks\/([^/]+)\/?$/, (framework) => path("frameworks", framework)],
  [/^\/(roles|offers|maintenance)\/?$/, (page) => path(page)],
];

// A path of an agent's disk: …/slaves/A/frameworks/F/executors/E/runs/C/rest.
const sandbox = /\/slaves\/([^/]+)\/frameworks\/([^/]+)\/executors\/([^/]+)\/runs\/[^/]+(?:\/(.*))?$/;

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

// Where an old address leads; null for what is none.
export function moved({ pathname, hash }) {
  if (pathname !== "/" || !hash.startsWith("#/")) return null;
  const [route, query = ""] = hash.slice(1).split("?");
  if (/^\/(?:agents|slaves)\/[^/]+\/browse$/.test(route)) {
    const found = sandbox.exec(new URLSearchParams(query).get("path") ?? "");
    if (!found) return path("tasks");
    const [, agent, framework, executor, rest] = found;
    const files = path("frameworks", framework, "executors", agent, executor, "files");
    return rest ? `${files}?path=${encodeURIComponent(rest)}` : files;
  }
  for (const [pattern, make] of rules) {
    const found = pattern.exec(route);
    if (found) return make(...found.slice(1).map(decoded));
  }
  return null;
}
