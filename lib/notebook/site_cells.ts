/**
 * The cells of a notebook as HTML: words, code, and outputs. A figure is its static picture until somebody touches it; then
 * the page loads plotly.js and the figure's data, both from beside it.
 *
 * @module
 */
import { type Cell, type Json, type Notebook, type Output, sourceOf } from "./notebook.ts";
import { escapeHtml, formula, highlight, markdownHtml, type MarkdownOptions } from "./site_markdown.ts";

const PLOTLY = "application/vnd.plotly.v1+json";
/** Kinds of traces that are ink on paper, so that both can change with the theme. */
const INK_ON_PAPER = ["scatter", "scattergl", "bar", "box", "violin", "histogram"];

/** A figure of a page. */
export interface PageFigure {
  id: string;
  /** Plotly's data and layout. */
  spec: Record<string, Json>;
  /** The static picture as a file of its own. */
  svg?: string;
}

/** What the cells of a notebook become. */
export interface CellsHtml {
  html: string;
  figures: PageFigure[];
}

/** All cells of a notebook. */
export function cellsHtml(notebook: Notebook, options: MarkdownOptions): CellsHtml {
  const figures: PageFigure[] = [];
  const html = notebook.cells.map((cell) => {
    if (cell.cell_type === "markdown") return words(cell, options);
    return cell.cell_type === "code" ? code(cell, figures, options) : `<pre>${escapeHtml(sourceOf(cell))}</pre>`;
  });
  return { html: html.join("\n"), figures };
}

function words(cell: Cell, options: MarkdownOptions): string {
  const attachments = (cell.attachments ?? {}) as Record<string, Record<string, Json>>;
  const image = (href: string) => {
    const [type, data] = Object.entries(attachments[decodeURI(href).replace(/^attachment:/, "")] ?? {})[0] ?? [];
    if (href.startsWith("attachment:") && type) return `data:${type};base64,${text(data).replace(/\s/g, "")}`;
    return options.image?.(href) ?? href;
  };
  return `<section class="words">\n${markdownHtml(sourceOf(cell), { ...options, image })}</section>`;
}

function code(cell: Cell, figures: PageFigure[], options: MarkdownOptions): string {
  if (!sourceOf(cell).trim()) return "";
  const count = cell.execution_count ? `<span class="count" aria-hidden="true">${cell.execution_count}</span>` : "";
  const source = `<pre class="code" tabindex="0"><code>${highlight(sourceOf(cell), "typescript")}</code></pre>`;
  const outputs = (cell.outputs ?? []).map((output) => outputHtml(output, figures, options)).filter(Boolean);
  const shown = outputs.length ? `\n<div class="outputs">\n${outputs.join("\n")}\n</div>` : "";
  return `<section class="cell" id="cell-${cell.id}">${count}${source}${shown}</section>`;
}

function outputHtml(output: Output, figures: PageFigure[], options: MarkdownOptions): string {
  if (output.output_type === "stream") {
    return plain(output.text.join(""), output.name === "stderr" ? "stream stderr" : "stream");
  }
  if (output.output_type === "error") return plain(`${output.ename}: ${output.evalue}`, "error");
  const { data } = output;
  if (data[PLOTLY]) return figureHtml(data, figures);
  if (data["image/svg+xml"]) return `<figure class="picture">${withoutScripts(text(data["image/svg+xml"]))}</figure>`;
  for (const type of ["image/png", "image/jpeg"]) {
    if (!data[type]) continue;
    const source = `data:${type};base64,${text(data[type]).replace(/\s/g, "")}`;
    return `<figure class="picture"><img src="${source}" alt="${escapeHtml(text(data["text/plain"]))}"></figure>`;
  }
  if (data["text/html"]) {
    return `<div class="wide" tabindex="0" role="region" aria-label="Table">${
      withoutScripts(text(data["text/html"]))
    }</div>`;
  }
  if (data["text/markdown"]) {
    return `<div class="words">${markdownHtml(text(data["text/markdown"]), { ...options, heading: undefined })}</div>`;
  }
  if (data["text/latex"]) return formula(text(data["text/latex"]).replace(/^\$\$?|\$\$?$/g, ""), true);
  return data["text/plain"] === undefined ? "" : plain(text(data["text/plain"]), "result");
}

function figureHtml(data: Record<string, Json>, figures: PageFigure[]): string {
  const spec = data[PLOTLY] as Record<string, Json>;
  const svg = data["image/svg+xml"] === undefined ? undefined : withoutScripts(text(data["image/svg+xml"]));
  const id = `figure-${figures.length + 1}`;
  figures.push({ id, spec, svg });
  const changes = isInkOnPaper(spec);
  const still = svg ? (changes ? inThemeColours(svg) : svg) : `<p>${escapeHtml(text(data["text/plain"]))}</p>`;
  return `<figure class="plotly${changes ? " themed" : ""}" id="${id}" tabindex="0"><div class="still">${still}</div>` +
    `<div class="live"></div></figure>`;
}

function isInkOnPaper({ data = [], layout }: Record<string, Json>): boolean {
  const traces = data as { type?: string }[];
  return !(layout as { images?: Json[] } | undefined)?.images?.length &&
    traces.every(({ type = "scatter" }) => INK_ON_PAPER.includes(type));
}

/** The greys of our figures as the page's own, which follow the theme. */
function inThemeColours(svg: string): string {
  const colours: Record<string, string> = {
    "rgb(255, 255, 255)": "var(--paper)",
    "rgb(34, 34, 34)": "var(--ink)",
    "rgb(68, 68, 68)": "var(--ink)",
    "rgb(136, 136, 136)": "var(--axis)",
    "rgb(230, 230, 230)": "var(--grid)",
  };
  return svg.replace(
    /(fill|stroke):\s*(rgb\([^)]*\))/g,
    (whole, what, colour) => `${what}:${colours[colour] ?? whole.slice(what.length + 1)}`,
  );
}

function plain(content: string, kind: string): string {
  // deno-lint-ignore no-control-regex -- colours of a terminal
  const words = content.replace(/\x1b\[[0-9;]*m/g, "").replace(/\n$/, "");
  return words ? `<pre class="${kind}" tabindex="0">${escapeHtml(words)}</pre>` : "";
}

/** Outputs are our own, but a page should not run what a value says. */
function withoutScripts(html: string): string {
  return html.replace(/<script\b[\s\S]*?<\/script\s*>|<script\b[^>]*>/gi, "").replace(
    /\son[a-z]+\s*=\s*("[^"]*"|'[^']*')/gi,
    "",
  );
}

function text(value: Json | undefined): string {
  return Array.isArray(value) ? value.join("") : String(value ?? "");
}
