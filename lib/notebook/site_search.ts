/**
 * The index of the search: a page's sections with their words. It is a script, since a page that is read from a disk may not
 * fetch a file.
 *
 * @module
 */

/** A section of a page: what is found. */
export interface SearchEntry {
  /** The page's title. */
  page: string;
  /** The section's heading; empty for what stands above the first one. */
  heading: string;
  /** From the site's folder, with the anchor. */
  address: string;
  text: string;
}

/** Words of one section that are kept. */
const LIMIT = 4000;

/**
 * The sections of a page.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const [, second] = searchEntries("a.html", "A", '<h1 id="a">A</h1><p>one</p><h2 id="b">B</h2><p>two &amp; three</p>');
 * assert.deepEqual(second, { page: "A", heading: "B", address: "a.html#b", text: "two & three" });
 * ```
 */
export function searchEntries(address: string, page: string, html: string): SearchEntry[] {
  const parts = html.split(/<h([1-4]) id="([^"]*)"[^>]*>([\s\S]*?)<\/h\1>/);
  const entries: SearchEntry[] = [];
  for (let i = 1; i < parts.length; i += 4) {
    const [depth, anchor, heading, body] = parts.slice(i, i + 4);
    const words = wordsOf(
      heading.replace(/<a class="(anchor|source)"[\s\S]*?<\/a>|<span class="kind">.*?<\/span>/g, ""),
    );
    entries.push({
      page,
      heading: depth === "1" ? "" : words,
      address: depth === "1" ? address : `${address}#${anchor}`,
      text: wordsOf(body).slice(0, LIMIT),
    });
  }
  return entries.length ? entries : [{ page, heading: "", address, text: wordsOf(html).slice(0, LIMIT) }];
}

/** The words of HTML, without pictures, and of a formula only what is written. */
function wordsOf(html: string): string {
  return html
    .replace(/<(svg|nav|math)\b[\s\S]*?<\/\1>/g, " ") // KaTeX writes a formula twice; its HTML stays
    .replace(/<\/?(?:span|code|em|strong|a)\b[^>]*>/g, "")
    .replace(/<[^>]*>/g, " ")
    .replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&quot;/g, '"').replace(/&amp;/g, "&")
    .replace(/\s+/g, " ").trim();
}

/** The index as a script: each page's title once, then its sections. */
export function searchScript(entries: SearchEntry[]): string {
  const pages = [...Map.groupBy(entries, ({ page, address }) => `${address.split("#")[0]}\0${page}`)];
  const data = pages.map(([key, sections]) => {
    const [address, page] = key.split("\0");
    return [address, page, sections.map(({ heading, address, text }) => [heading, address.split("#")[1] ?? "", text])];
  });
  return `tessera.index(${JSON.stringify(data)});\n`;
}
