// A step of blocked Gauss-Jordan elimination without pivoting, first half. With the diagonal block
// of up to 32 rows at begin, it leaves
//   left = the block's columns, in rows of 32, minus the identity in the block's own rows,
//   right = the block's rows right of the block [32][width],
// and zeros in those rows of the system. Then system -= (left * the block's inverse) * right, right
// of the block, is the step: the block's rows become inverse * right.
//
// One workgroup per row of left and of right.

struct Params {
  rows: u32, // of one system
  width: u32,
  batches: u32,
  begin: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> system: array<f32>; // [batches][rows][width]
@group(0) @binding(2) var<storage, read_write> left: array<f32>; // [batches][rows][32]
@group(0) @binding(3) var<storage, read_write> right: array<f32>; // [batches][32][width]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = group.x + group.y * groups.x;
  let size = min(32u, params.rows - params.begin);
  let batch = id / (params.rows + size);
  let row = id % (params.rows + size);
  if (batch >= params.batches) {
    return;
  }
  let start = batch * params.rows * params.width;
  if (row < params.rows) {
    if (local < size) {
      var value = 0.0;
      if (row >= params.begin && row < params.begin + size) {
        value = select(0.0, -1.0, row - params.begin == local);
      } else {
        value = system[start + row * params.width + params.begin + local];
      }
      left[(batch * params.rows + row) * 32u + local] = value;
    }
    return;
  }
  let of_block = row - params.rows;
  let source = start + (params.begin + of_block) * params.width;
  let to = (batch * 32u + of_block) * params.width;
  for (var column = params.begin + size + local; column < params.width; column += 64u) {
    right[to + column] = system[source + column];
    system[source + column] = 0.0;
  }
}
