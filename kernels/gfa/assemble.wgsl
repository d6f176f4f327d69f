// The matrix I - omega^2 P Z from -omega^2 P Z, in place. One workgroup per row.
//
// With softmax the diagonal is computed as (1 - omega^2) + omega^2 * (sum of the row's other entries
// of P Z), which is the same since the rows of P Z sum to 1, and keeps its digits as omega approaches
// 1.

struct Params {
  rows: u32, // of one matrix
  batches: u32,
  raw: u32,
  one_minus_omega_squared: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> system: array<f32>; // [batches][rows][rows]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = group.x + group.y * groups.x;
  let row = id % params.rows;
  let inside = id / params.rows < params.batches;
  let start = id * params.rows;
  var others = 0.0;
  if (inside) {
    for (var j = local; j < params.rows; j += 64u) {
      if (j != row) {
        others += abs(system[start + j]);
      }
    }
  }
  others = sum_over_workgroup(others, local);
  if (inside && local == 0u) {
    if (params.raw == 0u) {
      system[start + row] = params.one_minus_omega_squared + others;
    } else {
      system[start + row] += 1.0;
    }
  }
}
