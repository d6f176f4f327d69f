// Per column i and chunk of 256 rows: the largest logit, and
//   sum over n of exp(logits[n][i] - largest) * inverse_sum[n].
//
// One workgroup per chunk and 16 columns, 16 invocations per column.

struct Params {
  rows: u32,
  columns: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> inverse_sum: array<f32>;
@group(0) @binding(3) var<storage, read_write> largest_of: array<f32>; // [chunks][columns]
@group(0) @binding(4) var<storage, read_write> sum_of: array<f32>; // [chunks][columns]

var<workgroup> shared_values: array<f32, 256>; // [16 lanes][16 columns]

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let task = group.x + group.y * groups.x;
  let chunk = task % params.chunks;
  let column = (task / params.chunks) * 16u + local % 16u;
  let lane = local / 16u;
  let end = min((chunk + 1u) * 256u, params.rows);
  let inside = column < params.columns;
  var largest = -3.0e38;
  if (inside) {
    for (var n = chunk * 256u + lane; n < end; n += 16u) {
      largest = max(largest, logits[n * params.columns + column]);
    }
  }
  shared_values[local] = largest;
  workgroupBarrier();
  for (var half = 128u; half >= 16u; half /= 2u) {
    if (local < half) {
      shared_values[local] = max(shared_values[local], shared_values[local + half]);
    }
    workgroupBarrier();
  }
  largest = shared_values[local % 16u];
  workgroupBarrier();
  var sum = 0.0;
  if (inside) {
    for (var n = chunk * 256u + lane; n < end; n += 16u) {
      sum += exp(logits[n * params.columns + column] - largest) * inverse_sum[n];
    }
  }
  shared_values[local] = sum;
  workgroupBarrier();
  for (var half = 128u; half >= 16u; half /= 2u) {
    if (local < half) {
      shared_values[local] += shared_values[local + half];
    }
    workgroupBarrier();
  }
  if (inside && lane == 0u) {
    largest_of[chunk * params.columns + column] = largest;
    sum_of[chunk * params.columns + column] = shared_values[local];
  }
}
