// Divides each row by its sum, so that rounding does not grow with repeated squaring of a matrix
// whose rows sum to 1; a row of zeros stays. One workgroup per row.

struct Params {
  rows: u32, // of all batches
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let inside = row < params.rows;
  var sum = 0.0;
  if (inside) {
    for (var i = local; i < params.columns; i += 64u) {
      sum += x[row * params.columns + i];
    }
  }
  sum = sum_over_workgroup(sum, local);
  if (inside && sum > 0.0) {
    for (var i = local; i < params.columns; i += 64u) {
      x[row * params.columns + i] /= sum;
    }
  }
}
