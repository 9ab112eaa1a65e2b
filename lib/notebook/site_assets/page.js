// The page's theme, and its figures: a still picture until somebody points at it, then plotly's own.
const tessera = globalThis.tessera = {
  figures: new Map(), // what each figure's file has brought, by id
  figure(id, spec) {
    this.figures.set(id, spec);
  },
};

const THEMES = ["auto", "light", "dark"];
const SIGNS = { auto: "◐", light: "○", dark: "●" };
const page = document.documentElement;

function storedTheme() {
  try {
    return localStorage.getItem("theme") ?? "auto";
  } catch {
    return "auto"; // storage is forbidden: the theme lasts as long as the page
  }
}

function setTheme(theme) {
  if (theme === "auto") delete page.dataset.theme;
  else page.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // as above
  }
  const button = document.getElementById("theme");
  if (button) {
    button.textContent = SIGNS[theme];
    button.title = `Theme: ${theme}`;
    button.setAttribute("aria-label", `Theme: ${theme}. Change it`);
  }
  for (const figure of document.querySelectorAll("figure.plotly.themed.shown")) draw(figure);
}

function load(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${address} is missing`));
    document.head.append(script);
  });
}

let plotly;

/** Makes a figure live; when something is missing, the picture stays. */
async function wake(figure) {
  if (figure.dataset.state) return;
  figure.dataset.state = "waking";
  try {
    plotly ??= load(`${page.dataset.assets}plotly.min.js`);
    const folder = document.querySelector("main").dataset.figures;
    await Promise.all([plotly, load(`${folder}/${figure.id}.js`)]);
    await draw(figure);
    figure.classList.add("shown");
    fit(figure);
    figure.dataset.state = "live";
  } catch (error) {
    figure.dataset.state = "still";
    console.error(error);
  }
}

async function draw(figure) {
  const { data, layout = {}, frames } = structuredClone(tessera.figures.get(figure.id));
  const live = figure.querySelector(".live");
  const colours = figure.classList.contains("themed") ? inThemeColours(layout) : layout;
  await Plotly.react(live, data, colours, {
    displaylogo: false,
    displayModeBar: "hover",
    plotlyServerURL: "", // no button that sends a figure elsewhere
    modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d"],
  });
  if (frames && !live.hasFrames) await Plotly.addFrames(live, frames);
  live.hasFrames = true;
}

/** A layout with the page's colours in place of black on white. */
function inThemeColours(layout) {
  const style = getComputedStyle(page);
  const colour = (name) => style.getPropertyValue(name).trim();
  const places = {
    white: colour("--paper"),
    "rgba(255,255,255,0.8)": colour("--paper"),
    "#222222": colour("--ink"),
    "#888888": colour("--axis"),
    "#e6e6e6": colour("--grid"),
  };
  const change = (value) => {
    if (typeof value === "string") return places[value] ?? value;
    if (Array.isArray(value)) return value.map(change);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, change(inner)]));
  };
  return change(layout);
}

/** A figure that is wider than the page is scaled down; plotly knows about scaled elements. */
function fit(figure) {
  const live = figure.querySelector(".live");
  const { width, height } = live._fullLayout;
  figure.style.width = `min(100%, ${width}px)`;
  const scale = Math.min(1, figure.clientWidth / width);
  live.style.transform = scale < 1 ? `scale(${scale})` : "";
  figure.style.height = `${height * scale}px`;
}

setTheme(storedTheme());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(storedTheme()));

document.addEventListener("DOMContentLoaded", () => {
  setTheme(storedTheme());
  document.getElementById("theme").addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(storedTheme()) + 1) % THEMES.length]);
  });
  for (const figure of document.querySelectorAll("figure.plotly")) {
    for (const event of ["pointerenter", "focusin", "click"]) figure.addEventListener(event, () => wake(figure));
  }
  addEventListener("resize", () => document.querySelectorAll("figure.plotly.shown").forEach(fit));
});
