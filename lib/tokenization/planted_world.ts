/**
 * The planted world as MedTok reads codes: a knowledge graph, and for each code the subgraph around its concept.
 *
 * @module
 */
import { type PlantedCodes, plantedCodes, type PlantedOptions } from "../data/mod.ts";
import { egoGraph, type KnowledgeGraph, knowledgeGraph } from "./knowledge_graph.ts";
import type { CodeInput } from "./open_codes.ts";

/** What {@link plantedWorld} returns. */
export interface PlantedWorld {
  readonly planted: PlantedCodes;
  readonly graph: KnowledgeGraph;
  /** In the order of `planted.codes`. Codes of one concept share one subgraph, of at most 24 nodes. */
  readonly codes: readonly CodeInput[];
}

/**
 * The planted world, with its true factors.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { codes, planted } = plantedWorld({ seed: 0 });
 * assert.equal(codes.length, planted.codes.length);
 * ```
 */
export function plantedWorld(options: PlantedOptions = {}): PlantedWorld {
  const planted = plantedCodes(options);
  const graph = knowledgeGraph(planted.nodes, planted.edges);
  const subgraphs = planted.concepts.map((_, node) => egoGraph(graph, [node], { maxNodes: 24 }));
  const codes = planted.codes.map(({ system, code, description, concept }) => (
    { system, code, description, ...subgraphs[concept] }
  ));
  return { planted, graph, codes };
}
