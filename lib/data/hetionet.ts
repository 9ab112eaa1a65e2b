/**
 * A small part of Hetionet: genes, compounds, symptoms, anatomies and drug classes around 136 diseases.
 *
 * Himmelstein et al., "Systematic integration of biomedical knowledge prioritizes drugs for repurposing", eLife 2017,
 * doi 10.7554/eLife.26726; data/hetionet-mini/SOURCE.md.
 *
 * @module
 */
import { remember } from "./files.ts";
import { readGzipText, textRows } from "./text_table.ts";

/** A node of the network. */
export interface HetionetNode {
  /** `Disease::DOID:9352`. */
  id: string;
  kind: string;
  name: string;
}

/** An edge of the network. */
export interface HetionetEdge {
  source: string;
  /** Kind of source, relation, kind of target, abbreviated: `CtD`. */
  metaedge: string;
  target: string;
  relation: string;
  evidence: string;
  /** Each edge keeps the licence of who published it. */
  license: string;
}

/** What `hetionet.load()` returns. */
export interface Hetionet {
  /** 4,813 nodes. */
  nodes: HetionetNode[];
  /** 13,728 edges. */
  edges: HetionetEdge[];
  /** Codes of 107 of the diseases, 485 rows, as upstream has them (misprints such as `I71\,2` included). */
  codes: { disease: string; vocabulary: "ICD9" | "ICD10"; code: string }[];
  source: string;
  license: string;
  /** SHA-256 of the file of edges. */
  hash: string;
}

const load = remember(async (_: "all"): Promise<Hetionet> => {
  const [nodes, edges, codes] = await Promise.all(
    ["nodes", "edges", "disease_icd"].map((name) => readGzipText(`hetionet-mini/${name}.tsv.gz`)),
  );
  const edgeColumns = ["source", "metaedge", "target", "relation", "evidence", "license"];
  return {
    nodes: textRows(nodes.text, ["id", "kind", "name"], "nodes.tsv.gz").map(([id, kind, name]) => ({ id, kind, name })),
    edges: textRows(edges.text, edgeColumns, "edges.tsv.gz")
      .map(([source, metaedge, target, relation, evidence, license]) => (
        { source, metaedge, target, relation, evidence, license }
      )),
    codes: textRows(codes.text, ["disease", "vocabulary", "code"], "disease_icd.tsv.gz")
      .map(([disease, vocabulary, code]) => ({ disease, vocabulary: vocabulary as "ICD9" | "ICD10", code })),
    source: "Himmelstein et al. 2017, Hetionet v1.0, a part (data/hetionet-mini/SOURCE.md)",
    license: "CC0 1.0, CC BY 4.0 or CC BY 3.0, per edge",
    hash: edges.hash,
  };
});

/**
 * The part of Hetionet that lies in `data/`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { nodes, edges } = await hetionet.load();
 * assert.equal(nodes.find(({ id }) => id === "Disease::DOID:9352")?.name, "type 2 diabetes mellitus");
 * assert.equal(edges.length, 13_728);
 * ```
 */
export const hetionet: { load(): Promise<Hetionet> } = { load: () => load("all") };
