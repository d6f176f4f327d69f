/**
 * What authors of stages test them with: generated inputs and laws, on fast-check. It runs under any
 * test runner of Deno, Node or the browser.
 *
 * @module
 */
export {
  drawEmbeddings,
  type EmbeddingCase,
  embeddingCases,
  type EmbeddingKind,
  embeddingKinds,
  startRows,
} from "./embeddings.ts";
export {
  drawFeatures,
  type FeatureCase,
  featureCases,
  type FeatureKind,
  featureKinds,
} from "./features.ts";
export {
  drawFuserInput,
  type FuserCase,
  fuserCases,
  type FuserInput,
  type FuserInputChange,
  LentTensor,
  reflectFuserRows,
} from "./fuser_case.ts";
export {
  type FuserLawName,
  fuserLawNames,
  fuserLaws,
  type FuserLawsOptions,
} from "./fuser_laws.ts";
export {
  bindLaw,
  checkLaws,
  type CheckOptions,
  defineLaw,
  type Law,
  LawError,
  type LawOf,
  type LawResult,
  type LawSettings,
  LawsReport,
  type RunOptions,
} from "./law.ts";
export { drawMasks, type MaskCase, maskCases, type MaskKind, maskKinds } from "./masks.ts";
export {
  difference,
  largest,
  longestRow,
  type Numbers,
  permutation,
  permuteRows,
  reflection,
  relative,
  sameBits,
  unitRows,
} from "./numbers.ts";
export { edges, seeds, sizes } from "./sizes.ts";
export {
  drawText,
  drawVocabulary,
  type NameKind,
  nameKinds,
  refusedNames,
  type VocabularyCase,
  vocabularyCases,
} from "./vocabularies.ts";
