/** Optimizers, clipping and schedules against PyTorch, update by update. */
import assert from "node:assert/strict";
import { backend, tf, tidy } from "tessera/tensor/mod.ts";
import {
  adam,
  type AdamOptions,
  adamW,
  constantRate,
  cosineRate,
  type DecayOptions,
  linearRate,
  onlyMatrices,
  type Optimizer,
  sgd,
  stepRate,
  trainStep,
} from "tessera/train/mod.ts";
import { assertClose } from "../tensor/agreement.ts";
import { type Numbers, tensorOf, torchCases } from "../nn/torch.ts";

const makers = { sgd, adam, adamW };

/** The optimizer of a case, from its options. */
function optimizerOf(options: Record<string, unknown>): Optimizer {
  const { kind, cosine, steps, learningRate } = options;
  const schedule = cosine
    ? cosineRate(cosine as DecayOptions)
    : steps
    ? stepRate(steps as Parameters<typeof stepRate>[0])
    : learningRate as number;
  return makers[kind as keyof typeof makers]({
    ...options as unknown as AdamOptions,
    learningRate: schedule,
    ...(options.onlyMatrices ? { decays: onlyMatrices } : {}),
  });
}

const ways = backend.name === "tensorflow" ? [false, true] : [false];
for (const xla of ways) {
  Deno.test(`optimizers, clipping and schedules make PyTorch's updates${xla ? ", by XLA too" : ""}`, () => {
    for (const { options, inputs, output, norms = [] } of torchCases("optimizer")) {
      const start = inputs.start as unknown as Record<"w" | "b", Numbers>;
      const slopes = inputs.slopes as unknown as Record<"w" | "b", Numbers>[];
      const model = tidy(() => ({ w: tf.variable(tensorOf(start.w)), b: tf.variable(tensorOf(start.b)) }));
      const clip = options.clip as number | null;
      const step = trainStep(
        (w: tf.Tensor, b: tf.Tensor) => tf.add(model.w.mul(w).sum(), model.b.mul(b).sum()),
        optimizerOf(options),
        model,
        { xla, ...(clip ? { clip } : {}) },
      );
      tidy(() => {
        const until = options.until as number ?? slopes.length; // PyTorch's cosine comes up again, ours stays
        slopes.slice(0, until).forEach((slope, t) => {
          const { gradientNorm } = step(tensorOf(slope.w), tensorOf(slope.b));
          const expected = (output as unknown as Record<"w" | "b", Numbers>[])[t];
          for (const name of ["w", "b"] as const) {
            assertClose(model[name], tensorOf(expected[name]), 1e-6, `${JSON.stringify(options)}, ${name}, step ${t}`);
          }
          if (clip) assertClose(gradientNorm!, tf.scalar(norms[t]), 1e-6, "the norm of the gradients");
        });
      });
      step.dispose();
      tf.dispose([model.w, model.b]);
    }
  });
}

Deno.test("schedules and optimizers refuse what makes no sense, in one sentence", () => {
  assert.throws(() => constantRate(-1), /a learning rate must be a number >= 0, but it is -1/);
  assert.throws(() => sgd({ learningRate: NaN }), /but it is NaN/);
  assert.throws(
    () => cosineRate({ peak: 1, updates: 5, warmup: 5 }),
    /updates above its warm-up, but they are 5 and 5/,
  );
  assert.throws(() => linearRate({ peak: 1, updates: 0 }), /but they are 0 and 0/);
  assert.throws(() => sgd({ learningRate: 1, nesterov: true }), /needs momentum and no dampening/);
  assert.throws(() => sgd({ learningRate: 1, weightDecay: -1 }), /weightDecay must be a number >= 0, but it is -1/);
  assert.throws(() => adam({ learningRate: 1, beta1: 1 }), /beta1 must lie in \[0, 1\), but it is 1/);
});
