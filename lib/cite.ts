/**
 * `cite("tome")` in a notebook: the full reference of a method, from what stands at the top of its file, or of one of the
 * three papers, from CITATION.cff.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Help } from "./help.ts";

/** A publication. */
interface Reference {
  /** "Bolya et al.", or all of them where we know them. */
  readonly authors: string;
  readonly title: string;
  /** With the year: "ICLR 2023". */
  readonly venue: string;
  readonly arXiv: string;
  /** Where the reference stands, from the project's root. */
  readonly path: string;
  /** The export whose doc comment it stands in, in small letters; undefined at the top of a file. */
  readonly of?: string;
}

/** What lib says of its sources. */
interface Sources {
  readonly references: readonly Reference[];
  /** The files that export a name. */
  readonly files: ReadonlyMap<string, readonly string[]>;
  /** Preprints of the methods of all catalogues, by the method's name. */
  readonly methods: ReadonlyMap<string, readonly string[]>;
}

interface CitationFile {
  readonly title: string;
  readonly license: string;
  readonly authors: readonly { readonly name: string }[];
  readonly references: readonly {
    readonly title: string;
    readonly year: number;
    readonly authors: readonly { readonly "family-names": string; readonly "given-names": string }[];
    readonly conference?: { readonly name: string };
    readonly identifiers: readonly { readonly value: string }[];
  }[];
}

/** The three papers, by what people call them. */
const papers: Readonly<Record<string, { readonly arXiv: string; readonly path: string }>> = {
  medtok: { arXiv: "2502.04397", path: "lib/tokenization" },
  tokenization: { arXiv: "2502.04397", path: "lib/tokenization" },
  clef: { arXiv: "2502.03569", path: "lib/editing" },
  editing: { arXiv: "2502.03569", path: "lib/editing" },
  beyond: { arXiv: "2505.18227", path: "lib/reduction" },
  reduction: { arXiv: "2505.18227", path: "lib/reduction" },
};

const lib = fileURLToPath(new URL("./", import.meta.url));
/** Authors, "title", venue, number: as references are written in doc comments. */
const REFERENCE =
  /((?:\p{Lu}[\p{L}'-]+(?: \p{Lu}[\p{L}'-]+)*)(?:(?:, (?:and )?| and )\p{Lu}[\p{L}'-]+(?: \p{Lu}[\p{L}'-]+)*)*(?: et al\.)?), "([^"]+)"(?: \([^)]*\))?,(?: ([^":;()]*?),)? arXiv:(\d{4}\.\d{5})/gu;
/** A doc comment, and the name of what is exported right below it. */
const DOCUMENTED = /(\/\*\*[^]*?\*\/)(?:\s*export (?:async )?(?:function|class|const) (\w+))?/g;
const PREPRINT = /arXiv:(\d{4}\.\d{5})/g;

let known: Promise<Sources> | undefined;

/**
 * The full reference of a method or a paper: authors, title, venue, year, preprint, and where it is here.
 *
 * @param what A method as a catalogue or lib names it, the function itself, `medtok`, `clef`, `beyond`, `tessera`, or the
 *   number of a preprint. Capitals do not matter.
 * @returns Text that a notebook shows. For a name without a reference, the names that resemble it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.match((await cite("clef")).text, /Michelle M. Li, .* ICLR 2026, \[arXiv:2502.03569\]/);
 * ```
 */
export async function cite(what: string | { readonly name: string }): Promise<Help> {
  const name = typeof what === "string" ? what.trim().replace(/\(\)$/, "") : what.name;
  known ??= readSources();
  const [sources, file] = await Promise.all([known, readCitationFile()]);
  const text = name.toLowerCase() === "tessera" ? ofProject(file) : textOf(name, sources, file);
  return Object.assign({ text, toString: () => text }, {
    [Symbol.for("Jupyter.display")]: () => ({ "text/markdown": text, "text/plain": text }),
  });
}

function textOf(name: string, sources: Sources, file: CitationFile): string {
  const found = referencesOf(name, sources);
  if (!found.length) return unknown(name, sources);
  const ofFile = new Map(file.references.map((reference) => [numberOf(reference), reference]));
  return found.map((reference) => {
    const whole = ofFile.get(reference.arXiv);
    const here = ` In this library: \`${papers[name.toLowerCase()]?.path ?? reference.path}\`.`;
    return (whole ? line(fromFile(whole)) : line(reference)) + here;
  }).join("\n\n");
}

/** A catalogue's word on a name goes before that of the file which exports it. */
function referencesOf(name: string, { references, files, methods }: Sources): Reference[] {
  const key = name.toLowerCase();
  const own = files.get(key) ?? [];
  const number = /^(?:arxiv:)?(\d{4}\.\d{5})$/.exec(key)?.[1] ?? papers[key]?.arXiv;
  const numbers = number ? [number] : methods.get(key);
  if (numbers) return numbers.flatMap((arXiv) => best(references.filter((one) => one.arXiv === arXiv), own));
  const atFile = references.filter(({ path }) => own.includes(path)), atName = atFile.filter(({ of }) => of === key);
  const stated = atName.length ? atName : atFile.filter(({ of }) => of === undefined);
  return [...Map.groupBy(stated, ({ arXiv }) => arXiv).values()].flatMap((group) => best(group, own));
}

/** Of several mentions that of the method's own file, or of a whole module, and there the one with the full title. */
function best(mentions: readonly Reference[], own: readonly string[]): Reference[] {
  const rank = ({ path, title }: Reference) =>
    (own.includes(path) ? 2000 : path.endsWith("/mod.ts") ? 1000 : 0) + title.length;
  return mentions.toSorted((a, b) => rank(b) - rank(a)).slice(0, 1);
}

function unknown(name: string, { files, methods, references }: Sources): string {
  const wanted = name.toLowerCase();
  const cited = new Set(references.map(({ path }) => path));
  const others = [...files].filter(([, paths]) => paths.some((path) => cited.has(path))).map(([other]) => other);
  const near = [...new Set([...Object.keys(papers), "tessera", ...methods.keys(), ...others])].filter((other) =>
    wanted.length > 1 && (other.includes(wanted) || wanted.includes(other) || isNear(wanted, other))
  ).slice(0, 12);
  return `there is no reference for ${name || "(no name)"}${
    near.length ? `; there are ${near.join(", ")}` : "; the catalogues of lib/reduction list the names"
  }`;
}

/** Whether two words differ by one letter: another one, one more, one less, or two that changed places. */
function isNear(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false;
  let start = 0, end = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const [x, y] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  return Math.max(x.length, y.length) <= 1 || (x.length === 2 && x === [...y].toReversed().join(""));
}

function line({ authors, title, venue, arXiv }: Omit<Reference, "path">): string {
  return `${authors}, "${title}", ${venue ? `${venue}, ` : ""}[arXiv:${arXiv}](https://arxiv.org/abs/${arXiv}).`;
}

type InFile = CitationFile["references"][number];

const numberOf = ({ identifiers }: InFile) => identifiers[0].value.replace("arXiv:", "");

function fromFile(reference: InFile): Omit<Reference, "path"> {
  const { title, year, authors, conference } = reference;
  return {
    authors: authors.map((author) => `${author["given-names"]} ${author["family-names"]}`).join(", "),
    title,
    venue: conference ? `${conference.name} ${year}` : String(year),
    arXiv: numberOf(reference),
  };
}

function ofProject({ title, license, authors, references }: CitationFile): string {
  const papers = references.map((reference) => `- ${line(fromFile(reference))}`).join("\n");
  return `${
    authors.map(({ name }) => name).join(", ")
  }, "${title}", licence ${license}. Its three papers:\n\n${papers}`;
}

async function readCitationFile(): Promise<CitationFile> {
  const { parse } = await import("yaml");
  return parse(await Deno.readTextFile(new URL("../CITATION.cff", import.meta.url))) as CitationFile;
}

async function readSources(): Promise<Sources> {
  const { catalogue, cacheCatalogue, textCatalogue } = await import("./reduction/mod.ts"); // only when somebody asks
  const facts = [
    ...catalogue.names.map((method) => ({ method, section: catalogue.get(method).section })),
    ...cacheCatalogue.names.map((method) => ({ method, section: cacheCatalogue.methods[method].section })),
    ...textCatalogue.rows().map(({ method, section }) => ({ method: String(method), section: String(section) })),
  ];
  const references: Reference[] = [], files = new Map<string, string[]>();
  for (const path of filesOf(lib)) {
    const source = Deno.readTextFileSync(path), place = `lib/${path.slice(lib.length)}`;
    for (const [, comment, of] of source.matchAll(DOCUMENTED)) {
      for (const [, authors, title, venue = "", arXiv] of comment.replace(/\s*\n\s*\*\s*/g, " ").matchAll(REFERENCE)) {
        references.push({ authors, title, venue, arXiv, path: place, of: of?.toLowerCase() });
      }
    }
    for (const [, exported] of source.matchAll(/^export (?:async )?(?:function|class|const) (\w+)/gm)) {
      const key = exported.toLowerCase();
      files.set(key, [...files.get(key) ?? [], place]);
    }
  }
  const numbers = facts.map(({ method, section }) =>
    [method.toLowerCase(), [...section.matchAll(PREPRINT)].map(([, number]) => number)] as const
  );
  return { references, files, methods: new Map(numbers.filter(([, found]) => found.length)) };
}

function filesOf(folder: string): string[] {
  return [...Deno.readDirSync(folder)].sort((a, b) => a.name < b.name ? -1 : 1).flatMap(({ name, isDirectory }) => {
    if (isDirectory) return filesOf(`${folder}${name}/`);
    return name.endsWith(".ts") ? [folder + name] : [];
  });
}
