// The inverse of each matrix's diagonal block of up to 32 rows at begin, in rows of 32; Gauss-Jordan
// without pivoting. One workgroup per matrix, one invocation per column.

struct Params {
  rows: u32, // of one matrix
  batches: u32,
  begin: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> matrix: array<f32>; // [batches][rows][rows]
@group(0) @binding(2) var<storage, read_write> inverse: array<f32>; // [batches][32][32]

var<workgroup> factors: array<f32, 32>;

@compute @workgroup_size(32)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let batch = group.x + group.y * groups.x;
  let inside = batch < params.batches;
  let size = min(32u, params.rows - params.begin);
  let corner = (batch * params.rows + params.begin) * params.rows + params.begin;
  var column: array<f32, 32>;
  if (inside && local < size) {
    for (var i = 0u; i < size; i++) {
      column[i] = matrix[corner + i * params.rows + local];
    }
  }
  for (var p = 0u; p < size; p++) {
    if (local == p) {
      for (var i = 0u; i < size; i++) {
        factors[i] = column[i];
      }
    }
    workgroupBarrier();
    let pivot = 1.0 / factors[p];
    let mine = select(column[p] * pivot, pivot, local == p);
    let keep = select(1.0, 0.0, local == p);
    for (var i = 0u; i < size; i++) {
      column[i] = keep * column[i] - factors[i] * mine;
    }
    column[p] = mine;
    workgroupBarrier();
  }
  if (inside && local < size) {
    for (var i = 0u; i < size; i++) {
      inverse[(batch * 32u + i) * 32u + local] = column[i];
    }
  }
}
