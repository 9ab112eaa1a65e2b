/**
 * Data: one named loader per data set, one reader per format. Everything lies in `data/`; nothing is fetched.
 *
 * @module
 */
export { type BytePairTokenizer, bytePairTokenizer } from "./byte_pair_tokenizer.ts";
export { cancerSim, type TumourFuture } from "./cancer_sim.ts";
export { type Ccs, ccs, type CcsRow } from "./ccs.ts";
export { type DiseaseOntology, diseaseOntology } from "./disease_ontology.ts";
export { eicuDemo, type EicuLabs, type EicuLabsOptions } from "./eicu_demo.ts";
export { dataFolder, readBytes, sha256, writeAtomically } from "./files.ts";
export { type Gem, type Gems, gems } from "./gems.ts";
export { type Hetionet, hetionet, type HetionetEdge, type HetionetNode } from "./hetionet.ts";
export {
  type Icd10cm,
  icd10cm,
  type Icd10cmLevel,
  type Icd10cmLink,
  type Icd10cmRelation,
  type Icd10cmRow,
} from "./icd10cm.ts";
export { parseIdx, readIdx } from "./idx.ts";
export { decodeImage, type Image, type ImageOptions, readImage } from "./image.ts";
export { type ImageFolderOptions, readImageFolder, writeImage } from "./image_folder.ts";
export { type ImageLoader, type ImageSet, selectImages } from "./image_set.ts";
export { fromLongRows, type LongRow, type LongTable, type LongTableOptions, readLongTable } from "./long_table.ts";
export { mnist } from "./mnist.ts";
export { readNpy } from "./npy.ts";
export { type DType, elements, type NumericArray, type NumericData } from "./numeric_array.ts";
export { type Photograph, type PhotographName, photographs } from "./photographs.ts";
export {
  type PlantedCode,
  type PlantedCodes,
  plantedCodes,
  type PlantedConcept,
  plantedFactors,
  type PlantedOptions,
} from "./simulated/planted_codes.ts";
export {
  type PlantedCauses,
  plantedCauses,
  type PlantedPatients,
  plantedPatients,
  type PlantedPatientsOptions,
  plantedTasks,
} from "./simulated/planted_patients.ts";
export { paul15 } from "./paul15.ts";
export { parsePickle, type PickleValue, readPickle } from "./pickle.ts";
export { pneumoniaMnist } from "./pneumonia_mnist.ts";
export { parseSafetensors, readSafetensors, type Safetensors, writeSafetensors } from "./safetensors.ts";
export { type Shakespeare, shakespeare } from "./shakespeare.ts";
export { simglucose } from "./simglucose.ts";
export {
  nextTumourVolume,
  type TumourCohort,
  tumourCohort,
  type TumourCohortOptions,
  tumourConstants,
  tumourDiameter,
  type TumourPatients,
  tumourPatients,
  type TumourPolicy,
  type TumourRows,
  type TumourSplit,
  tumourStages,
  tumourVolume,
} from "./simulated/tumour.ts";
export {
  historyRows,
  oneStepRows,
  type OneStepTestSet,
  oneStepTestSet,
  type SequencePlans,
  sequenceRows,
  type SequenceTestSet,
  sequenceTestSet,
  type TestPolicy,
  type TumourHistories,
  type TumourTestOptions,
} from "./simulated/tumour_futures.ts";
export {
  type DecoderTensors,
  decoderTensors,
  explodedTensors,
  horizonTensors,
  type TreatmentMode,
  type TumourScaling,
  tumourScaling,
  type TumourTensors,
  tumourTensors,
} from "./simulated/tumour_tensors.ts";
export { type GlucoseInput, type GlucosePatient, simulateGlucose } from "./simulated/glucose.ts";
export { type SimulatedCells, wotLike } from "./simulated/cells.ts";
export { type SemiSynthetic, semiSynthetic } from "./simulated/semi_synthetic.ts";
export { t1dTwins, type Twins } from "./simulated/twins.ts";
export { type Change, type LabWorld, simulateSubject } from "./simulated/lab_world.ts";
export { type SimulatedTrajectories, synthLab, synthLabWorld } from "./simulated/synth_lab.ts";
export { readTable, type Table, type TableOptions, writeTable } from "./table.ts";
export { type GridQuestions, gridQuestions, type GridQuestionsOptions } from "./simulated/grid_questions.ts";
export { type Stories260k, stories260k, type StoryExpected, type StorySample } from "./stories260k.ts";
export { type DataText, readGzipText, textRows } from "./text_table.ts";
export { type HiddenFacts, hiddenFacts, type HiddenFactsOptions } from "./simulated/hidden_facts.ts";
export { tinyKeep, type TinyKeepTraining, type TinyKeepWeights } from "./tiny_keep.ts";
export { tinyLM, type TinyLMConfig, type TinyLMTraining, type TinyLMWeights } from "./tiny_lm.ts";
export { type Registers, registers, type RegistersOptions } from "./simulated/registers.ts";
export { tinySSM, type TinySSMArms, type TinySSMTraining, type TinySSMWeights } from "./tiny_ssm.ts";
export { tinyVLM, type TinyVLMTraining, type TinyVLMWeights } from "./tiny_vlm.ts";
export {
  actingCondition,
  calendarOf,
  type ConditionTable,
  conditionVector,
  NO_CONDITION,
  oneHotConditions,
  type RawTrajectory,
  type Report,
  report,
  selectSubjects,
  type Trajectories,
  trajectories,
  type TrajectoriesOptions,
  type Trajectory,
  type Variable,
  type VariableReport,
} from "./trajectories.ts";
export {
  normalize,
  type NormalizedImages,
  type VitNano,
  vitNano,
  type VitNanoConfig,
  type VitNanoExpected,
  type VitNanoName,
  type Weights,
} from "./vit_nano.ts";
// visits of patients
export {
  type Cohort,
  cohort,
  type CohortStage,
  type CohortStep,
  mapVisits,
  refuseShared,
  type SplitOptions,
  splitPatients,
} from "./cohort.ts";
export { type EventTableOptions, readMeds, readOmop, type Vocabulary } from "./event_tables.ts";
export { type HospitalLayout, type HospitalOptions, readHospitalTables } from "./hospital_tables.ts";
export { mimic3Demo } from "./mimic3_demo.ts";
export {
  type CodeKind,
  type Patient,
  selectPatients,
  type Visit,
  type VisitCode,
  type VisitTable,
  visitTable,
  type VisitTableOptions,
} from "./visits.ts";
export {
  type Drug,
  drugTask,
  findLeaks,
  lengthOfStayTask,
  mortalityTask,
  type NextVisitOptions,
  nextVisitTask,
  phenotypeTask,
  type ReadmissionOptions,
  readmissionTask,
  refuseLeaks,
  type TaskOptions,
  type VisitTask,
} from "./visit_tasks.ts";
