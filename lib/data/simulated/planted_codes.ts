/**
 * A simulated world of medical codes whose structure is planted: three hidden factors per concept, each visible in another
 * place. What a tokenizer finds can be compared with what is there.
 *
 * | factor | values | in the text | in the graph |
 * | --- | --- | --- | --- |
 * | category | 30 | category words | weakly: one ontology parent for three categories |
 * | severity | 2, 30 % severe | one adjective | no |
 * | module (mechanism) | 24 | no | genes in common |
 *
 * Made for this project as a test bed for MedTok (Su et al., ICML 2025, arXiv:2502.04397), whose own data need credentials.
 * `world: "easy"` is the second configuration that was tried; under the first, `"hard"`, the tokenizer came last. Both are
 * here so that both can be reported.
 *
 * @module
 */
import { type Random, random } from "../../random.ts";

/** Options of {@link plantedCodes}. */
export interface PlantedOptions {
  /** Default: 0. */
  readonly seed?: number;
  /**
   * "easy": 2 to 4 codes per concept and system, one filler word, 5 of 8 genes. "hard": 1 or 2 codes, three filler words, 4
   * of 12 genes. Default: "easy".
   */
  readonly world?: "easy" | "hard";
  /** Default: 360. */
  readonly concepts?: number;
}

/** What a code stands for. */
export interface PlantedConcept {
  readonly kind: "diagnosis" | "procedure" | "drug";
  /** 0 to 29. */
  readonly category: number;
  readonly severe: boolean;
  /** 0 to 23. */
  readonly module: number;
}

/** A code, its text and the concept that it stands for. */
export interface PlantedCode {
  readonly system: "A" | "B" | "C";
  readonly code: string;
  readonly description: string;
  /** An index into `concepts`, and into `nodes`. */
  readonly concept: number;
}

/** What {@link plantedCodes} returns. */
export interface PlantedCodes {
  readonly seed: number;
  readonly world: "easy" | "hard";
  readonly concepts: readonly PlantedConcept[];
  readonly codes: readonly PlantedCode[];
  /** The graph: concepts first, then ontology parents, genes and pathways. */
  readonly nodes: readonly { readonly id: string; readonly label: string; readonly kind: string }[];
  readonly edges: readonly { readonly source: string; readonly target: string; readonly relation: string }[];
}

/** Numbers of values of the factors. */
export const plantedFactors = { categories: 30, modules: 24, severities: 2 } as const;

/**
 * Draws a world.
 *
 * @throws {RangeError} Where `world` or the number of concepts makes no sense.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { nodes, concepts, codes } = plantedCodes({ seed: 0 });
 * assert.equal(nodes.length, 610);
 * assert.equal(concepts.length, 360);
 * assert.match(codes[0].code, /^A\d{4}\.[01]$/);
 * ```
 */
export function plantedCodes(options: PlantedOptions = {}): PlantedCodes {
  const { seed = 0, world = "easy", concepts: count = 360 } = options;
  if (world !== "easy" && world !== "hard") {
    throw new RangeError(`a world is "easy" or "hard", but it is ${JSON.stringify(world)}`);
  }
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`concepts must be a whole number from 1, but it is ${count}`);
  }
  const draw = random(seed, "planted codes");
  const { categories, modules } = plantedFactors;
  const concepts = Array.from({ length: count }, (_, i): PlantedConcept => {
    const own = draw.stream(`concept ${i}`);
    const kind = (["diagnosis", "procedure", "drug"] as const)[own.categorical([0.55, 0.15, 0.3])];
    return { kind, category: own.integer(categories), severe: own.bernoulli(0.3), module: own.integer(modules) };
  });
  return {
    seed,
    world,
    concepts,
    codes: codesOf(concepts, world, draw.stream("codes")),
    ...graphOf(concepts, world, draw.stream("graph")),
  };
}

const vocabulary = (prefix: string, length: number) => Array.from({ length }, (_, i) => `${prefix}${i}`);

function codesOf(concepts: readonly PlantedConcept[], world: "easy" | "hard", draw: Random): PlantedCode[] {
  const [fewest, most, fillers] = world === "easy" ? [2, 4, 1] : [1, 2, 3];
  const filler = vocabulary("filler", 60);
  const adjectives = { true: vocabulary("severe", 3), false: vocabulary("mild", 3) };
  const used = new Set<string>();
  const codes: PlantedCode[] = [];
  for (const system of ["A", "B", "C"] as const) {
    concepts.forEach(({ category, severe }, concept) => {
      const words = vocabulary(`category${category}word`, 5), synonyms = vocabulary(`category${category}synonym`, 5);
      for (let n = fewest + draw.integer(most - fewest + 1); n > 0; n--) {
        const meaning = system === "C" ? [...some(synonyms, 2, draw), ...some(words, 1, draw)] : some(words, 3, draw);
        const text = draw.shuffle([
          ...meaning,
          draw.choice(adjectives[`${severe}`]),
          ...some(filler, fillers, draw),
        ]);
        // the code itself says nothing about the concept
        let code: string;
        do code = `${system}${String(draw.integer(10_000)).padStart(4, "0")}.${draw.integer(2)}`; while (
          used.has(code)
        );
        used.add(code);
        codes.push({ system, code, description: text.join(" "), concept });
      }
    });
  }
  return codes;
}

function some<Value>(values: readonly Value[], count: number, draw: Random): Value[] {
  return draw.shuffle(values).slice(0, count);
}

function graphOf(
  concepts: readonly PlantedConcept[],
  world: "easy" | "hard",
  draw: Random,
): Pick<PlantedCodes, "nodes" | "edges"> {
  const { categories, modules } = plantedFactors;
  const [genes, linked] = world === "easy" ? [8, 5] : [12, 4];
  const node = (kind: string, ...at: number[]) => ({
    id: `${kind} ${at.join(".")}`,
    label: `${kind} ${at.join(".")}`,
    kind,
  });
  const gene = (module: number, i: number) => node("gene", module, i);
  const each = (length: number) => Array.from({ length }, (_, i) => i);
  const nodes = [
    ...concepts.map((_, i) => node("concept", i)),
    ...each(categories / 3).map((parent) => node("group", parent)),
    ...each(modules).flatMap((module) => each(genes).map((i) => gene(module, i))),
    ...each(modules).flatMap((module) => each(2).map((i) => node("pathway", module, i))),
  ];
  const edges: { source: string; target: string; relation: string }[] = [];
  const join = (source: { id: string }, target: { id: string }, relation: string) =>
    edges.push({ source: source.id, target: target.id, relation });
  concepts.forEach(({ category, module }, i) => {
    join(node("concept", i), node("group", Math.floor(category / 3)), "is a");
    for (const g of some(each(genes), linked, draw)) join(node("concept", i), gene(module, g), "involves");
    join(node("concept", i), gene(draw.integer(modules), draw.integer(genes)), "involves"); // noise
    const peers = concepts.flatMap((other, k) => other.module === module && k !== i ? [k] : []);
    for (const peer of some(peers, 2, draw)) join(node("concept", i), node("concept", peer), "resembles");
  });
  for (const module of each(modules)) {
    for (const g of each(genes)) join(gene(module, g), node("pathway", module, draw.integer(2)), "takes part in");
  }
  return { nodes, edges };
}
