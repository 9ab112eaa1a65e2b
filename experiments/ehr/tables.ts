/**
 * The tokenizers that are compared, trained on the planted world. A trained table of tokens is kept in `.tables` beside this
 * file (not in the repository), so that the models that read it do not train it again.
 *
 * @module
 */
import {
  type MedTokConfig,
  medtokConfig,
  plantedWorld,
  TokenTable,
  trainMedTok,
  wordVectors,
} from "../../lib/tokenization/mod.ts";

/** What each MedTok changes in the preset `lite`. */
export const medtokSettings = {
  "MedTok": {},
  "MedTok without graph": { modality: "text", commitOn: "normalized" },
  "MedTok without text": { modality: "graph", commitOn: "normalized" },
  "MedTok, codebook loss alone": { sharedWeight: 0, specificWeight: 0, klWeight: 0 },
  "MedTok, codebook, shared and KL": { specificWeight: 0 },
  "MedTok, codebook and specific": { sharedWeight: 0, klWeight: 0 },
} as const satisfies Record<string, Partial<MedTokConfig>>;

/** Names of the MedToks. */
export type MedTokName = keyof typeof medtokSettings;

/** Steps that each is trained for: a third of the preset's 900, so that all of them can be trained in minutes. */
export const MEDTOK_STEPS = 300;

/**
 * The tokens of all codes of a planted world, by a MedTok trained on it.
 *
 * @param seed Of the world and of the tokenizer.
 */
export async function medtokTable(
  name: MedTokName,
  seed: number,
  { steps = MEDTOK_STEPS, signal }: { steps?: number; signal?: AbortSignal } = {},
): Promise<TokenTable> {
  const folder = new URL(`.tables/${name.replaceAll(/\W+/g, "-")}-${seed}-${steps}/`, import.meta.url);
  const world = plantedWorld({ seed });
  const config = medtokConfig("lite", { nodeRows: world.graph.nodes.length + 2, seed, steps, ...medtokSettings[name] });
  const isKept = await Deno.stat(new URL("manifest.json", folder)).then(({ isFile }) => isFile, () => false);
  if (isKept) {
    const kept = await TokenTable.load(folder);
    if (JSON.stringify(kept.config) === JSON.stringify(config)) return kept;
  }
  const { tokenizer } = await trainMedTok(world.codes, {
    config,
    encoder: wordVectors(),
    graph: world.graph,
    show: false,
    ...(signal ? { signal } : {}),
  });
  const table = await tokenizer.encodeBatch(world.codes, { show: false });
  tokenizer.dispose();
  await table.save(folder);
  return table;
}
