/**
 * Clinical Classifications Software for ICD-9-CM diagnoses, 2015: every code in one of 283 categories, and in a hierarchy.
 *
 * AHRQ, Healthcare Cost and Utilization Project; data/ccs-icd9-2015/SOURCE.md.
 *
 * @module
 */
import { remember } from "./files.ts";
import { readGzipText, textRows } from "./text_table.ts";

/** Where CCS puts one ICD-9-CM code. */
export interface CcsRow {
  /** Without the dot, as AHRQ writes it. */
  icd9: string;
  /** The short description of ICD-9-CM. */
  description: string;
  /** 1 to 2621; there are 283. */
  category: number;
  categoryLabel: string;
  /** The hierarchy from the top, one to four levels; the first is one of 18 chapters. */
  levels: { code: string; label: string }[];
}

/** What `ccs.load()` returns. */
export interface Ccs {
  /** 15,072 codes. */
  rows: CcsRow[];
  source: string;
  license: string;
  /** SHA-256 of the single-level file. */
  hash: string;
}

const load = remember(async (_: "all"): Promise<Ccs> => {
  const [single, multi] = await Promise.all(
    ["single", "multi"].map((name) => readGzipText(`ccs-icd9-2015/ccs_${name}_dx_tool_2015.csv.gz`)),
  );
  const levelColumns = [1, 2, 3, 4].flatMap((level) => [`CCS LVL ${level}`, `CCS LVL ${level} LABEL`]);
  const levels = new Map(
    textRows(multi.text, ["ICD-9-CM CODE", ...levelColumns], "ccs_multi_dx_tool_2015.csv.gz", ",")
      .map(([icd9, ...cells]) => {
        const pairs = [0, 2, 4, 6].map((k) => ({ code: cells[k], label: cells[k + 1] }));
        return [icd9, pairs.filter(({ code }) => code)];
      }),
  );
  const columns = ["ICD-9-CM CODE", "ICD-9-CM CODE DESCRIPTION", "CCS CATEGORY", "CCS CATEGORY DESCRIPTION"];
  const rows = textRows(single.text, columns, "ccs_single_dx_tool_2015.csv.gz", ",")
    .filter(([icd9]) => icd9) // the first row stands for "no diagnosis"
    .map(([icd9, description, category, categoryLabel]) => (
      { icd9, description, category: Number(category), categoryLabel, levels: levels.get(icd9) ?? [] }
    ));
  return {
    rows,
    source: "AHRQ, HCUP CCS for ICD-9-CM 2015 (data/ccs-icd9-2015/SOURCE.md)",
    license: "public domain",
    hash: single.hash,
  };
});

/**
 * The Clinical Classifications Software.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { rows } = await ccs.load();
 * const diabetes = rows.find(({ icd9 }) => icd9 === "25000")!;
 * assert.equal(diabetes.category, 49);
 * assert.equal(diabetes.levels[1].label, "Diabetes mellitus without complication [49.]");
 * ```
 */
export const ccs: { load(): Promise<Ccs> } = { load: () => load("all") };
