/**
 * How fast and how large: `deno run -A experiments/medtok_scale/measure.ts quantise | icd | stream [CODES]`. One line of CSV:
 * what, count, seconds, peak memory in MB, backend. Take it on a quiet machine.
 *
 * @module
 */
import { random } from "../../lib/random.ts";
import { backend, tf } from "../../lib/tensor/mod.ts";
import {
  type CodeInput,
  encodeStream,
  lsaEncoder,
  MedTok,
  medtokConfig,
  openCodes,
  plantedWorld,
  quantizeMany,
  wordVectors,
} from "../../lib/tokenization/mod.ts";

let peak = 0;
const look = setInterval(() => peak = Math.max(peak, Deno.memoryUsage().rss), 100);

async function timed(what: string, count: number, body: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await body();
  const seconds = (performance.now() - start) / 1000;
  peak = Math.max(peak, Deno.memoryUsage().rss);
  console.log(`${what},${count},${seconds.toFixed(2)},${Math.round(peak / 1e6)},"${backend}"`);
}

const [what, number] = Deno.args;
if (what === "quantise") {
  const codebook = tf.tensor2d(random(1).normals(21_000 * 64), [21_000, 64]);
  const embeddings = random(2).normals(10_000 * 64);
  for (let round = 0; round < 3; round++) {
    await timed(
      "quantise against 21000 rows top 5",
      10_000,
      () => quantizeMany(embeddings, codebook, { K: 5, block: 250 }),
    );
  }
} else if (what === "icd") {
  await timed("ICD-10-CM with texts and graphs: repo preset", 45_335, async () => {
    const { graph, codes } = await openCodes({ hops: 2, maxNodes: 24 });
    const encoder = lsaEncoder(codes.map(({ description }) => description));
    const config = medtokConfig("repo", {
      nodeRows: graph.nodes.length + 2,
      textDim: 96,
      textLength: 24,
      maxNodes: 24,
    });
    await MedTok.untrained({ config, encoder, graph }).encodeBatch(codes, { show: false });
  });
} else if (what === "stream") {
  const count = Number(number ?? 617_490);
  const { codes, graph } = plantedWorld({ seed: 0 });
  const config = medtokConfig("lite", { nodeRows: graph.nodes.length + 2, maxNodes: 16 });
  const tokenizer = MedTok.untrained({ config, encoder: wordVectors(), graph });
  const source = function* (): Generator<CodeInput> {
    for (let i = 0; i < count; i++) yield { ...codes[i % codes.length], system: "SYNTHETIC", code: `${i}` };
  };
  const folder = await Deno.makeTempDir();
  await timed("stream of synthetic codes: lite preset", count, () => encodeStream(tokenizer, source(), folder));
  await Deno.remove(folder, { recursive: true });
} else {
  console.error("say quantise, icd or stream [CODES]");
}
clearInterval(look);
