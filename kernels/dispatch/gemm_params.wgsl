// What every kernel of matrix products is told; strides and offsets count elements.

struct Params {
  m: u32,
  n: u32,
  k: u32,
  batches: u32,
  splits: u32,
  k_per_split: u32,
  a_offset: u32,
  a_stride_m: u32,
  a_stride_k: u32,
  a_stride_batch: u32,
  b_offset: u32,
  b_stride_k: u32,
  b_stride_n: u32,
  b_stride_batch: u32,
  c_offset: u32,
  c_stride_m: u32,
  c_stride_batch: u32,
  c_stride_split: u32,
  alpha: f32,
  beta: f32,
}
