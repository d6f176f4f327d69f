// Turns logits[n][i] into the transpose of P = Norm(Z)^T, in place:
//   exp(logits[n][i] - largest_of[i]) * inverse_sum[n] / sum_of[i].
//
// Z's columns are normalised from the logits, not from Z: a column all of whose entries vanish in
// float32 (a large lambda) still has its exact proportions, and nothing is divided by zero.

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read> inverse_sum: array<f32>;
@group(0) @binding(3) var<storage, read> largest_of: array<f32>;
@group(0) @binding(4) var<storage, read> sum_of: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let at = (group.x + group.y * groups.x) * 256u + local;
  if (at >= params.rows * params.columns) {
    return;
  }
  let column = at % params.columns;
  logits[at] = exp(logits[at] - largest_of[column]) * inverse_sum[at / params.columns] /
    sum_of[column];
}
