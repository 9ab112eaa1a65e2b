/**
 * Workloads of `reduction`, in this library.
 *
 * @module
 */
import { tf } from "tessera/tensor/mod.ts";
import { applyMap } from "tessera/nn/mod.ts";
import { bipartiteSoftMatching, reducers } from "tessera/reduction/mod.ts";
import type { Parameter } from "../workload.ts";
import type { Job } from "../workloads/reduction.ts";
import { imagesOf, modelOf } from "./vit.ts";
import { inferred, patternTensor, read, type Ready, way } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job, parameters: readonly Parameter[]): Ready {
  switch (job.kind) {
    case "vit_tome":
    case "vit_evit": {
      const model = modelOf(job.sizes, parameters, false);
      const images = imagesOf(job.sizes, job.batch);
      const reducerOf = (parity: boolean) => {
        if (job.kind === "vit_tome") return reducers.tome({ r: job.r, parity });
        return reducers.evit({ keepRate: job.keepRate, parity });
      };
      const forward = (parity: boolean) => (images: tf.Tensor) => {
        return model.forward(images as tf.Tensor4D, { reducer: reducerOf(parity) }).logits;
      };
      const ready = inferred(forward(false), [images]);
      if (way !== "eager") return { ...ready, check: [] };
      // the peers follow the authors where our default does not: they are held against that form
      const logits = read(forward(true), [images]);
      const mean = logits.reduce((sum, value) => sum + Math.abs(value), 0) / logits.length;
      return { ...ready, check: [mean, ...logits.slice(0, 4)] };
    }
    case "tome": {
      const { batch, tokens, channels, r } = job;
      const x = patternTensor<tf.Tensor3D>(900, [batch, tokens, channels]);
      const size = tf.ones([batch, tokens]);
      const once = (x: tf.Tensor, size: tf.Tensor) => {
        const map = bipartiteSoftMatching(x as tf.Tensor3D, { r });
        return applyMap(map, x as tf.Tensor3D, size as tf.Tensor2D).x;
      };
      const ready = inferred(once, [x, size]);
      return { ...ready, check: ready.check.slice(0, 1) };
    }
  }
}
