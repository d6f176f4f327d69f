// The gradient by x from that by u = x / |x|, in place: (g - u (u . g)) / |x|; 0 where x is zero. One
// workgroup per row.

struct Params {
  rows: u32, // of g, in one batch
  columns: u32,
  batches: u32,
  unit_rows: u32, // of u, in one batch
  offset: u32, // of g
  batch_stride: u32, // of g
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> unit: array<f32>; // [batches][unit_rows][columns]
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [batches][unit_rows]
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = group.x + group.y * groups.x;
  let batch = id / params.rows;
  let inside = batch < params.batches;
  let row = batch * params.unit_rows + id % params.rows;
  let of_unit = row * params.columns;
  let start = params.offset + batch * params.batch_stride + (id % params.rows) * params.columns;
  var dot = 0.0;
  if (inside) {
    for (var d = local; d < params.columns; d += 64u) {
      dot += unit[of_unit + d] * gradient[start + d];
    }
  }
  dot = sum_over_workgroup(dot, local);
  if (inside) {
    let norm = norms[row];
    for (var d = local; d < params.columns; d += 64u) {
      var value = 0.0;
      if (norm > 0.0) {
        value = (gradient[start + d] - unit[of_unit + d] * dot) / norm;
      }
      gradient[start + d] = value;
    }
  }
}
