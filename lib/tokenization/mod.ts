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
export {
  codebookRegions,
  codewordDistances,
  quantize,
  type Quantized,
  type QuantizedMany,
  quantizeMany,
  type QuantizeManyOptions,
  type QuantizeOptions,
  type Region,
  type RegionName,
  type Slot,
  slotRegions,
  slots,
  unitRows,
} from "./codebook.ts";
export { type MedTokConfig, medtokConfig, type PresetName, presets, slotsOf } from "./config.ts";
export {
  crossAttend,
  type CrossAttended,
  type CrossAttendOptions,
  type CrossAttentionLayerParameters,
  type ModalityTokens,
  type Reading,
} from "./cross_attention.ts";
export {
  encodeGraphs,
  gcnConv,
  type GCNOptions,
  meanOfNodes,
  normaliseEdges,
  type WeightedEdges,
} from "./graph_encoder.ts";
export {
  infoNCE,
  type InfoNCEOptions,
  klAlignment,
  meanCosine,
  meanInnerProduct,
  orthogonality,
  type SharedLoss,
  sharedLoss,
  type SpecificLoss,
  specificLoss,
  usageEntropyLoss,
} from "./losses.ts";
export {
  type Encoded,
  encodeModalities,
  type Features,
  type MedTokBatch,
  medtokLayers,
  type MedTokLosses,
  medtokLosses,
  type MedTokOutput,
  type MedTokParameters,
  quantizeModalities,
  type QuantizerParameters,
} from "./medtok.ts";
export { batchOf, type BatchOptions, type BatchShape, unknownNode } from "./batch.ts";
export { type PlantedWorld, plantedWorld } from "./planted_world.ts";
export {
  type DescribedCode,
  type DescriptionEncoder,
  loadLSA,
  type LSAEncoder,
  lsaEncoder,
  type LSAOptions,
  type TextStates,
  type VectorFileOptions,
  vectorsFromFile,
  wordsOf,
  type WordVectorOptions,
  wordVectors,
} from "./text_encoder.ts";
export {
  type SparseMatrix,
  symmetricEigen,
  type TruncatedSVD,
  truncatedSVD,
  type TruncatedSVDOptions,
} from "./truncated_svd.ts";
export { type CodebookHealth, codebookHealth, type RegionHealth } from "./health.ts";
export {
  type CodeTokens,
  type LookUp,
  reserved,
  reservedCount,
  type TableManifest,
  TokenTable,
  type TokenTableParts,
} from "./token_table.ts";
export { type EncodeOptions, MedTok, type TokenizerParts, type UnseenCode, type UnseenTokens } from "./tokenizer.ts";
export { type TrainedMedTok, trainMedTok, type TrainMedTokOptions } from "./training.ts";
export {
  cohortReport,
  type EnrichedToken,
  explain,
  type ExplainedToken,
  type InvertedIndex,
  invertedIndex,
  nearestCodes,
  type NearestOptions,
  type Neighbour,
  neighbourGraph,
  type NeighbourGraphOptions,
  tokenChurn,
  tokenMap,
  type TokenMapOptions,
  tokenName,
  tokenString,
  type TokenUse,
  usage,
} from "./inspect.ts";
export {
  crossSystemHits,
  type Factor,
  type HitOptions,
  type LeakReport,
  leakReport,
  pairAUC,
  type PairOptions,
  probe,
  type ProbeOptions,
  type ProbeResult,
  reconstructionError,
  slotVectors,
  tokenOverlap,
} from "./metrics.ts";
export { type EncodedStream, encodeStream, type EncodeStreamOptions, readEncoded } from "./encode_stream.ts";
export {
  codesOfMappings,
  type DescriptionPieces,
  type MappedCode,
  type MedTokArrays,
  type QuestionWithCodes,
  readCodeJson,
  readCodeMappings,
  readDescriptionPieces,
  readMedTokArrays,
  readPhenotypeIndex,
  readPrimeKG,
  readQuestions,
} from "./medtok_files.ts";
export { loadEncoder } from "./load_encoder.ts";
export {
  loadWordPieceTransformer,
  trainWordPieceTransformer,
  type WordPieceEncoder,
  type WordPieces,
  wordPieces,
  type WordPieceTransformer,
  type WordPieceTransformerOptions,
} from "./wordpiece_transformer.ts";
export { type CodesOfVisits, codesOfVisits, type CodesOfVisitsOptions } from "./visit_codes.ts";
