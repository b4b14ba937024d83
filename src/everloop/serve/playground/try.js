"use strict";
const key = document.getElementById("key");
if (key) key.parentElement.hidden = false;

function quoted(text) { return "'" + text.replaceAll("'", "'\\''") + "'"; }

function shown(value, indent) {
  const line = JSON.stringify(value);
  if (value === null || typeof value !== "object") return line;
  const inner = indent + "  ", isList = Array.isArray(value);
  const isPlain = isList && !value.some((each) => each !== null && typeof each === "object");
  if (line.length <= 90 || isPlain) return isPlain ? "[" + value.map((each) => JSON.stringify(each)).join(", ") + "]" : line;
  const parts = isList
    ? value.map((each) => shown(each, inner))
    : Object.entries(value).map(([name, each]) => JSON.stringify(name) + ": " + shown(each, inner));
  return (isList ? "[" : "{") + "\n" + parts.map((part) => inner + part).join(",\n") + "\n" + indent + (isList ? "]" : "}");
}

function told(output, parts) {
  output.replaceChildren(...parts.map(([text, kind]) => {
    const span = document.createElement("span");
    span.textContent = text;
    if (kind) span.className = kind;
    return span;
  }));
}

function points(values, lowest, highest) {
  const step = 540 / Math.max(1, values.length - 1);
  return values.map((value, place) => [30 + place * step, 105 - 85 * (value - lowest) / (highest - lowest || 1)]);
}

function draw(chart, answer) {
  const first = answer && answer.forecasts && answer.forecasts[0];
  chart.toggleAttribute("hidden", !first);  // an SVG element has no property of that name
  if (!first) return;
  const name = Object.keys(first).filter((each) => each.startsWith("lo-")).pop() || "";
  const low = first[name] || first.forecast, high = first[name.replace("lo-", "hi-")] || first.forecast;
  const all = [...low, ...high, ...first.forecast].filter((each) => each !== null);
  const lowest = Math.min(...all), highest = Math.max(...all);
  const node = (kind, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    if (text) made.textContent = text;
    return made;
  };
  const parts = [];
  if (name && !low.includes(null) && !high.includes(null)) {
    const ring = [...points(low, lowest, highest), ...points(high, lowest, highest).reverse()];
    parts.push(node("polygon", { class: "band", points: ring.join(" ") }));
  }
  parts.push(node("polyline", { class: "mean", points: points(first.forecast, lowest, highest).join(" ") }));
  const interval = name ? ", interval " + name.slice(3) + " %" : "";
  const title = first.series + ": " + answer.times[0].slice(0, 10) + " to " + answer.times.at(-1).slice(0, 10) + " (UTC)";
  parts.push(node("text", { x: 8, y: 14 }, title + interval + ", from " + lowest.toPrecision(3) + " to " + highest.toPrecision(3)));
  chart.setAttribute("aria-label", title);
  chart.replaceChildren(...parts);
}

async function send(section) {
  const button = section.querySelector(".send"), output = section.querySelector(".told");
  const box = section.querySelector("textarea"), panel = section.querySelector(".answer");
  const headers = box ? { "content-type": "application/json" } : {};
  if (key && key.value) headers["x-api-key"] = key.value;
  button.disabled = true;
  told(output, [["waiting …"]]);
  const started = performance.now();
  try {
    const options = { method: section.dataset.method, headers, body: box ? box.value : undefined };
    const response = await fetch(section.dataset.path, options);
    const text = await response.text();
    const milliseconds = performance.now() - started;
    let answer = null;
    try { answer = JSON.parse(text); } catch { /* shown as it is */ }
    const prediction = response.headers.get("x-everloop-prediction");
    const status = response.status + (response.ok ? " OK" : " refused");
    const parts = [[status, response.ok ? "good" : "bad"], [" in " + milliseconds.toFixed(1) + " ms"]];
    if (prediction) parts.push([" · prediction " + prediction]);
    told(output, parts);
    panel.hidden = false;
    panel.querySelector("pre").textContent = answer === null ? text : shown(answer, "");
    draw(panel.querySelector(".chart"), answer);
  } catch (error) {
    told(output, [["no answer: " + error.message, "bad"]]);
  } finally {
    button.disabled = false;
  }
}

function curl(section) {
  const box = section.querySelector("textarea");
  const line = "curl -s " + quoted(location.origin + section.dataset.path);
  section.querySelector(".curl").textContent =
    box ? line + " -H 'content-type: application/json' -d " + quoted(box.value) : line;
}

for (const section of document.querySelectorAll(".request")) {
  const button = section.querySelector(".send"), box = section.querySelector("textarea");
  button.hidden = false;
  button.addEventListener("click", () => send(section));
  if (!box) continue;
  box.readOnly = false;
  box.addEventListener("input", () => curl(section));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(section); }
  });
}
