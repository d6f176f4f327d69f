// Turns logits[n][i] into the transpose of P = Norm(Z)^T, in place. With softmax:
//   exp(logits[n][i] - largest[i]) * row_sums[n] / sums[i];
// raw: logits[n][i] / sums[i], or 0 in a column of zeros.
//
// Softmax's columns are normalised from the logits, not from Z: a column all of whose entries vanish
// in float32 (a large lambda) still has its exact proportions, and nothing is divided by zero. A row
// that takes no part has a row sum of 0 and stays zero.
//
// One workgroup per row.

struct Params {
  rows: u32, // of one batch
  columns: u32,
  stride: u32,
  batches: u32,
  raw: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read> row_sums: array<f32>;
@group(0) @binding(3) var<storage, read> largest: array<f32>; // [batches][stride]
@group(0) @binding(4) var<storage, read> sums: array<f32>; // [batches][stride]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let batch = row / params.rows;
  if (batch >= params.batches) {
    return;
  }
  for (var column = local; column < params.stride; column += 64u) {
    let at = row * params.stride + column;
    var value = 0.0;
    if (column < params.columns) {
      let place = batch * params.stride + column;
      if (params.raw == 0u && row_sums[row] == 0.0) {
        value = 0.0;
      } else if (params.raw == 0u) {
        value = exp(logits[at] - largest[place]) * row_sums[row] / sums[place];
      } else if (sums[place] > 0.0) {
        value = logits[at] / sums[place];
      }
    }
    logits[at] = value;
  }
}
