// For each row n of the scaled similarities s = lambda * (sum of partials over splits):
//   logits[n][i] = s[n][i] - max_i s[n][i]
//   inverse_sum[n] = 1 / sum_i exp(logits[n][i])
//   z[n * z_stride + i] = exp(logits[n][i]) * inverse_sum[n]
//
// One workgroup per row.

struct Params {
  rows: u32,
  columns: u32,
  splits: u32,
  z_stride: u32,
  lambda: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> inverse_sum: array<f32>;
@group(0) @binding(4) var<storage, read_write> z: array<f32>;

var<workgroup> shared_values: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let inside = row < params.rows;
  let start = row * params.columns;
  let size = params.rows * params.columns;
  var largest = -3.0e38;
  if (inside) {
    for (var i = local; i < params.columns; i += 64u) {
      var sum = 0.0;
      for (var s = 0u; s < params.splits; s++) {
        sum += partials[s * size + start + i];
      }
      let similarity = params.lambda * sum;
      logits[start + i] = similarity;
      largest = max(largest, similarity);
    }
  }
  shared_values[local] = largest;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (local < half) {
      shared_values[local] = max(shared_values[local], shared_values[local + half]);
    }
    workgroupBarrier();
  }
  largest = shared_values[0];
  workgroupBarrier();
  var sum = 0.0;
  if (inside) {
    for (var i = local; i < params.columns; i += 64u) {
      let logit = logits[start + i] - largest;
      logits[start + i] = logit;
      let e = exp(logit);
      z[row * params.z_stride + i] = e;
      sum += e;
    }
  }
  shared_values[local] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (local < half) {
      shared_values[local] += shared_values[local + half];
    }
    workgroupBarrier();
  }
  let inverse = 1.0 / shared_values[0];
  if (inside) {
    for (var i = local; i < params.columns; i += 64u) {
      z[row * params.z_stride + i] *= inverse;
    }
    if (local == 0u) {
      inverse_sum[row] = inverse;
    }
  }
}
