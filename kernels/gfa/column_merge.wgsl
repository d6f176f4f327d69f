// Merges the chunks of column_partials.wgsl into their first row. One invocation per column.

struct Params {
  columns: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> largest_of: array<f32>; // [chunks][columns]
@group(0) @binding(2) var<storage, read_write> sum_of: array<f32>; // [chunks][columns]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let column = (group.x + group.y * groups.x) * 64u + local;
  if (column >= params.columns) {
    return;
  }
  var largest = -3.0e38;
  for (var c = 0u; c < params.chunks; c++) {
    largest = max(largest, largest_of[c * params.columns + column]);
  }
  var sum = 0.0;
  for (var c = 0u; c < params.chunks; c++) {
    let at = c * params.columns + column;
    sum += sum_of[at] * exp(largest_of[at] - largest);
  }
  largest_of[column] = largest;
  sum_of[column] = sum;
}
