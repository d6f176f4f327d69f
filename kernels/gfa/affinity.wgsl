// From the similarities s of each row of F_C (in logits), the walk's weights z. With softmax:
//   logits[i] = s[i] - max_i s[i],  row_sums = 1 / sum_i exp(logits[i]),  z[i] = exp(logits[i]) * row_sums
// Raw:
//   z[i] = s[i],  row_sums = sum_i |s[i]|
// Columns that only fill up the row become zero. A row whose weight is at most `least` takes no part:
//   logits[i] = -3e38, or 0 where raw;  row_sums = 0,  z[i] = 0
// One workgroup per row.

struct Params {
  rows: u32, // of all batches
  columns: u32,
  stride: u32,
  raw: u32,
  least: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;
@group(0) @binding(3) var<storage, read_write> row_sums: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let inside = row < params.rows;
  let start = row * params.stride;
  let absent = inside && weights[row] <= params.least;
  var largest = -3.0e38;
  if (inside) {
    for (var i = local; i < params.columns; i += 64u) {
      largest = max(largest, logits[start + i]);
    }
  }
  largest = max_over_workgroup(largest, local);
  var sum = 0.0;
  if (inside) {
    for (var i = local; i < params.stride; i += 64u) {
      var value = 0.0;
      if (i < params.columns) {
        value = logits[start + i];
        if (absent) {
          logits[start + i] = select(-3.0e38, 0.0, params.raw == 1u);
          value = 0.0;
        } else if (params.raw == 0u) {
          let logit = value - largest;
          logits[start + i] = logit;
          value = exp(logit);
        }
      }
      z[start + i] = value;
      sum += abs(value);
    }
  }
  sum = sum_over_workgroup(sum, local);
  if (!inside) {
    return;
  }
  if (params.raw == 0u && !absent) {
    sum = 1.0 / sum;
    for (var i = local; i < params.columns; i += 64u) {
      z[start + i] *= sum;
    }
  }
  if (local == 0u) {
    row_sums[row] = sum;
  }
}
