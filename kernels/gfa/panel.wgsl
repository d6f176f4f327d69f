// A step of blocked Gauss-Jordan elimination without pivoting, first half. With the diagonal block
// of up to 32 rows at begin, it leaves
//   inverse = the block's inverse, filled up to 32 x 32 by the identity,
//   left = the block's columns [rows][32], minus the identity in the block's own rows,
//   right = the block's rows right of the block [32][width],
// and zeros in those rows of the system. Then system -= (left * inverse) * right, right of the
// block, is the step: the block's rows become inverse * right.
//
// The first workgroup of each system inverts, the others copy.

struct Params {
  rows: u32, // of one system
  width: u32,
  batches: u32,
  begin: u32,
  workgroups: u32, // of one system
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> system: array<f32>; // [batches][rows][width]
@group(0) @binding(2) var<storage, read_write> inverse: array<f32>; // [batches][32][32]
@group(0) @binding(3) var<storage, read_write> left: array<f32>; // [batches][rows][32]
@group(0) @binding(4) var<storage, read_write> right: array<f32>; // [batches][32][width]

var<workgroup> block: array<f32, 1024>; // [32][32]

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = group.x + group.y * groups.x;
  let batch = id / params.workgroups;
  let part = id % params.workgroups;
  let inside = batch < params.batches;
  let start = batch * params.rows * params.width;
  let size = min(32u, params.rows - params.begin);
  if (inside && part > 0u) {
    let of_left = params.rows * 32u;
    let first = params.begin + size;
    let count = of_left + 32u * (params.width - first);
    for (var i = (part - 1u) * 256u + local; i < count; i += (params.workgroups - 1u) * 256u) {
      if (i < of_left) {
        let row = i / 32u;
        let column = i % 32u;
        var value = 0.0;
        if (row >= params.begin && row < params.begin + size) {
          value = select(0.0, -1.0, row - params.begin == column);
        } else if (column < size) {
          value = system[start + row * params.width + params.begin + column];
        }
        left[batch * of_left + i] = value;
      } else {
        let row = (i - of_left) / (params.width - first);
        let column = first + (i - of_left) % (params.width - first);
        var value = 0.0;
        if (row < size) {
          let at = start + (params.begin + row) * params.width + column;
          value = system[at];
          system[at] = 0.0;
        }
        right[(batch * 32u + row) * params.width + column] = value;
      }
    }
  }
  let inverts = inside && part == 0u;
  for (var i = local; i < 1024u; i += 256u) {
    let row = i / 32u;
    let column = i % 32u;
    var value = select(0.0, 1.0, row == column);
    if (inverts && row < size && column < size) {
      value = system[start + (params.begin + row) * params.width + params.begin + column];
    }
    block[i] = value;
  }
  workgroupBarrier();
  // Every workgroup takes part, so that all meet the barriers; those that copy invert the identity
  // in no steps.
  let steps = select(0u, size, inverts);
  for (var j = 0u; j < 32u; j++) {
    var values: array<f32, 4>;
    let works = j < steps;
    if (works) {
      let pivot = 1.0 / block[j * 33u];
      for (var e = 0u; e < 4u; e++) {
        let row = (local + 256u * e) / 32u;
        let column = local % 32u;
        if (row == j) {
          values[e] = select(block[j * 32u + column] * pivot, pivot, column == j);
        } else {
          let factor = block[row * 32u + j] * pivot;
          values[e] = select(
            block[row * 32u + column] - factor * block[j * 32u + column],
            -factor,
            column == j,
          );
        }
      }
    }
    workgroupBarrier();
    if (works) {
      for (var e = 0u; e < 4u; e++) {
        block[local + 256u * e] = values[e];
      }
    }
    workgroupBarrier();
  }
  if (inverts) {
    for (var i = local; i < 1024u; i += 256u) {
      inverse[batch * 1024u + i] = block[i];
    }
  }
}
