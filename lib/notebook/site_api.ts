/**
 * The library's pages: one for each module folder, with all that it exports, file by file; and the catalogue of methods.
 *
 * @module
 */
import type { ApiModule, ApiSymbol, MethodRow, Reference } from "./site_reference.ts";
import { escapeHtml, type Heading, highlight, markdownHtml, type MarkdownOptions } from "./site_markdown.ts";

/** What a page of the library needs to know of the site. */
export interface ApiLinks {
  /** The address of a file's page at a line, from the page that is made. */
  source: (file: string, line?: number) => string;
  /** The address of a module's page. */
  module: (name: string) => string;
  /** How links in a doc comment of a file are meant. */
  markdown: (file: string) => MarkdownOptions;
}

/** Where each exported name is explained: the module and the anchor; the first one wins. */
export function apiNames(reference: Reference): Map<string, { module: string; anchor: string }> {
  const names = new Map<string, { module: string; anchor: string }>();
  for (const { name: module, symbols } of reference.modules) {
    for (const { name } of symbols) if (!names.has(name)) names.set(name, { module, anchor: name });
  }
  return names;
}

/** A module's page. */
export function moduleHtml(
  { name, file, doc, symbols, handedOn }: ApiModule,
  reference: Reference,
  links: ApiLinks,
): { html: string; headings: Heading[] } {
  const names = apiNames(reference);
  const addressOf = (symbol: string) => {
    const found = names.get(symbol);
    return found && `${found.module === name ? "" : links.module(found.module)}#${found.anchor}`;
  };
  const words = (markdown: string, from: string) =>
    markdownHtml(linked(markdown, addressOf), {
      ...links.markdown(from),
      heading: undefined,
      link: (href) => href.startsWith("symbol:") ? href.slice(7) : links.markdown(from).link?.(href),
    });
  const files = [...Map.groupBy(symbols, (symbol) => symbol.file)];
  const headings: Heading[] = [];
  const sections = files.map(([path, of]) => {
    const anchor = `file-${path.replace(/\.ts$/, "").replace(/[^\w]+/g, "-")}`;
    const short = path.split("/").at(-1)!;
    if (files.length > 1) headings.push({ depth: 2, text: escapeHtml(short), anchor });
    const title = files.length > 1
      ? `<h2 id="${anchor}"><a href="${links.source(path)}">${escapeHtml(short)}</a></h2>\n`
      : "";
    return title + of.map((symbol) => symbolHtml(symbol, links, (text) => words(text, path))).join("\n");
  });
  const others = handedOn.length
    ? `<p class="more">From here, too: ${
      handedOn.map(({ name }) => {
        const address = addressOf(name);
        return address ? `<a href="${address}"><code>${name}</code></a>` : `<code>${name}</code>`;
      }).join(", ")
    }.</p>`
    : "";
  const list = `<p class="names">${
    symbols.filter(({ kind }) => kind === "function" || kind === "class" || kind === "variable")
      .map(({ name }) => `<a href="#${name}"><code>${name}</code></a>`).join(" ")
  }</p>`;
  const html = `<h1 id="module">${escapeHtml(name)}</h1>\n${words(doc, file)}\n` +
    `<pre class="code" tabindex="0"><code>${
      highlight(`import { ... } from "tessera/${file.replace(/^lib\//, "")}";`, "typescript")
    }</code></pre>\n${list}\n${others}\n${sections.join("\n")}`;
  return { html: `<div class="api words">\n${html}\n</div>`, headings };
}

/** `{@link name}` as a link to where the name is explained, else as code. */
function linked(markdown: string, addressOf: (name: string) => string | undefined): string {
  return markdown.replace(/\{@link\s+([^\s}|]+)\s*(?:\|?\s*([^}]*))?\}/g, (_, name: string, label: string) => {
    const address = addressOf(name.split(".")[0]);
    const text = label?.trim() || `\`${name}\``;
    return address ? `[${text}](symbol:${address})` : text;
  });
}

function symbolHtml(symbol: ApiSymbol, links: ApiLinks, words: (markdown: string) => string): string {
  const { name, kind, file, line, signature, doc, params, returns, throws, examples } = symbol;
  const rows = [
    ...params.filter(({ doc }) => doc.trim()).map(({ name, doc }) => [`<code>${escapeHtml(name)}</code>`, doc]),
    ...(returns?.trim() ? [["returns", returns]] : []),
    ...throws.map(({ type, doc }) => [type ? `throws <code>${escapeHtml(type)}</code>` : "throws", doc]),
  ].map(([what, doc]) => `<dt>${what}</dt><dd>${words(doc)}</dd>`);
  return `<section class="symbol">
<h3 id="${name}"><code>${name}</code> <span class="kind">${kind}</span>` +
    `<a class="source" href="${links.source(file, line)}" aria-label="Source of ${name}">source</a></h3>
<pre class="code" tabindex="0"><code>${highlight(signature, "typescript")}</code></pre>
${words(doc)}${rows.length ? `<dl>${rows.join("")}</dl>\n` : ""}${
      examples.length ? `<p class="kind">Example</p>\n${examples.map(words).join("\n")}` : ""
    }</section>`;
}

/** The page of all modules. */
export function modulesHtml({ modules }: Reference, links: ApiLinks): string {
  const rows = modules.filter(({ symbols }) => symbols.length).map(({ name, file, doc, symbols }) =>
    `<tr><td><a href="${links.module(name)}"><code>${name}</code></a></td><td>${
      markdownHtml(firstSentence(doc), { ...links.markdown(file), heading: undefined }).replace(/<\/?p>/g, "")
    }</td><td>${symbols.length}</td></tr>`
  );
  return `<section class="words"><h1 id="library">The library</h1>
<p>Everything that notebooks and programs import, from its own comments: signatures, shapes, errors, examples. The examples
are run by the tests.</p>
<div class="wide" tabindex="0" role="region" aria-label="Modules"><table><thead><tr><th>module</th><th>what it is for</th><th>names</th></tr></thead>
<tbody>${rows.join("\n")}</tbody></table></div></section>`;
}

function firstSentence(doc: string): string {
  return /^[\s\S]*?[.:](?=\s|$)/.exec(doc.trim())?.[0].replace(/:$/, ".") ?? doc;
}

/** How the families of methods are called in headings. */
const FAMILIES: Record<string, string> = {
  prune: "Prune: tokens are dropped",
  pack: "Pack: what is dropped becomes one token",
  merge: "Merge: like tokens become one",
  cluster: "Cluster: groups become one token each",
  pool: "Pool: neighbours become one",
  soft: "Soft: new tokens are made of all",
  transform: "Transform: fewer coefficients",
};

/** The catalogue of methods as a page. */
export function methodsHtml(reference: Reference, links: ApiLinks): { html: string; headings: Heading[] } {
  const { models, caches, text } = reference.catalogues;
  const names = apiNames(reference);
  const headings: Heading[] = [];
  const heading = (depth: number, anchor: string, words: string) => {
    headings.push({ depth, text: escapeHtml(words), anchor });
    return `<h${depth} id="${anchor}">${escapeHtml(words)}</h${depth}>`;
  };
  const method = (row: MethodRow) => {
    const name = String(row.method);
    const found = names.get(name);
    const code = `<code>${escapeHtml(name)}</code>`;
    return found ? `<a href="${links.module(found.module)}#${found.anchor}">${code}</a>` : code;
  };
  const table = (label: string, rows: MethodRow[], how: (row: MethodRow) => string) =>
    `<div class="wide methods" tabindex="0" role="region" aria-label="${
      escapeHtml(label)
    }"><table><thead><tr><th>method</th><th>paper</th><th>how</th><th>cost of deciding</th><th>differs</th></tr></thead><tbody>\n${
      rows.map((row) =>
        `<tr id="method-${escapeHtml(String(row.method))}"><td>${method(row)}</td><td>${paper(row)}</td><td>${
          how(row)
        }</td><td>${escapeHtml(String(row.cost))}</td><td>${escapeHtml(String(row.differs))}</td></tr>`
      ).join("\n")
    }\n</tbody></table></div>`;
  const golden = (row: MethodRow) => row.golden === "none" ? "" : "; golden";
  const inModel = (row: MethodRow) =>
    `reads ${escapeHtml(String(row.needs))}${row.trained === "yes" ? "; trained" : ""}${
      row.traceable === "yes" ? "; traced" : ""
    }${golden(row)}`;
  const families = [...Map.groupBy(models, ({ family }) => String(family))];
  const html = `<h1 id="methods">Methods</h1>
<p class="lead">${models.length} reducers inside a model, ${caches.length} policies of a language model's cache, ${text.length} for prompts and
training texts. Each has one file, its paper at the top, and the same laws.</p>
<p><em>Reads</em> is what a method needs of a block; <em>trained</em> has parts that must be trained; <em>traced</em> runs in a compiled model;
<em>golden</em> agrees with the authors' own code. In costs, n is the number of tokens, k how many stay, C the channels. How to add one:
<a href="${links.source("notebooks/12_your_own_method.ipynb")}">12_your_own_method</a>.</p>
${heading(2, "inside-a-model", "Inside a model")}
${
    families.map(([family, rows]) =>
      `${heading(3, `family-${family}`, FAMILIES[family] ?? family)}\n${table(family, rows, inModel)}`
    ).join("\n")
  }
${heading(2, "cache", "The cache of a language model")}
${table("Cache policies", caches, inModel)}
${heading(2, "text", "Prompts and training texts")}
${
    table(
      "Text",
      text,
      (row) =>
        `${escapeHtml(String(row.reduces))}; needs ${escapeHtml(String(row.needs))}${
          row.trained === "yes" ? "; trained" : ""
        }${golden(row)}`,
    )
  }`;
  return { html: `<div class="words methods-page">\n${html}\n</div>`, headings };
}

/** Authors and title; the section, with the preprint's number as a link. */
function paper({ paper, section }: MethodRow): string {
  const where = escapeHtml(String(section)).replace(
    /arXiv:(\d{4}\.\d{4,5})/g,
    '<a href="https://arxiv.org/abs/$1">arXiv:$1</a>',
  );
  return escapeHtml(String(paper)) +
    (where && where !== "none" ? ` <span class="kind">${/^\d/.test(where) ? "section " : ""}${where}</span>` : "");
}
