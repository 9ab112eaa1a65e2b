/**
 * The static site: every notebook as a page, the Markdown pages that they lead to, an index. Everything that a page needs
 * lies beside it, so that it can be read from a disk, and asks for nothing outside.
 *
 * @module
 */
import { posix } from "node:path";
import { readNotebook, sourceOf } from "./notebook.ts";
import { plainAnchor } from "./links.ts";
import { exists, isFolder, nameOf, namesIn, root, sizeOf, textOf } from "./paths.ts";
import { projectNotebooks } from "./project_notebooks.ts";
import { cellsHtml, type PageFigure } from "./site_cells.ts";
import { type ApiLinks, methodsHtml, moduleHtml, modulesHtml } from "./site_api.ts";
import { escapeHtml, type Heading, highlight, markdownHtml } from "./site_markdown.ts";
import type { Reference } from "./site_reference.ts";
import { searchEntries, type SearchEntry, searchScript } from "./site_search.ts";

/** By the first digit of their names. */
const FAMILIES: Record<string, string> = {
  0: "Start",
  1: "Token reduction",
  2: "Tokenization of medical codes",
  3: "Controllable sequence editing",
  4: "Claims, as tests that can fail",
  9: "How it works inside",
};
/** The pages of evidence that every page leads to. */
const REPRODUCTION = "experiments/README.md";
const CLAIMS = "experiments/claims/README.md";
/** Says that a folder was made by this command, so that it may be made again. */
const MARK = ".tessera-site";
const assets = new URL("./site_assets/", import.meta.url);
const IMAGE = /\.(svg|png|jpe?g|gif|webp)$/i;
const SOURCE = /\.(ts|js|json|csv|tsv|txt|md|css|sh|py)$/i;
const SOURCE_LIMIT = 300_000;

/** What was made. */
export interface SiteResult {
  folder: string;
  notebooks: number;
  pages: number;
  bytes: number;
}

interface PageContent {
  title: string;
  html: string;
  headings: Heading[];
  figures: PageFigure[];
}

interface NotebookCard {
  name: string;
  title: string;
  /** The question, as HTML. */
  about: string;
  thumbnail?: string;
}

/**
 * Makes the site anew.
 *
 * @param folder Where; made, or replaced when this command made it before.
 * @param notebooks Which notebooks, as paths; default: all of the project.
 * @param reference What is said of the library; without it, there are no pages of the library and its methods.
 * @throws RangeError in one sentence when something else lies there, or a notebook cannot be read; then all stays as it is.
 */
export function buildSite(
  folder: string,
  notebooks: string[] = projectNotebooks(),
  reference?: Reference,
): SiteResult {
  if (exists(folder) && !(isFolder(folder) && (namesIn(folder).length === 0 || exists(`${folder}/${MARK}`)))) {
    throw new RangeError(
      `${folder} exists already and was not made by this command; give another folder with --output`,
    );
  }
  const passing = `${folder}.${Deno.pid}.tmp`;
  try {
    const site = new Site(passing, notebooks.map(nameOf), reference);
    const pages = site.build();
    if (exists(folder)) Deno.removeSync(folder, { recursive: true });
    Deno.renameSync(passing, folder);
    return { folder, notebooks: notebooks.length, pages, bytes: site.bytes };
  } catch (error) {
    if (exists(passing)) Deno.removeSync(passing, { recursive: true });
    throw error;
  }
}

class Site {
  #folder: string;
  #notebooks: string[];
  #asked: string[];
  #reference?: Reference;
  #found: SearchEntry[] = [];
  /** Lines of source files that pages lead to. */
  #lines = new Map<string, Set<number>>();
  bytes = 0;

  constructor(folder: string, notebooks: string[], reference?: Reference) {
    this.#folder = folder;
    this.#notebooks = notebooks;
    this.#reference = reference;
    this.#asked = [
      ...notebooks,
      "README.md",
      "CONTRIBUTING.md",
      REPRODUCTION,
      ...exists(`${root}/${CLAIMS}`) ? [CLAIMS] : [],
    ];
  }

  build(): number {
    this.#write(MARK, "made by deno task site\n");
    this.#copyAssets();
    const library = this.#reference ? this.#libraryPages(this.#reference) : 0;
    const cards: NotebookCard[] = [];
    const done = new Set<string>();
    while (this.#asked.length) {
      const name = this.#asked.shift()!;
      if (done.has(name)) continue;
      done.add(name);
      if (IMAGE.test(name)) this.#copy(`${root}/${name}`, name);
      else if (name.endsWith(".ipynb")) cards.push(this.#notebookPage(name));
      else this.#write(pageOf(name), this.#pageHtml(name, this.#textPage(name)));
    }
    this.#write("index.html", this.#indexHtml(cards));
    this.#write("assets/search_index.js", searchScript(this.#found));
    return [...done].filter((name) => !IMAGE.test(name)).length + library + 1;
  }

  /** The pages of the library and its methods; how many. */
  #libraryPages(reference: Reference): number {
    const modules = reference.modules.filter(({ symbols }) => symbols.length);
    const apiPage = (name: string) => `api/${name.replaceAll("/", "_")}.html`;
    const linksFrom = (page: string): ApiLinks => ({
      source: (file, line) => {
        this.#asked.push(file);
        const to = posix.relative(posix.dirname(page), pageOf(file));
        if (!line) return to;
        if (!this.#lines.has(file)) this.#lines.set(file, new Set());
        this.#lines.get(file)!.add(line);
        return `${to}#L${line}`;
      },
      module: (name) => posix.relative(posix.dirname(page), apiPage(name)),
      markdown: (file) => {
        const options = this.#markdown(file, []);
        const move = (to: string) =>
          /^([a-z][a-z+.-]*:|#)/i.test(to)
            ? to
            : posix.relative(posix.dirname(page), posix.join(posix.dirname(file), to));
        return {
          link: (href) => {
            const to = options.link(href);
            return to === undefined ? undefined : move(to);
          },
          image: (href) => move(options.image(href)),
        };
      },
    });
    const write = (page: string, where: string, content: PageContent) => {
      this.#write(page, this.#frameOf(page, where, content));
    };
    for (const module of modules) {
      const page = apiPage(module.name);
      write(page, `lib/${module.name}`, {
        title: escapeHtml(module.name),
        ...moduleHtml(module, reference, linksFrom(page)),
        figures: [],
      });
    }
    const html = modulesHtml(reference, linksFrom("api/index.html"));
    write("api/index.html", "lib", { title: "The library", html, headings: [], figures: [] });
    write("methods.html", "methods", {
      title: "Methods",
      ...methodsHtml(reference, linksFrom("methods.html")),
      figures: [],
    });
    return modules.length + 2;
  }

  /** A page that is no file of the project. */
  #frameOf(page: string, where: string, { title, html, headings }: PageContent): string {
    this.#found.push(...searchEntries(page, plainText(title), html));
    const up = posix.relative(posix.dirname(page), ".") || ".";
    return frame({
      title: `${plainText(title)} · Tessera`,
      up,
      body: `<main>\n${contentsHtml(headings)}<article>\n${html}\n</article>\n</main>`,
      where: `<a href="${up}/index.html">Tessera</a> <span aria-hidden="true">/</span> <span>${
        escapeHtml(where)
      }</span>`,
      library: Boolean(this.#reference),
    });
  }

  #copyAssets(): void {
    for (const name of namesIn(new URL(assets).pathname)) this.#copy(new URL(name, assets).pathname, `assets/${name}`);
    this.#copy(`${root}/node_modules/plotly.js-dist-min/plotly.min.js`, "assets/plotly.min.js");
    const katex = `${root}/node_modules/katex/dist`;
    // browsers that run these pages read woff2; the other two forms of each font stay out
    const css = textOf(`${katex}/katex.min.css`).replace(/,url\([^)]*\.(woff|ttf)\) format\("[^"]*"\)/g, "");
    this.#write("assets/katex.min.css", css);
    for (const name of namesIn(`${katex}/fonts`).filter((name) => name.endsWith(".woff2"))) {
      this.#copy(`${katex}/fonts/${name}`, `assets/fonts/${name}`);
    }
  }

  #notebookPage(name: string): NotebookCard {
    const notebook = readNotebook(`${root}/${name}`);
    const headings: Heading[] = [];
    const { html, figures } = cellsHtml(notebook, this.#markdown(name, headings));
    const title = headings.find(({ depth }) => depth === 1)?.text ?? escapeHtml(name);
    this.#write(pageOf(name), this.#pageHtml(name, { title, html, headings, figures }));
    for (const { id, spec } of figures) {
      this.#write(figureFile(name, id), `tessera.figure(${JSON.stringify(id)}, ${JSON.stringify(spec)});\n`);
    }
    const thumbnail = figures.find(({ svg }) => svg);
    if (thumbnail) this.#write(`${figureFile(name, thumbnail.id)}.svg`, thumbnail.svg!);
    const [first] = notebook.cells.filter((cell) => cell.cell_type === "markdown").map(sourceOf);
    const about = first?.split(/\n\s*\n/)[1] ?? "";
    return {
      name,
      title,
      about: markdownHtml(about, { link: () => undefined }).replace(/<\/?(p|strong)>/g, ""),
      thumbnail: thumbnail && `${figureFile(name, thumbnail.id)}.svg`,
    };
  }

  #textPage(name: string): PageContent {
    const headings: Heading[] = [];
    const text = textOf(`${root}/${name}`);
    const html = name.endsWith(".md")
      ? `<section class="words">\n${markdownHtml(text, this.#markdown(name, headings))}</section>`
      : `<h1>${escapeHtml(name)}</h1>\n<pre class="code" tabindex="0"><code>${
        withLines(highlight(text, name.split(".").at(-1)!), this.#lines.get(name))
      }</code></pre>`;
    const title = headings.find(({ depth }) => depth === 1)?.text ?? escapeHtml(name);
    return { title, html, headings, figures: [] };
  }

  /** How a page's links and images are meant; what they lead to is asked for. */
  #markdown(from: string, headings: Heading[]) {
    const relative = (to: string) => posix.relative(posix.dirname(from), to);
    const inProject = (href: string) => posix.normalize(posix.join(posix.dirname(from), decodeURI(href)));
    return {
      heading: (heading: Heading) => headings.push(heading),
      link: (href: string): string | undefined => {
        if (/^[a-z][a-z+.-]*:/i.test(href)) return href;
        const [path, anchor] = href.split("#", 2);
        const mark = anchor ? `#${plainAnchor(decodeURI(anchor))}` : "";
        if (!path) return mark || undefined;
        const target = this.#targetOf(inProject(path));
        if (!target) return undefined;
        this.#asked.push(target);
        return relative(IMAGE.test(target) ? target : pageOf(target)) + mark;
      },
      image: (href: string): string => {
        if (/^[a-z][a-z+.-]*:/i.test(href)) return href;
        const target = inProject(href);
        if (exists(`${root}/${target}`)) this.#asked.push(target);
        return href;
      },
    };
  }

  /** The page that stands for a file or a folder of the project; undefined where there is none. */
  #targetOf(path: string): string | undefined {
    if (path.startsWith("..")) return undefined;
    if (isFolder(`${root}/${path}`)) {
      return ["README.md", "SOURCE.md", "mod.ts"].map((name) => posix.join(path, name)).find((name) =>
        exists(`${root}/${name}`)
      );
    }
    const size = sizeOf(`${root}/${path}`);
    if (size === undefined) return undefined;
    if (path.endsWith(".ipynb")) return this.#notebooks.includes(path) ? path : undefined;
    const isPage = IMAGE.test(path) || (SOURCE.test(path) && size < SOURCE_LIMIT) || path === "LICENSE";
    return isPage ? path : undefined;
  }

  #pageHtml(name: string, { title, html, headings, figures }: PageContent): string {
    const up = posix.relative(posix.dirname(pageOf(name)), ".") || ".";
    const at = this.#notebooks.indexOf(name);
    const step = (to: string | undefined, label: string, kind: string) =>
      to
        ? `<a class="${kind}" rel="${kind}" href="${
          posix.relative(posix.dirname(name), pageOf(to))
        }"><span>${label}</span>${escapeHtml(shortName(to))}</a>`
        : "<span></span>";
    const steps = at < 0
      ? ""
      : `<nav class="steps" aria-label="Notebooks">${step(this.#notebooks[at - 1], "Before", "prev")}${
        step(this.#notebooks[at + 1], "Next", "next")
      }</nav>`;
    if (/\.(ipynb|md)$/.test(name)) this.#found.push(...searchEntries(pageOf(name), plainText(title), html));
    const load = figures.length ? ` data-figures="${posix.relative(posix.dirname(name), figureFile(name, ""))}"` : "";
    return frame({
      title: `${plainText(title)} · Tessera`,
      up,
      body: `<main${load}>\n${contentsHtml(headings)}<article>\n${html}\n${steps}</article>\n</main>`,
      where: `<a href="${up}/index.html">Tessera</a> <span aria-hidden="true">/</span> <span>${
        escapeHtml(name)
      }</span>`,
      library: Boolean(this.#reference),
    });
  }

  #indexHtml(cards: NotebookCard[]): string {
    const families = Object.entries(FAMILIES).map(([digit, about]) => ({
      about,
      cards: cards.filter(({ name }) => shortName(name)[0] === digit),
    })).filter(({ cards }) => cards.length);
    const others = cards.filter(({ name }) => !FAMILIES[shortName(name)[0]]);
    if (others.length) families.push({ about: "Others", cards: others });
    const html = families.map(({ about, cards }) =>
      `<h2>${about}</h2>\n<ul class="cards">\n${cards.map(cardHtml).join("\n")}\n</ul>`
    ).join("\n");
    const opening = textOf(`${root}/README.md`).split(/^## /m)[0];
    const reference = this.#reference;
    const count = (rows: readonly unknown[]) => rows.length;
    const doors = [
      ["#notebooks", `${cards.length} notebooks`, "Each asks a question and answers it with code that was run."],
      ...reference
        ? [[
          "methods.html",
          `${count(Object.values(reference.catalogues).flat())} methods`,
          "Each with its paper, its cost, and where it differs from the authors' code.",
        ], [
          "api/index.html",
          `${count(reference.modules.flatMap(({ symbols }) => symbols))} names in the library`,
          "Signatures, shapes, errors, and examples that the tests run.",
        ]]
        : [],
      [pageOf(REPRODUCTION), "Reproduction", "Every table and figure of the papers: what came of it here, or why not."],
      ...exists(`${root}/${CLAIMS}`)
        ? [[pageOf(CLAIMS), "Claims", "What a position paper says, as tests that can fail, with verdicts."]]
        : [],
      ["README.html", "Run it", "Two commands, and what they need."],
    ].map(([to, title, text]) => `<li><a href="${to}"><h3>${title}</h3><p>${text}</p></a></li>`);
    const options = { ...this.#markdown("README.md", []), heading: undefined };
    return frame({
      title: "Tessera: notebooks for research on tokens",
      up: ".",
      body: `<main><article class="index">\n${markdownHtml(opening, options)}\n` +
        `<h2>Where to go</h2>\n<ul class="cards doors">\n${doors.join("\n")}\n</ul>\n` +
        `<div id="notebooks">\n${html}\n</div>\n</article></main>`,
      where: "<span>Tessera</span>",
      library: Boolean(reference),
    });
  }

  #write(name: string, text: string): void {
    const path = `${this.#folder}/${name}`;
    Deno.mkdirSync(posix.dirname(path), { recursive: true });
    Deno.writeTextFileSync(path, text);
    this.bytes += new TextEncoder().encode(text).length;
  }

  #copy(from: string, name: string): void {
    const path = `${this.#folder}/${name}`;
    Deno.mkdirSync(posix.dirname(path), { recursive: true });
    Deno.copyFileSync(from, path);
    this.bytes += sizeOf(path) ?? 0;
  }
}

function cardHtml({ name, title, about, thumbnail }: NotebookCard): string {
  const picture = thumbnail ? `<img src="${thumbnail}" alt="" loading="lazy">` : "";
  return `<li><a href="${pageOf(name)}"><div class="thumbnail">${picture}</div><p class="name">${
    escapeHtml(shortName(name))
  }</p><h3>${title}</h3><p>${about}</p></a></li>`;
}

/** notebooks/10_a.ipynb as notebooks/10_a.html, lib/stop.ts as lib/stop.ts.html. */
function pageOf(name: string): string {
  return name.replace(/\.(ipynb|md)$/, "") + ".html";
}

function figureFile(name: string, id: string): string {
  return `${name.replace(/\.ipynb$/, "")}_figures/${id && `${id}.js`}`;
}

function shortName(name: string): string {
  return posix.basename(name).replace(/\.ipynb$/, "");
}

function plainText(html: string): string {
  return html.replace(/<[^>]*>/g, "");
}

function contentsHtml(headings: Heading[]): string {
  const sections = headings.filter(({ depth }) => depth === 2);
  if (sections.length < 2) return "";
  return `<nav class="contents" aria-label="On this page"><p>On this page</p><ol>${
    sections.map(({ text, anchor }) => `<li><a href="#${anchor}">${text}</a></li>`).join("")
  }</ol></nav>`;
}

/** Code with marks at the lines that are linked to. */
function withLines(html: string, lines: Set<number> = new Set()): string {
  return html.split("\n").map((line, at) => lines.has(at + 1) ? `<span id="L${at + 1}"></span>${line}` : line).join(
    "\n",
  );
}

interface Frame {
  title: string;
  up: string;
  body: string;
  where: string;
  library: boolean;
}

function frame({ title, up, body, where, library }: Frame): string {
  const places = [
    ["index.html#notebooks", "Notebooks"],
    ...library ? [["methods.html", "Methods"], ["api/index.html", "Library"]] : [],
    [pageOf(REPRODUCTION), "Reproduction"],
    ...exists(`${root}/${CLAIMS}`) ? [[pageOf(CLAIMS), "Claims"]] : [],
  ].map(([to, name]) => `<a href="${up}/${to}">${name}</a>`);
  return `<!DOCTYPE html>
<html lang="en" data-assets="${up}/assets/">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="${up}/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="${up}/assets/katex.min.css">
<link rel="stylesheet" href="${up}/assets/page.css">
<script src="${up}/assets/page.js"></script>
</head>
<body>
<header><nav class="where" aria-label="Where you are">${where}</nav>
<nav class="places" aria-label="Site">${places.join("")}</nav>
<div class="search"><label for="search">Search</label><input type="search" id="search" title="Search: / comes here" role="combobox" aria-expanded="false" aria-controls="found" aria-autocomplete="list" autocomplete="off"><ul id="found" role="listbox" aria-label="Found" hidden></ul></div>
<button type="button" id="theme" aria-label="Theme"></button></header>
${body}
</body>
</html>
`;
}
