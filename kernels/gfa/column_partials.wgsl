// Per column i and chunk of 256 rows, for the L1 norm of Z's columns. With softmax the largest logit
// and
//   sum over n of exp(logits[n][i] - largest) * row_sums[n];
// raw: 0 and the sum of |logits[n][i]|.
//
// One workgroup per chunk and 16 columns, 16 invocations per column.

struct Params {
  rows: u32, // of one batch
  columns: u32,
  stride: u32,
  batches: u32,
  chunks: u32, // here
  first_chunk: u32,
  all_chunks: u32,
  raw: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> row_sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> largest_of: array<f32>; // [batches][all_chunks][stride]
@group(0) @binding(4) var<storage, read_write> sum_of: array<f32>; // [batches][all_chunks][stride]

var<workgroup> shared_values: array<f32, 256>; // [16 lanes][16 columns]

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = group.x + group.y * groups.x;
  let tiles = (params.columns + 15u) / 16u;
  let chunk = id % params.chunks;
  let column = ((id / params.chunks) % tiles) * 16u + local % 16u;
  let batch = id / (params.chunks * tiles);
  let lane = local / 16u;
  let first = batch * params.rows + chunk * 256u;
  let end = batch * params.rows + min((chunk + 1u) * 256u, params.rows);
  let inside = batch < params.batches && column < params.columns;
  var largest = select(-3.0e38, 0.0, params.raw == 1u);
  if (inside && params.raw == 0u) {
    for (var n = first + lane; n < end; n += 16u) {
      largest = max(largest, logits[n * params.stride + column]);
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
    for (var n = first + lane; n < end; n += 16u) {
      let logit = logits[n * params.stride + column];
      if (params.raw == 1u) {
        sum += abs(logit);
      } else {
        sum += exp(logit - largest) * row_sums[n];
      }
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
    let at = (batch * params.all_chunks + params.first_chunk + chunk) * params.stride + column;
    largest_of[at] = largest;
    sum_of[at] = shared_values[local];
  }
}
