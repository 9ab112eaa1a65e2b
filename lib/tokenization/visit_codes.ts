/**
 * The codes of patients' visits as what MedTok reads: described as well as the open data allow, and with a place in the open
 * knowledge graph where they have one.
 *
 * @module
 */
import { ccs, gems, icd10cm, type VisitTable } from "../data/mod.ts";
import { codeSystems } from "./code_system.ts";
import { egoGraph, type EgoOptions, type KnowledgeGraph } from "./knowledge_graph.ts";
import { type CodeInput, openMedicalGraph } from "./open_codes.ts";
import { wordsOf } from "./text_encoder.ts";

/** AHRQ's notes on when a code was in use: `(Begin 2002)`. */
const YEARS = / \((Begin|End)[^)]*\)/g;

/** Options of {@link codesOfVisits}. */
export interface CodesOfVisitsOptions extends EgoOptions {
  /** A graph made by `openMedicalGraph` before; made anew where it is absent. */
  readonly graph?: KnowledgeGraph;
}

/** What {@link codesOfVisits} returns. */
export interface CodesOfVisits {
  readonly graph: KnowledgeGraph;
  /** Each code once, in the order in which it first occurs. */
  readonly codes: readonly CodeInput[];
  /** Codes of which nobody here knows a text: their description is the code itself. */
  readonly withoutText: number;
  /** Codes that have no node of the graph. */
  readonly withoutGraph: number;
}

/**
 * The codes of a table of visits. ICD-10-CM has its official texts and its own nodes, ICD-9-CM AHRQ's short texts and the nodes
 * that it is mapped to; a drug has the name that its source gives, and the node of the compound whose name is in it. Procedures
 * of ICD-9 have no open text here.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readMeds } from "tessera/data/mod.ts";
 * import { knowledgeGraph } from "tessera/tokenization/mod.ts";
 * const graph = knowledgeGraph([{ id: "ICD10CM:I10", label: "Essential (primary) hypertension", kind: "code" }], []);
 * const table = await readMeds(new URL("../../data/event-samples/meds.csv", import.meta.url));
 * const { codes } = await codesOfVisits(table, { graph });
 * const pressure = codes.find(({ code }) => code === "I10")!;
 * assert.deepEqual([pressure.description, [...pressure.nodes]], ["Essential (primary) hypertension", [0]]);
 * ```
 */
export async function codesOfVisits(
  { patients }: VisitTable,
  { graph: given, ...ego }: CodesOfVisitsOptions = {},
): Promise<CodesOfVisits> {
  const graph = given ?? await openMedicalGraph();
  const [icd, { rows: nine }, mappings] = await Promise.all([icd10cm.load(), ccs.load(), gems.load()]);
  const textOf9 = new Map(nine.map(({ icd9, description }) => [icd9, description.replace(YEARS, "")]));
  const mapped = Map.groupBy(mappings.rows.filter(({ noMap }) => !noMap), ({ icd9 }) => icd9);
  const compounds = new Map(
    graph.nodes.flatMap(({ kind, label }, node) =>
      kind === "compound" ? [[wordsOf(label).join(" "), node] as const] : []
    ),
  );
  const compoundOf = (text: string): number[] => {
    const words = wordsOf(text);
    for (let count = Math.min(3, words.length); count > 0; count--) {
      for (let from = 0; from + count <= words.length; from++) {
        const node = compounds.get(words.slice(from, from + count).join(" "));
        if (node !== undefined) return [node];
      }
    }
    return [];
  };
  const nodesOf10 = (code: string): number[] => {
    const row = icd.resolve(codeSystems.ICD10CM.normalise(code) ?? code);
    const node = row && graph.indexOf(`ICD10CM:${row.code}`);
    return node === undefined ? [] : [node];
  };
  const about = (system: string, code: string, text: string): { description: string; roots: number[] } => {
    if (system === "ICD10CM") return { description: icd.resolve(code)?.description ?? text, roots: nodesOf10(code) };
    if (system !== "ICD9CM") return { description: text, roots: compoundOf(text) };
    const plain = code.replace(".", "");
    const roots = (mapped.get(plain) ?? []).flatMap(({ icd10 }) => nodesOf10(icd10));
    return { description: textOf9.get(plain) ?? text, roots };
  };
  const codes = new Map<string, CodeInput>();
  let withoutText = 0, withoutGraph = 0;
  for (const { visits } of patients) {
    for (const { system, code, text = "" } of visits.flatMap((visit) => visit.codes)) {
      if (codes.has(`${system}:${code}`)) continue;
      const { description, roots } = about(system, code, text);
      if (!description.trim()) withoutText++;
      if (!roots.length) withoutGraph++;
      const subgraph = egoGraph(graph, [...new Set(roots)], ego);
      codes.set(`${system}:${code}`, {
        system,
        code,
        description: description.trim() || `${system} ${code}`,
        ...subgraph,
      });
    }
  }
  return { graph, codes: [...codes.values()], withoutText, withoutGraph };
}
