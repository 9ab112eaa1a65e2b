// The page's theme, and its figures: a still picture until somebody points at it, then plotly's own.
const tessera = globalThis.tessera = {
  figures: new Map(), // what each figure's file has brought, by id
  sections: [], // what the search looks through
  index(pages) {
    this.sections = pages.flatMap(([address, page, sections]) =>
      sections.map(([heading, anchor, text]) => ({
        page,
        heading,
        text,
        address: anchor ? `${address}#${anchor}` : address,
        title: `${page} ${heading}`.toLowerCase(),
        words: text.toLowerCase(),
      }))
    );
  },
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

/** Sections that hold all words; a heading counts more than text, a whole heading most. */
function find(question) {
  const asked = question.toLowerCase().trim();
  const words = asked.split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  return tessera.sections.flatMap((section) => {
    const { heading, page, title, words: text } = section;
    let score = 0;
    for (const word of words) {
      const here = title.includes(word) ? 10 : text.includes(word) ? 1 : 0;
      if (!here) return [];
      score += here;
    }
    if ((heading || page).toLowerCase() === asked) score += 100;
    else if ((heading || page).toLowerCase().startsWith(asked)) score += 30;
    return [{ section, score }];
  }).sort((a, b) => b.score - a.score).slice(0, 20).map(({ section }) => section);
}

function setUpSearch() {
  const field = document.getElementById("search"), list = document.getElementById("found");
  let index, chosen = -1;
  const close = () => {
    list.hidden = true;
    chosen = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const choose = (at) => {
    const items = [...list.children];
    if (!items.length) return;
    chosen = (at + items.length) % items.length;
    items.forEach((item, i) => item.setAttribute("aria-selected", String(i === chosen)));
    items[chosen].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", items[chosen].id);
  };
  const go = (item) => {
    location.href = item.dataset.to;
    close();
  };
  const show = async () => {
    await (index ??= load(`${page.dataset.assets}search_index.js`));
    const words = field.value.toLowerCase().trim().split(/\s+/);
    list.replaceChildren(
      ...find(field.value).map(({ page: title, heading, text, address }, i) => {
        const item = document.createElement("li"),
          name = document.createElement("b"),
          from = document.createElement("span");
        item.id = `found-${i}`;
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", "false");
        item.dataset.to = `${page.dataset.assets}../${address}`;
        name.textContent = heading || title;
        const at = Math.max(0, text.toLowerCase().indexOf(words[0]) - 40);
        from.textContent = `${heading ? `${title}: ` : ""}${text.slice(at, at + 110)}`;
        item.append(name, from);
        item.addEventListener("mousedown", (event) => {
          event.preventDefault();
          go(item);
        });
        return item;
      }),
    );
    chosen = -1;
    const any = list.children.length > 0;
    list.hidden = !any;
    field.setAttribute("aria-expanded", String(any));
    field.removeAttribute("aria-activedescendant");
  };
  field.addEventListener("input", show);
  field.addEventListener("focus", () => field.value && show());
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Enter" && list.children.length) go(list.children[Math.max(0, chosen)]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(input|textarea)$/i.test(event.target.tagName)) return;
    event.preventDefault();
    field.focus();
  });
}

setTheme(storedTheme());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(storedTheme()));

document.addEventListener("DOMContentLoaded", () => {
  setTheme(storedTheme());
  document.getElementById("theme").addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(storedTheme()) + 1) % THEMES.length]);
  });
  setUpSearch();
  for (const figure of document.querySelectorAll("figure.plotly")) {
    for (const event of ["pointerenter", "focusin", "click"]) figure.addEventListener(event, () => wake(figure));
  }
  addEventListener("resize", () => document.querySelectorAll("figure.plotly.shown").forEach(fit));
});
