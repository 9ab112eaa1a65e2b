/**
 * Links in Markdown that lead nowhere: to a file that is not there, or to a heading that the page does not have.
 *
 * @module
 */
import { posix } from "node:path";

/** A link that leads nowhere. */
export interface DeadLink {
  /** Counted from 1. */
  line: number;
  message: string;
}

/** What the links are looked up in. */
export interface Shelf {
  /** Whether there is a file or a folder; paths are those of the pages. */
  exists(path: string): boolean;
  /** The Markdown of a page, of a notebook that of its cells; undefined for what has no headings. */
  markdownOf(path: string): string | undefined;
}

/**
 * Finds the links and images of a page that lead to no file or no heading. Addresses on the web are left out: nothing is
 * asked of a network.
 *
 * @param path The page's path; relative links start in its folder.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const shelf = { exists: (path: string) => path === "docs/b.md", markdownOf: () => "# Only this" };
 * const dead = deadLinks("docs/a.md", "[one](b.md#only-this)\n[two](b.md#other)\n[three](c.md)", shelf);
 * assert.deepEqual(dead.map(({ line }) => line), [2, 3]);
 * ```
 */
export function deadLinks(path: string, markdown: string, { exists, markdownOf }: Shelf): DeadLink[] {
  const prose = withoutCode(markdown);
  const link = /\]\(\s*<?([^)\s>]+)[^)]*\)|\b(?:src|href)="([^"]+)"|^ *\[[^\]]+\]: +<?([^\s>]+)/gm;
  return [...prose.matchAll(link)].flatMap((found) => {
    const address = found[1] ?? found[2] ?? found[3];
    if (/^[a-z][a-z+.-]*:/i.test(address) || address.startsWith("attachment:")) return [];
    const [target, anchor] = decodeURI(address).split("#", 2);
    const line = prose.slice(0, found.index).split("\n").length;
    const file = target ? posix.normalize(posix.join(posix.dirname(path), target)) : path;
    if (target && !exists(file)) return [{ line, message: `links to ${target}, which does not exist` }];
    const page = anchor && /\.(md|ipynb)$/.test(file) ? (target ? markdownOf(file) : markdown) : undefined;
    if (page === undefined || anchorsOf(page).has(plainAnchor(anchor))) return [];
    return [{ line, message: `links to #${anchor}, but ${target || "the page"} has no such heading` }];
  });
}

/** Code blocks and code in a line, in spaces: lines and columns stay. */
function withoutCode(markdown: string): string {
  return markdown.replace(/^ *(```|~~~).*\n[\s\S]*?^ *\1.*$|`[^`\n]*`/gm, (code) => code.replace(/[^\n]/g, " "));
}

function anchorsOf(markdown: string): Set<string> {
  const headings = [...withoutBlocks(markdown).matchAll(/^ {0,3}#{1,6} +(.+?) *#*$/gm)].map(([, text]) => text);
  const named = [...markdown.matchAll(/\b(?:id|name)="([^"]+)"/g)].map(([, name]) => name);
  return new Set([...headings, ...named].map(plainAnchor));
}

function withoutBlocks(markdown: string): string {
  return markdown.replace(/^ *(```|~~~).*\n[\s\S]*?^ *\1.*$/gm, "");
}

/** A heading as an anchor. GitHub writes `what-we-saw`, JupyterLab `What-we-saw?`: what both have in common. */
export function plainAnchor(text: string): string {
  const words = text.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
  return words.replace(/[^\p{L}\p{N} _-]/gu, "").trim().replace(/ /g, "-");
}
