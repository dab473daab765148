/**
 * Metrics of predictions: classes, numbers, entities, answers and texts, each as its reference implementation counts.
 *
 * @module
 */
export { type AnswerScores, answerScores, normalizeAnswer } from "./answers.ts";
export { bleu, type BleuScore, type References, sentenceBleu } from "./bleu.ts";
export { bootstrap, type BootstrapOptions, type Interval } from "./bootstrap.ts";
export {
  type ClassificationReport,
  classificationReport,
  type ClassScores,
  type ConfusionMatrix,
  confusionMatrix,
  type Label,
  type Scores,
} from "./classification.ts";
export { compareMeasurements, type Comparison, type Estimate } from "./compare.ts";
export { entities, type Entity, type EntityScores, entityScores } from "./entities.ts";
export {
  measureClasses,
  measureEntities,
  measureMemberships,
  type Measurement,
  measureNumbers,
  measureTexts,
  measureTokens,
  TEXT_METRICS,
  type TextMetric,
} from "./measurements.ts";
export { perplexity, type TokenLoss, type TokenRow } from "./perplexity.ts";
export { type RegressionReport, regressionReport } from "./regression.ts";
export { rouge, type RougeOptions, type RougeScores, rougeTokens } from "./rouge.ts";
export { tokenize13a } from "./tokenize_13a.ts";
