// A step of blocked Gauss-Jordan inversion without pivoting, first half. With the diagonal block B of
// up to 32 rows at begin, it leaves
//   left = the block's columns, in rows of 32, minus the identity in the block's own rows,
//   right = the block's rows [32][rows], with the identity in the block's own columns,
// and zeros in the block's columns of the matrix. Then matrix -= (left * inverse of B) * right is the
// step, after which the block's columns belong to the inverse minus the identity. For the block itself
// that is (I - B) * inverse = inverse - I: a sum of what is small beside 1, so that it rounds little.
//
// One invocation per entry of left, then of right.

struct Params {
  rows: u32, // of one matrix
  batches: u32,
  begin: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> matrix: array<f32>; // [batches][rows][rows]
@group(0) @binding(2) var<storage, read_write> left: array<f32>; // [batches][rows][32]
@group(0) @binding(3) var<storage, read_write> right: array<f32>; // [batches][32][rows]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = (group.x + group.y * groups.x) * 64u + local;
  let of_left = params.rows * 32u;
  let batch = id / (2u * of_left);
  if (batch >= params.batches) {
    return;
  }
  let size = min(32u, params.rows - params.begin);
  let start = batch * params.rows * params.rows;
  let entry = id % (2u * of_left);
  if (entry < of_left) {
    let row = entry / 32u;
    let column = params.begin + entry % 32u;
    if (column < params.begin + size) {
      let at = start + row * params.rows + column;
      left[batch * of_left + entry] = matrix[at] - select(0.0, 1.0, row == column);
      matrix[at] = 0.0;
    }
    return;
  }
  let row = params.begin + (entry - of_left) / params.rows;
  let column = entry % params.rows;
  if (row < params.begin + size) {
    var value = select(0.0, 1.0, row == column);
    if (column < params.begin || column >= params.begin + size) {
      value = matrix[start + row * params.rows + column];
    }
    right[batch * of_left + entry - of_left] = value;
  }
}
