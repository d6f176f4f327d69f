// out[b][row][d] = alpha * x[b][row][d] + beta * out[b][row][d]; rows beyond x's only keep beta's
// part. X is x's element type. One workgroup per row of out.

struct Params {
  rows: u32,
  out_rows: u32,
  columns: u32,
  batches: u32,
  offset: u32,
  stride: u32,
  batch_stride: u32,
  out_offset: u32,
  out_stride: u32,
  out_batch_stride: u32,
  alpha: f32,
  beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = group.x + group.y * groups.x;
  let row = id % params.out_rows;
  let batch = id / params.out_rows;
  if (batch >= params.batches) {
    return;
  }
  let source = params.offset + batch * params.batch_stride + row * params.stride;
  let to = params.out_offset + batch * params.out_batch_stride + row * params.out_stride;
  for (var column = local; column < params.columns; column += 64u) {
    var value = 0.0;
    if (row < params.rows) {
      value = params.alpha * f32(x[source + column]);
    }
    if (params.beta != 0.0) {
      value += params.beta * out[to + column];
    }
    out[to + column] = value;
  }
}
