/**
 * Where the time goes when a text of 100 kB is compressed, stage by stage, and what is kept: the share of the text's
 * self-information, as stories260k sees it, beside that of words kept at random.
 *
 * The text are stories260k's own stories, one behind the other, again from the first where they end. The first run of a
 * method compiles the model's functions; it is told apart from the second, whose stages are shown.
 *
 * @module
 */
import { stories260k } from "../../lib/data/mod.ts";
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { Llama } from "../../lib/nn/mod.ts";
import {
  type CompressedText,
  llamaScorer,
  llmlingua,
  loadKeepClassifier,
  longllmlingua,
  scoreTokens,
  type TextMethodName,
  textMethods,
} from "../../lib/reduction/mod.ts";

/** Characters of the text, all of them ASCII: 100 kB. */
const CHARACTERS = 100_000;
const QUESTION = "What did the little girl find in the park?";

/** Stages in the order of the page; what a method does not have is 0. */
export const STAGES = ["tokens", "pieces", "model", "choice", "text"] as const;

/** The text, and the stories that it is made of. */
export async function longText(characters = CHARACTERS): Promise<{ text: string; stories: string[] }> {
  const { samples } = await stories260k.load();
  const stories: string[] = [];
  for (let left = characters, next = 0; left > 0; next++) {
    const story = samples[next % samples.length].text.trim().slice(0, left);
    if (story.trim()) stories.push(story);
    left -= story.length + 2; // an empty line follows
  }
  return { text: stories.join("\n\n"), stories };
}

export default defineExperiment({
  name: "prompt_compression",
  version: 2,
  question: "Which stage takes the time when a text of 100 kB is compressed to half, and what is kept?",
  grid: {
    method: ["selectiveContext", "llmlingua", "llmlingua as its authors", "longllmlingua", "llmlingua2", "randomWords"],
    keepRate: [0.5],
  },
  seeds: [1],
  fast: { seeds: [1] },
  rowSeconds: 8,
  data: [new URL("../../data/stories260k/", import.meta.url), new URL("../../data/tiny-keep/", import.meta.url)],
  async row({ method, keepRate }, { seed, fast }) {
    const { text, stories } = await longText(fast ? CHARACTERS / 10 : CHARACTERS);
    const scorer = llamaScorer(await Llama.load("stories260k"), { name: "stories260k" });
    const classifier = await loadKeepClassifier();
    const run = (): Promise<CompressedText> => {
      if (method === "longllmlingua") return longllmlingua(scorer, stories, { keepRate, question: QUESTION });
      if (method === "llmlingua as its authors") return llmlingua(scorer, text, { keepRate, parity: true });
      return textMethods[method as TextMethodName].compress({ scorer, classifier, seed }, text, { keepRate });
    };
    const timed = async () => {
      const start = performance.now();
      const result = await run();
      return { result, seconds: (performance.now() - start) / 1000 };
    };
    const first = await timed(), { result, seconds } = await timed();
    const { ids } = result.tokens;
    const { values } = await scoreTokens(scorer, ids);
    const all = values.reduce((sum, value) => sum - value, 0);
    const kept = values.reduce((sum, value, token) => sum - value * result.kept[token], 0);
    scorer.dispose();
    classifier.dispose();
    const stages = STAGES.map((stage) => [`${stage}Seconds`, result.seconds[stage] ?? 0] as const);
    const others = STAGES.filter((stage) => stage !== "model").map((stage) => result.seconds[stage] ?? 0);
    return {
      characters: text.length,
      tokens: ids.length,
      achievedRate: result.achievedRate,
      informationShare: kept / all,
      firstSeconds: first.seconds,
      totalSeconds: seconds,
      ...Object.fromEntries(stages),
      largestOtherShare: Math.max(...others) / seconds,
      load: Deno.loadavg()[0], // of the machine, over the last minute
    };
  },
});
