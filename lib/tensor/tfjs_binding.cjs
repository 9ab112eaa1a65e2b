// What @tensorflow/tfjs-node-gpu loads in the place of its compiled addon; load.ts puts the binding there.
module.exports = globalThis[Symbol.for("tessera.tensorflow.binding")];
