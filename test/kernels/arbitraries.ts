/**
 * Generated inputs of the kernels, by the names that these tests use.
 *
 * @module
 */
export {
  drawGfaInput as gfaInput,
  drawMaskPoolingInput as maskPoolingInput,
  type GfaCase,
  gfaCases,
  type MaskPoolingCase,
  maskPoolingCases,
} from "../../kernels/testing.ts";
