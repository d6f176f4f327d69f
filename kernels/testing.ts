/**
 * The conformance kit: generated inputs, the laws of fusers, and the laws of the kernels.
 *
 * @module
 */
export * from "../lib/testing/mod.ts";
