// norms[row] = sum of |x[row][i]|. One workgroup per row.

struct Params {
  rows: u32, // of all batches
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;

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
      sum += abs(x[row * params.columns + i]);
    }
  }
  sum = sum_over_workgroup(sum, local);
  if (inside && local == 0u) {
    norms[row] = sum;
  }
}
