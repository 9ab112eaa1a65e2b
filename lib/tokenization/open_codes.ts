/**
 * The open data of `data/` as what MedTok reads: a knowledge graph, and codes with a description and a subgraph each.
 *
 * Stands in for PrimeKG and the authors' 617,490 codes, of which the texts may not all be passed on: ICD-10-CM with its
 * hierarchy and the links of its notes, Hetionet's diseases, genes, symptoms and drugs, and the Disease Ontology. Codes of
 * ICD-9-CM reach the graph by the General Equivalence Mappings and the ontology's cross-references.
 *
 * @module
 */
import { ccs, diseaseOntology, gems, hetionet, icd10cm } from "../data/mod.ts";
import { codeSystems } from "./code_system.ts";
import {
  egoGraph,
  type EgoOptions,
  type GraphEdge,
  type GraphNode,
  type KnowledgeGraph,
  knowledgeGraph,
  type Subgraph,
} from "./knowledge_graph.ts";

/** One medical code as MedTok reads it: a description and a small subgraph. */
export interface CodeInput {
  readonly system: string;
  readonly code: string;
  readonly description: string;
  /** Numbers of nodes of the knowledge graph, ascending. */
  readonly nodes: Int32Array;
  /** [2, edges] row by row: all sources, then all targets, as places in `nodes`. */
  readonly edges: Int32Array;
}

/**
 * The knowledge graph of the open data: 45,335 nodes of ICD-10-CM, 6,574 diseases of the Disease Ontology (of which 136 are
 * Hetionet's too), 4,677 other nodes of Hetionet.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const graph = await openMedicalGraph();
 * const diabetes = graph.indexOf("DOID:9352")!;
 * assert.equal(graph.nodes[diabetes].label, "type 2 diabetes mellitus");
 * ```
 */
export async function openMedicalGraph(): Promise<KnowledgeGraph> {
  const [icd, network, ontology] = await Promise.all([icd10cm.load(), hetionet.load(), diseaseOntology.load()]);
  const nodes: GraphNode[] = [
    ...icd.rows.map(({ code, description, level }) => ({ id: `ICD10CM:${code}`, label: description, kind: level })),
    ...ontology.terms.map(({ id, name }) => ({ id, label: name, kind: "disease" })),
  ];
  const known = new Set(nodes.map(({ id }) => id));
  for (const { id, name, kind } of network.nodes) {
    const own = ofHetionet(id);
    if (!known.has(own)) nodes.push({ id: own, label: name, kind: kind.toLowerCase() });
  }
  const edges: GraphEdge[] = [
    ...icd.rows.flatMap(({ code, parent }) =>
      parent === null ? [] : [{ source: `ICD10CM:${code}`, target: `ICD10CM:${parent}`, relation: "is part of" }]
    ),
    ...unique(
      icd.links.flatMap(({ code, relation, target }) =>
        icd.targets(target).map((each) => ({ source: `ICD10CM:${code}`, target: `ICD10CM:${each}`, relation }))
      ),
    ),
    ...ontology.isA.map(({ child, parent }) => ({ source: child, target: parent, relation: "is a" })),
    ...network.edges.map(({ source, target, relation }) => (
      { source: ofHetionet(source), target: ofHetionet(target), relation }
    )),
    ...unique([
      ...ontology.codes.filter(({ vocabulary }) => vocabulary.startsWith("ICD10")),
      ...network.codes.filter(({ vocabulary }) => vocabulary === "ICD10")
        .map(({ disease, code }) => ({ id: ofHetionet(disease), code })),
    ].flatMap(({ id, code }) => {
      const normal = codeSystems.ICD10CM.normalise(code);
      return normal === undefined ? [] : [{ source: id, target: `ICD10CM:${normal}`, relation: "has code" }];
    })),
  ];
  return knowledgeGraph(nodes, edges);
}

/** Hetionet's diseases are the Disease Ontology's: one node each. */
function ofHetionet(id: string): string {
  return id.replace(/^Disease::/, "");
}

/** A note may name a code twice. */
function unique(edges: GraphEdge[]): GraphEdge[] {
  return [...new Map(edges.map((edge) => [`${edge.source}\t${edge.target}\t${edge.relation}`, edge])).values()];
}

/** Options of {@link openCodes}. */
export interface OpenCodesOptions extends EgoOptions {
  /** Default: ICD-10-CM alone. */
  readonly systems?: readonly ("ICD10CM" | "ICD9CM")[];
  /** Leave blocks and chapters out. Default: false. */
  readonly codesOnly?: boolean;
  /** A graph made by {@link openMedicalGraph} before; made anew where it is absent. */
  readonly graph?: KnowledgeGraph;
}

/** What {@link openCodes} returns. */
export interface OpenCodes {
  readonly graph: KnowledgeGraph;
  readonly codes: readonly CodeInput[];
}

/**
 * The codes of the open data, with their descriptions and subgraphs.
 *
 * A code's own nodes are the node of that code and the diseases that name it; of ICD-9-CM, the codes it is mapped to and
 * the diseases that name it. ICD-9-CM descriptions are AHRQ's short ones, abbreviated.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { codes, graph } = await openCodes({ codesOnly: true });
 * assert.equal(codes.length, 45_017);
 * const diabetes = codes.find(({ code }) => code === "E11.9")!;
 * assert.equal(diabetes.description, "Type 2 diabetes mellitus without complications");
 * assert.ok([...diabetes.nodes].some((node) => graph.nodes[node].id === "ICD10CM:E11"));
 * ```
 */
export async function openCodes(options: OpenCodesOptions = {}): Promise<OpenCodes> {
  const { systems = ["ICD10CM"], codesOnly = false, graph = await openMedicalGraph(), ...ego } = options;
  const icd = await icd10cm.load();
  const codes: CodeInput[] = [];
  const add = (system: string, code: string, description: string, roots: string[]) => {
    const numbers = [...new Set(roots)].flatMap((id) => graph.indexOf(id) ?? []);
    const subgraph: Subgraph = egoGraph(graph, numbers, ego);
    codes.push({ system, code, description, ...subgraph });
  };
  const named = await diseasesByCode();
  for (const system of systems) {
    if (system === "ICD10CM") {
      for (const { code, level, description } of icd.rows) {
        if (codesOnly && (level === "chapter" || level === "block")) continue;
        add(system, code, description, [`ICD10CM:${code}`, ...named.get(`ICD10CM:${code}`) ?? []]);
      }
    } else {
      const mapped = Map.groupBy((await gems.load()).rows.filter(({ noMap }) => !noMap), ({ icd9 }) => icd9);
      for (const { icd9, description } of (await ccs.load()).rows) {
        const code = codeSystems.ICD9CM.normalise(icd9);
        if (code === undefined) continue;
        const targets = (mapped.get(icd9) ?? []).flatMap(({ icd10 }) => {
          const row = icd.resolve(codeSystems.ICD10CM.normalise(icd10) ?? icd10);
          return row ? [`ICD10CM:${row.code}`] : [];
        });
        add(system, code, description, [...targets, ...named.get(`ICD9CM:${code}`) ?? []]);
      }
    }
  }
  return { graph, codes };
}

/** Diseases of the ontology and of Hetionet by the code that names them. */
async function diseasesByCode(): Promise<Map<string, string[]>> {
  const [network, ontology] = await Promise.all([hetionet.load(), diseaseOntology.load()]);
  const found = new Map<string, string[]>();
  const add = (system: "ICD10CM" | "ICD9CM", code: string, disease: string) => {
    const normal = codeSystems[system].normalise(code);
    if (normal === undefined) return;
    const key = `${system}:${normal}`;
    found.set(key, [...found.get(key) ?? [], disease]);
  };
  for (const { id, vocabulary, code } of ontology.codes) {
    add(vocabulary.startsWith("ICD10") ? "ICD10CM" : "ICD9CM", code, id);
  }
  for (const { disease, vocabulary, code } of network.codes) {
    add(vocabulary === "ICD10" ? "ICD10CM" : "ICD9CM", code, ofHetionet(disease));
  }
  return found;
}
