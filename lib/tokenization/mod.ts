/**
 * Tokenization: MedTok, which makes a short list of discrete tokens out of a medical code's description and its place in a
 * knowledge graph.
 *
 * Su, Messica, Huang, Johnson, Fesser, Gao, Sahneh, Zitnik, "Multimodal Medical Code Tokenizer", ICML 2025,
 * arXiv:2502.04397.
 *
 * @module
 */
export {
  type CodeSystem,
  type CodeSystemOptions,
  codeSystems,
  defineCodeSystem,
  parseCode,
  type SystemCode,
} from "./code_system.ts";
export {
  drawable,
  egoGraph,
  type EgoOptions,
  type GraphEdge,
  type GraphNode,
  type KnowledgeGraph,
  knowledgeGraph,
  neighboursOf,
  type Subgraph,
} from "./knowledge_graph.ts";
export { type CodeInput, type OpenCodes, openCodes, type OpenCodesOptions, openMedicalGraph } from "./open_codes.ts";
