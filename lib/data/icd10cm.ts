/**
 * ICD-10-CM, the January 2021 release: diagnosis codes as text, as a tree, and linked by the notes of the tabular list.
 *
 * CDC/NCHS and CMS; data/icd10cm-2021/SOURCE.md.
 *
 * @module
 */
import { remember } from "./files.ts";
import { readGzipText, textRows } from "./text_table.ts";

/** How far below the root: 22 chapters, 296 blocks, 1,911 categories (three characters), 43,106 subcategories. */
export type Icd10cmLevel = "chapter" | "block" | "category" | "subcategory";

/** One row of the tabular list. */
export interface Icd10cmRow {
  /** `E11.9`; a block is `B:E08-E13`, a chapter `CH04`. */
  code: string;
  /** The row above in the tree; null for a chapter. */
  parent: string | null;
  level: Icd10cmLevel;
  /** 1 to 22. */
  chapter: number;
  /** Whether the order file allows it on a bill. Chapters and blocks are not. */
  billable: boolean;
  description: string;
  /** Other names that the tabular list gives for it. */
  inclusionTerms: string[];
}

/** What a note of the tabular list says about two codes. */
export type Icd10cmRelation = "excludes1" | "excludes2" | "useAdditionalCode" | "codeFirst" | "codeAlso";

/** A code named in parentheses in another code's note. */
export interface Icd10cmLink {
  code: string;
  relation: Icd10cmRelation;
  /** A code, or the first and last of a range: `N18.1..N18.6`. */
  target: string;
  /** The words of the note. */
  note: string;
}

/** The whole release. */
export interface Icd10cm {
  /** 45,335 rows, in the order of the tabular list: a parent before its children. */
  rows: Icd10cmRow[];
  /** 10,270 links. */
  links: Icd10cmLink[];
  source: string;
  license: string;
  /** SHA-256 of the file of codes. */
  hash: string;
  /** The row of a code, or of its longest listed prefix (`S52.501A` is `S52.501`); undefined where there is none. */
  resolve(code: string): Icd10cmRow | undefined;
  /** The codes that a link's target stands for: itself, or the categories of a range and what lies between. */
  targets(target: string): string[];
}

const load = remember(async (_: "all"): Promise<Icd10cm> => {
  const [codes, links] = await Promise.all([
    readGzipText("icd10cm-2021/codes.tsv.gz"),
    readGzipText("icd10cm-2021/links.tsv.gz"),
  ]);
  const columns = ["code", "parent", "level", "chapter", "billable", "description", "inclusion_terms"];
  const rows = textRows(codes.text, columns, "codes.tsv.gz")
    .map(([code, parent, level, chapter, billable, description, terms]): Icd10cmRow => ({
      code,
      parent: parent || null,
      level: level as Icd10cmLevel,
      chapter: Number(chapter),
      billable: billable === "1",
      description,
      inclusionTerms: terms ? terms.split(" | ") : [],
    }));
  const byCode = new Map(rows.map((row) => [row.code, row]));

  function resolve(code: string): Icd10cmRow | undefined {
    for (let end = code.length; end >= 3; end--) {
      const row = byCode.get(code.slice(0, end).replace(/\.$/, ""));
      if (row) return row;
    }
  }

  function targets(target: string): string[] {
    const [first, last] = target.split("..");
    if (last === undefined) return byCode.has(first) ? [first] : [];
    // only codes as long as the range's ends: `H40..H42` means three categories, not what lies below them
    return rows.filter(({ code, level }) =>
      (level === "category" || level === "subcategory") && code.length === first.length && code >= first &&
      code.slice(0, last.length) <= last
    ).map(({ code }) => code);
  }

  return {
    rows,
    links: textRows(links.text, ["code", "relation", "target", "note"], "links.tsv.gz")
      .map(([code, relation, target, note]) => ({ code, relation: relation as Icd10cmRelation, target, note })),
    source: "CDC/NCHS and CMS, ICD-10-CM 2021 (data/icd10cm-2021/SOURCE.md)",
    license: "public domain",
    hash: codes.hash,
    resolve,
    targets,
  };
});

/**
 * ICD-10-CM 2021.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { rows, resolve, targets } = await icd10cm.load();
 * assert.equal(rows.length, 45_335);
 * assert.equal(resolve("E11.9")?.description, "Type 2 diabetes mellitus without complications");
 * assert.equal(resolve("S52.501A")?.code, "S52.501");
 * assert.deepEqual(targets("H40..H42"), ["H40", "H42"]);
 * ```
 */
export const icd10cm: { load(): Promise<Icd10cm> } = { load: () => load("all") };
