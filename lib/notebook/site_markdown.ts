/**
 * Markdown of pages as HTML: marked reads it, KaTeX sets the mathematics, highlight.js colours code. All of it happens when
 * the page is made, so that a page asks nobody for anything.
 *
 * @module
 */
// @ts-types="./highlight.d.ts"
import hljs from "highlight.js/lib/core";
// @ts-types="./highlight_language.d.ts"
import bash from "highlight.js/lib/languages/bash";
// @ts-types="./highlight_language.d.ts"
import json from "highlight.js/lib/languages/json";
// @ts-types="./highlight_language.d.ts"
import python from "highlight.js/lib/languages/python";
// @ts-types="./highlight_language.d.ts"
import typescript from "highlight.js/lib/languages/typescript";
import katex from "katex";
import { Marked, type Tokens } from "marked";
import { plainAnchor } from "./links.ts";

hljs.registerLanguage("bash", bash);
hljs.registerLanguage("json", json);
hljs.registerLanguage("python", python);
hljs.registerLanguage("typescript", typescript);
const ALIASES: Record<string, string> = { ts: "typescript", js: "typescript", sh: "bash", shell: "bash", py: "python" };

/** A heading of a page. */
export interface Heading {
  depth: number;
  /** HTML. */
  text: string;
  anchor: string;
}

/** What Markdown cannot know of the page around it. */
export interface MarkdownOptions {
  /** Where a link leads on the site; undefined for what is not there, which then is no link. */
  link?: (href: string) => string | undefined;
  /** Where an image lies. */
  image?: (href: string) => string;
  /** Called for each heading, in order. */
  heading?: (heading: Heading) => void;
}

/** Text made safe for HTML, in content and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);
}

/**
 * Code with its words marked by class, without a frame.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.match(highlight("const a = 1 < 2;", "typescript"), /<span class="hljs-keyword">const<\/span> a = .*&lt;/);
 * assert.equal(highlight("a < b", "no language"), "a &lt; b");
 * ```
 */
export function highlight(code: string, language: string): string {
  const name = ALIASES[language] ?? language;
  return hljs.getLanguage(name) ? hljs.highlight(code, { language: name }).value : escapeHtml(code);
}

/**
 * A formula as HTML, with MathML beside it for screen readers. What is no formula stays as it is written.
 *
 * @param display On a line of its own.
 */
export function formula(tex: string, display: boolean): string {
  return katex.renderToString(tex, { displayMode: display, throwOnError: false, errorColor: "#b00020" });
}

interface MathToken extends Tokens.Generic {
  tex: string;
  display: boolean;
}

/** `$x$` in a line, `$$x$$` on its own; as in Jupyter, no blank stands inside the marks, and `\$` is a dollar. */
const mathematics = {
  extensions: [{
    name: "formula",
    level: "inline" as const,
    start: (text: string) => text.indexOf("$"),
    tokenizer(text: string): MathToken | undefined {
      const display = /^\$\$([\s\S]+?)\$\$/.exec(text);
      const inline = display ?? /^\$((?!\s)(?:\\.|[^$\\])*?[^\s\\]|[^\s$\\])\$(?!\d)/.exec(text);
      if (!inline) return undefined;
      return { type: "formula", raw: inline[0], tex: inline[1].trim(), display: Boolean(display) };
    },
    renderer: (token: Tokens.Generic) => formula((token as MathToken).tex, (token as MathToken).display),
  }],
};

/**
 * Markdown as HTML.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(markdownHtml("*a* costs \\$5").trim(), "<p><em>a</em> costs $5</p>");
 * assert.match(markdownHtml("where $x_1$ is"), /class="katex"/);
 * ```
 */
export function markdownHtml(text: string, { link, image, heading }: MarkdownOptions = {}): string {
  const marked = new Marked(mathematics);
  const taken = new Set<string>();
  marked.use({
    renderer: {
      heading({ tokens, depth, text }) {
        const html = this.parser.parseInline(tokens);
        let anchor = plainAnchor(text);
        for (let n = 1; taken.has(anchor); n++) anchor = `${plainAnchor(text)}-${n}`;
        taken.add(anchor);
        heading?.({ depth, text: html, anchor });
        return `<h${depth} id="${anchor}">${html}<a class="anchor" href="#${anchor}" aria-label="Link to this heading">#</a></h${depth}>\n`;
      },
      code: ({ text, lang = "" }) =>
        `<pre class="code" tabindex="0"><code>${highlight(text, lang.split(/\s/)[0])}</code></pre>\n`,
      link({ href, title, tokens }) {
        const html = this.parser.parseInline(tokens);
        const to = link ? link(href) : href;
        if (to === undefined) return html;
        return `<a href="${escapeHtml(to)}"${title ? ` title="${escapeHtml(title)}"` : ""}>${html}</a>`;
      },
      image({ href, title, text }) {
        const from = escapeHtml(image ? image(href) : href);
        return `<img src="${from}" alt="${escapeHtml(text)}"${
          title ? ` title="${escapeHtml(title)}"` : ""
        } loading="lazy">`;
      },
      table(token) {
        const row = (cells: Tokens.TableCell[], kind: "th" | "td") =>
          `<tr>${
            cells.map(({ tokens, align }) =>
              `<${kind}${align ? ` style="text-align: ${align}"` : ""}>${this.parser.parseInline(tokens)}</${kind}>`
            ).join("")
          }</tr>`;
        const head = token.header.some(({ text }) => text.trim()) ? `<thead>${row(token.header, "th")}</thead>` : "";
        const body = token.rows.map((cells) => row(cells, "td")).join("\n");
        return `<div class="wide" tabindex="0" role="region" aria-label="Table"><table>${head}<tbody>${body}</tbody></table></div>\n`;
      },
    },
  });
  return marked.parse(text, { async: false });
}
